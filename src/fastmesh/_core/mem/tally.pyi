USED: tuple[str, ...]
LAYOUT: dict[str, int]
