from collections.abc import Set

def places(
    snapshot: bytes, names: Set[str],
) -> tuple[tuple[int, int], dict[str, tuple[int, int]]] | None: ...
def turn_over(
    snapshot: bytes, place: tuple[int, int], cluster: str, told: bytes, gone: bytes, next_row: int,
) -> tuple[bytes, int, int, int, bytes, int, list[int]] | None: ...
