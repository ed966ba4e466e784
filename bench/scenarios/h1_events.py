"""Server-sent events: what a proxy adds to the time until an event arrives, the first of a stream and later ones.

The same load is played without a proxy right before, and the medians are taken off each other.
"""

from bench.load import events, program
from bench.peers import Peer, Service
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

STREAMS = 16
EVENTS_A_SECOND = 1 / events.PAUSE


class H1Events(Scenario):
    name = "h1-events"
    title = f"Server-sent events, {STREAMS} streams of {EVENTS_A_SECOND:.0f} a second"
    protocol = "http"
    figures = (
        Figure("first_us", "added to the first event", "µs", 0),
        Figure("later_us", "added to a later event", "µs", 0),
        Figure("p99_us", "p99 of later events, programs included", "µs", 0),
        Figure("cpu_us", "CPU per event", "µs", 1, ratio=True),
    )

    def sample_seconds(self, options: Options) -> float:
        return options.seconds * 1.5 + 0.8

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        running = stage.proxy(peer, Service(self.protocol, streams=True), events.start)
        count = int(options.seconds * EVENTS_A_SECOND)
        client = ("bench.load.events", stage.cores.load, "client")
        bare = program.ask(*client, stage.origin(events.start).port, STREAMS, count // 2 + 1)
        with stage.window(running) as window:
            load = program.ask(*client, running.port, STREAMS, count)
        failed = bare["failed"] + load["failed"] + abs(load["events"] - STREAMS * count)
        return Measured(
            {
                "first_us": load["first_p50"] - bare["first_p50"],
                "later_us": load["later_p50"] - bare["later_p50"],
                "p99_us": load["later_p99"],
                "cpu_us": window.cpu_ns / 1e3 / max(1.0, load["events"]),
            },
            int(failed),
            window.noise(),
        )
