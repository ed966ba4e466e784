from collections.abc import Callable, Iterable
from typing import Any

from fastmesh._core.filter.balance import Balancer

PHASES: dict[str, tuple[int, int]]
POLICIES: dict[str, int]

class Slot:
    filter: object
    name: str
    details: bytes
    answered: bytes
    timed: bytes
    witness: Callable[[str, BaseException], None] | None
    def __init__(self, filter: object, phases: dict[str, Callable[..., Any]], *, name: str = "", row: int = 0,
                 on_error: str = "open", budget_ns: int = 2_000_000, timeout_ns: int = 30_000_000_000,
                 body_limit: int = 1_048_576, shadow: bool = False, changes_body: bool = True,
                 is_late: bool = False, second_ns: int = 0,
                 quarantine: tuple[int, int, int, int] = (20, 10_000_000_000, 5_000_000_000, 300_000_000_000),
                 report: Callable[[str, str, str], None] | None = None) -> None: ...
    @property
    def is_quarantined(self) -> bool: ...
    @property
    def row(self) -> int: ...
    def bypass(self, ns: int) -> None: ...

class Table:
    slots: list[Slot]
    @property
    def balancers(self) -> list[Balancer]: ...
    on_free: Callable[[Table], None] | None
    def __init__(self, slots: Iterable[Slot], on_free: Callable[[Table], None] | None = None) -> None: ...

def watch_filters(number: int) -> None: ...
def is_overdue() -> bool: ...
def bound_memory(most: int) -> bool: ...
def memory_held() -> int: ...
