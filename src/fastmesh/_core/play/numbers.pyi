from collections.abc import Mapping
from typing import Any

from fastmesh._core.filter.balance import Endpoint
from fastmesh._core.filter.chain import Table

NUMBERS: tuple[str, ...]

def set_numbers(table: Table, cluster: str, address: str, numbers: dict[str, Any]) -> None: ...
def made_endpoint(address: str, weight: int, said: tuple[int, str, Mapping[str, str]],
                  numbers: dict[str, Any]) -> Endpoint: ...
