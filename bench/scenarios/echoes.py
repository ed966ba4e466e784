"""Small messages back and forth, over TCP and over WebSocket: CPU per message and its echo."""

from bench.load import echo, program
from bench.peers import Peer, Protocol, Service
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

CONNECTIONS = 32
LENGTH = 100


class Echoes(Scenario):
    figures = (
        Figure("cpu_us", "CPU per message and echo", "µs", 1, ratio=True),
        Figure("mps", "echoes per second", "1/s", 0, less_is_better=False),
        Figure("busy", "share of its core the proxy used", "%", 0, judged=False),
    )

    def __init__(self, name: str, title: str, protocol: Protocol, kind: str) -> None:
        self.name = name
        self.title = f"{title}, messages of {LENGTH} bytes on {CONNECTIONS} connections"
        self.protocol = protocol
        self._kind = kind

    def sample_seconds(self, options: Options) -> float:
        return 1.3 * options.seconds + 0.4

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        service = Service(self.protocol, upgrades=self._kind == "websocket")
        running = stage.proxy(peer, service, echo.start)
        client = ("bench.load.echo", stage.cores.load, "client", running.port, self._kind, CONNECTIONS)
        if stage.cold(peer, point) or not options.quick:
            program.ask(*client, 0.3, LENGTH)
        with stage.window(running) as window:
            load = program.ask(*client, options.seconds, LENGTH)
        return Measured(
            {
                "cpu_us": window.cpu_ns / 1e3 / max(1.0, load["messages"]),
                "mps": load["messages"] / load["seconds"],
                "busy": window.busy * 100,
            },
            int(load["failed"]) + (not load["messages"]),
            window.noise(),
        )
