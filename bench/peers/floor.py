"""The bare forwarding loops: see bench/floor."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from bench.peers.peer import Peer, Protocol, Service
from bench.running import ROOT


class Floor(Peer):
    protocols = frozenset(("http",))
    floor = True

    def __init__(self, engine: str) -> None:
        self.engine = engine
        short = engine.replace("io_", "")
        self.name = f"floor-{short}"
        self.title = f"bare {engine} loop"
        self._module = f"bench.floor.floor_{short}"

    def missing(self, protocol: Protocol) -> str | None:
        return None if find_spec(self._module) else "not built: run `python -m bench.build`"

    def version(self) -> str:
        return "-"

    def command(self, service: Service, port: int, folder: Path) -> Sequence[str]:
        start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from bench.floor.__main__ import main; main()"
        return [sys.executable, "-I", "-S", "-c", start, self.engine, str(port), str(service.origins[0])]
