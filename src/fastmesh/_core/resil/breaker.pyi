LIMITS: tuple[str, ...]
