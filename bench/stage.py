"""Where one scenario plays: its origin, the proxies it started, and the clock beside them."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench import proc
from bench.machine import Cores
from bench.peers import Peer, Service
from bench.running import Running, free_port

StartOrigin = Callable[[Path, int], Running]


@dataclass
class Window:
    """What the proxy's core did while a load ran; filled when the window closes."""

    cpu_ns: int = 0  # by the proxy, all its processes and threads
    wall_ns: int = 0
    foreign_ns: int = 0  # by anybody else on the proxy's core
    steal_ns: int = 0

    @property
    def busy(self) -> float:
        return self.cpu_ns / self.wall_ns

    def noise(self) -> dict[str, float]:
        """Shares of the window that did not belong to the proxy or to idling."""
        return {
            "foreign": round(max(0, self.foreign_ns) / self.wall_ns, 4),
            "steal": round(self.steal_ns / self.wall_ns, 4),
        }


class Stage:
    """Started processes of one scenario; `close` ends them all."""

    def __init__(self, folder: Path, cores: Cores) -> None:
        self.cores = cores
        self._folder = folder
        self._origins: dict[StartOrigin, Running] = {}
        self._proxies: dict[tuple[str, Service], Running] = {}
        self._count = 0
        self._warm: set[tuple[str, int]] = set()

    def _new_folder(self, name: str) -> Path:
        self._count += 1
        folder = self._folder / f"{self._count}-{name}"
        folder.mkdir()
        folder.chmod(0o755)
        return folder

    def origin(self, start: StartOrigin) -> Running:
        """The scenario's origin, started on first use."""
        if start not in self._origins:
            self._origins[start] = start(self._new_folder("origin"), self.cores.origin)
        return self._origins[start]

    def _start(self, peer: Peer, service: Service) -> Running:
        folder, port = self._new_folder(peer.name), free_port()
        command = peer.command(service, port, folder)
        running = Running(peer.name, command, port, self.cores.proxy, folder / "log")
        try:
            running.wait_ready(http=service.protocol == "http")
        except BaseException:
            running.stop()
            raise
        return running

    def _before(self, service: Service, origin: StartOrigin | None) -> Service:
        return replace(service, origins=(self.origin(origin).port,)) if origin else service

    def proxy(self, peer: Peer, service: Service, origin: StartOrigin | None) -> Running:
        """The peer in front of the origin; it stays up for the whole scenario, asleep while others are measured.

        Without an origin: in front of what the service names.
        """
        key = (peer.name, service)
        if key not in self._proxies:
            self._proxies[key] = self._start(peer, self._before(service, origin))
        return self._proxies[key]

    @contextlib.contextmanager
    def fresh_origin(self, start: StartOrigin) -> Iterator[Running]:
        """One more, for a scenario that does something to it."""
        running = start(self._new_folder("origin"), self.cores.origin)
        try:
            yield running
        finally:
            running.stop()

    def cold(self, peer: Peer, point: int) -> bool:
        """Whether this peer has not been measured at this point yet: a quick run warms up only then."""
        if (peer.name, point) in self._warm:
            return False
        self._warm.add((peer.name, point))
        return True

    @contextlib.contextmanager
    def fresh(self, peer: Peer, service: Service, origin: StartOrigin | None) -> Iterator[Running]:
        """The peer started anew, for what its past would change."""
        running = self._start(peer, self._before(service, origin))
        try:
            yield running
        finally:
            running.stop()

    @contextlib.contextmanager
    def window(self, *hops: Running) -> Iterator[Window]:
        """Measure the proxy's core around a load, with one proxy or several behind each other."""
        window = Window()
        core = proc.core_time(hops[0].core)
        cpu, wall = sum(hop.cpu_ns() for hop in hops), time.monotonic_ns()
        yield window
        window.cpu_ns = sum(hop.cpu_ns() for hop in hops) - cpu
        window.wall_ns = time.monotonic_ns() - wall
        after = proc.core_time(hops[0].core)
        window.foreign_ns = after.busy - core.busy - window.cpu_ns
        window.steal_ns = after.steal - core.steal

    def close(self) -> None:
        for running in (*self._proxies.values(), *self._origins.values()):
            running.stop()
