"""One filter host, as control knows it: the process that a worker's isolated filters run in."""

import socket
from collections.abc import Callable, Sequence

from fastmesh.control.host import Host
from fastmesh.control.isolated import Isolated
from fastmesh.observe.stats import StatsFile
from fastmesh.worker.packet import Message

MORE_SECONDS = 1.0          # past the longest timeout of its filters, that its loop may stand still


class FilterHost(Host):
    """A host from its start to its death."""

    advice = "A filter that blocks holds up all isolated ones: let it use asyncio, or asyncio.to_thread"

    def __init__(self, slot: int, paths: Sequence[str], snapshot: tuple[int, int, int], isolated: Isolated,
                 on_death: "Callable[[FilterHost], None]", on_event: Callable[[int, Message], None],
                 shared_fd: int, stats: StatsFile | None) -> None:
        """Start the process. `snapshot`: its descriptor, where filters begin in it, and their bytes. `shared_fd`: what
        filters of all processes share, or -1; `stats`: where its filters count. Raises OSError.

        `worker_end` is to be given to the worker, and closed.
        """
        self.slot = slot
        self.isolated = isolated
        self.stats = stats
        self._on_death = on_death
        self._on_event = on_event
        fd, at, size = snapshot
        self.worker_end, host_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            super().__init__(
                "fastmesh.host.main", paths, (slot, at, size, isolated.priority),
                {4: host_end.fileno(), 5: fd, **({7: shared_fd} if shared_fd >= 0 else {}),
                 **({8: stats.fd} if stats is not None else {})},
                isolated.names, isolated.timeout + MORE_SECONDS)
        except OSError:
            self.worker_end.close()
            raise
        finally:
            host_end.close()

    def _take(self, message: Message, fds: list[int]) -> None:
        if message["op"] == "event":
            self._on_event(self.slot, message)

    def _gone(self) -> None:
        if self.stats is not None:
            self.stats.is_taken = False
        self._on_death(self)
