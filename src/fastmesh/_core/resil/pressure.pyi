PRESSURES: tuple[str, ...]
PRIORITIES: tuple[str, ...]
LEVELS: tuple[str, ...]
ENTER_AT: tuple[float, ...]
