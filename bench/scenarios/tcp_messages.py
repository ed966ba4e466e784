"""TCP pass-through of 1 MiB messages over four connections: bytes per second of proxy CPU."""

from bench.load import messages, program
from bench.peers import Peer, Service
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

CONNECTIONS = 4
LENGTH = 1 << 20


class TcpMessages(Scenario):
    protocol = "tcp"
    figures = (
        Figure("gib_per_cpu", "data per second of CPU", "GiB", 2, less_is_better=False, ratio=True),
        Figure("gib_per_s", "data per second", "GiB/s", 2, less_is_better=False),
        Figure("busy", "share of its core the proxy used", "%", 0, judged=False),
    )

    def __init__(self, direction: str, words: str) -> None:
        self.name = f"tcp-1m-{direction}"
        self.title = f"TCP, 1 MiB messages, {words}"
        self._direction = direction
        self.quick = direction == "down"

    def sample_seconds(self, options: Options) -> float:
        return 1.3 * self._seconds(options) + 0.6

    def _seconds(self, options: Options) -> float:
        return options.seconds / 2

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        running = stage.proxy(peer, Service(self.protocol), messages.start)
        seconds = self._seconds(options)
        arguments = (running.port, self._direction, CONNECTIONS)
        if stage.cold(peer, point) or not options.quick:
            program.ask("bench.load.messages", stage.cores.load, "client", *arguments, 0.3, LENGTH)
        with stage.window(running) as window:
            load = program.ask("bench.load.messages", stage.cores.load, "client", *arguments, seconds, LENGTH)
        gib = load["bytes"] / (1 << 30)
        return Measured(
            {
                "gib_per_cpu": gib / (window.cpu_ns / 1e9),
                "gib_per_s": gib / load["seconds"],
                "busy": window.busy * 100,
            },
            int(load["failed"]),
            window.noise(),
        )
