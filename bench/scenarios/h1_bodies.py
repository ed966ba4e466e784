"""Large bodies, down with content-length or in chunks, and up: CPU per MiB."""

from collections.abc import Sequence

from bench.load import bodies, program
from bench.peers import Peer, Service
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

KIB, MIB = 1 << 10, 1 << 20
CONNECTIONS = 4
# A single one: it takes a second, and four of them at once as long as four after each other.
LARGE = 1 << 30


class H1Bodies(Scenario):
    protocol = "http"
    figures = (
        Figure("cpu_us_mib", "CPU per MiB", "µs", 0, ratio=True),
        Figure("gib_per_s", "data per second", "GiB/s", 2, less_is_better=False),
        Figure("busy", "share of its core the proxy used", "%", 0, judged=False),
    )

    def __init__(self, direction: str, words: str, sizes: Sequence[int]) -> None:
        self.name = f"h1-bodies-{direction}"
        self.title = f"HTTP/1.1 bodies, {words}"
        self._direction = direction
        self._sizes = sizes

    def points(self, options: Options) -> Sequence[int]:
        return self._sizes[:2] if options.quick else self._sizes

    def label(self, point: int) -> str:
        for size, unit in ((1 << 30, "GiB"), (MIB, "MiB")):
            if point >= size:
                return f"{point // size} {unit}"
        return f"{point // KIB} KiB"

    def sample_seconds(self, options: Options) -> float:
        return 1.3 * self._seconds(options) + 0.6

    def _seconds(self, options: Options) -> float:
        return options.seconds / 2

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        running = stage.proxy(peer, Service(self.protocol, chunks=self._direction == "chunked"), bodies.start)
        connections = 1 if point >= LARGE else CONNECTIONS
        client = ("bench.load.bodies", stage.cores.load, "client", running.port, self._direction, connections)
        if stage.cold(peer, point) or not options.quick:
            program.ask(*client, 0.3, min(point, MIB))
        with stage.window(running) as window:
            load = program.ask(*client, self._seconds(options), point)
        return Measured(
            {
                "cpu_us_mib": window.cpu_ns / 1e3 / max(1.0, load["bytes"] / MIB),
                "gib_per_s": load["bytes"] / (1 << 30) / load["seconds"],
                "busy": window.busy * 100,
            },
            int(load["failed"]),
            window.noise(),
        )
