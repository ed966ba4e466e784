"""What the benchmark must know of a proxy to run it."""

import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bench.running import Running

Protocol = Literal["http", "tcp"]
# What a filter does with each request:
#   mark      reads x-user and x-team, and sets x-mark-1, the second of a chain x-mark-2 and so on, to both of them
#   async     the same in a coroutine, which waits for nothing
#   isolated  the same in a process of its own; isolated-async both
#   answer    reads content-type of the answer, and sets x-answer to it
#   look      sees each piece of the answer's body, and changes none
#   compute   takes the processor for 2 ms; compute-isolated the same in a process of its own
Work = Literal["mark", "async", "isolated", "isolated-async", "answer", "look", "compute", "compute-isolated"]
# To the first byte of an answer, of a service whose endpoints may fail: far more than a good one takes.
PATIENCE_MS = 250


@dataclass(frozen=True)
class Service:
    """What a proxy shall do: the same words for all of them."""

    protocol: Protocol
    # Where the origins listen, all of them equal; the stage fills it in when a scenario leaves it out.
    origins: tuple[int, ...] = ()
    workers: int = 1
    # Kept open to the origin when no request needs them: enough for every client at once.
    idle_upstream: int = 1024
    # Clients at once, with room above the 10,000 idle ones.
    clients: int = 10_500
    # So many routes by path, `/kind-0/` and on, all to the same origins; what fits none goes there too.
    routes: int = 1
    # So many clusters of the same origins, chosen by host, `service-0.test` and on; other hosts go to the first.
    clusters: int = 1
    # Pieces of an answer go on as they come.
    streams: bool = False
    # Long answers come in chunks.
    chunks: bool = False
    # Connections may become WebSockets.
    upgrades: bool = False
    # Every request is logged, to a file.
    access_log: bool = False
    # The configuration is going to be replaced; `/generation-N` is answered by 204 and says which one is live.
    generation: int = 0
    # Its endpoints may fail in any way: one that has not begun an answer in PATIENCE_MS, or answers 503, has failed.
    # What may be repeated is repeated elsewhere, and who fails again and again is left alone, as far as a proxy can.
    failing: bool = False
    # Filters in Python or Lua, in this order; what computes is of requests below /slow/ only.
    filters: tuple[Work, ...] = ()

    def marks(self) -> list[str]:
        """For each filter the header that it sets, if it is one that marks."""
        return [f"x-mark-{number}" for number in range(1, len(self.filters) + 1)]


class Peer(ABC):
    """A proxy to measure."""

    name: str
    title: str
    protocols: frozenset[Protocol] = frozenset(("http", "tcp"))
    # The best of those marked is what fastmesh is held against.
    bar: bool = False
    # Whether it takes a new configuration while it runs.
    reloads: bool = False
    # No proxy at all, only the least the kernel charges for forwarding.
    floor: bool = False
    # What its filters can do.
    works: frozenset[Work] = frozenset()
    # It is there for its filters, and takes part where these are measured only.
    guest: bool = False

    @abstractmethod
    def missing(self, protocol: Protocol) -> str | None:
        """Why it cannot run here, or None."""

    def install(self) -> None:  # noqa: B027 - most come from the system's packages
        """Fetch it when absent."""

    @abstractmethod
    def version(self) -> str:
        """As it calls itself."""

    @abstractmethod
    def command(self, service: Service, port: int, folder: Path) -> Sequence[str]:
        """Write the configuration into the folder; say what to start, in the foreground."""

    def reload(self, service: Service, running: "Running") -> None:
        """Replace the configuration of a running one, for those that can."""
        raise NotImplementedError(f"{self.title} does not reload")

    def log_path(self, folder: Path) -> Path:
        """Where the access log is."""
        return folder / "access.log"


def ask_version(command: Sequence[str], pattern: str) -> str:
    """The first match in what a program prints about itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "unknown"
