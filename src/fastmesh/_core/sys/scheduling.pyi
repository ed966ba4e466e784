from typing import Final

LONG_NS: Final[int]

def set_slice(ns: int, with_children: bool) -> bool: ...
