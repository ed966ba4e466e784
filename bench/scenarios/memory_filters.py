"""Memory that filters take: of a worker when they are loaded, and after many requests that have passed them."""

from bench.load import http_origin, small_requests, wrk
from bench.peers import Peer, Service, Work
from bench.scenarios.h1_filters import FIELDS
from bench.scenarios.memory import MIB, settled
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

MORE = 10
IDLE_MOST = 10              # seconds without an answer
CONNECTIONS = 32
# Every way a filter is called inline.
EVERY: tuple[Work, ...] = ("mark", "async", "answer", "look")


class MemoryFilters(Scenario):
    name = "memory-filters"
    title = f"Memory of loaded filters, one worker: the first, and each of {MORE} more of the same class"
    protocol = "http"
    figures = (
        Figure("first_mib", "the first filter, with all that filters need", "MiB", 2),
        Figure("next_kib", "each further filter", "KiB", 1),
    )

    def takes(self, peer: Peer) -> bool:
        return super().takes(peer) and "mark" in peer.works

    def rounds(self, options: Options) -> int:
        return 1 if options.quick else options.rounds

    def sample_seconds(self, options: Options) -> float:
        return 6

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        mark: tuple[Work, ...] = ("mark",)
        taken = [_written(stage, peer, mark * count) for count in (0, 1, 1 + MORE)]
        first, more = taken[1] - taken[0], taken[2] - taken[1]
        return Measured({"first_mib": first / MIB, "next_kib": more / MORE / 1024})


def _written(stage: Stage, peer: Peer, works: tuple[Work, ...]) -> int:
    """Without pages of files, whose shares change with every other program that maps the same libraries."""
    with stage.fresh(peer, Service("http", filters=works), http_origin.start) as running:
        return settled(running).pss_written_bytes()


class MemoryFiltered(Scenario):
    name = "memory-filtered"
    title = "Memory over many requests that pass four filters"
    protocol = "http"
    figures = (
        Figure("growth_mib", "growth from the first tenth to the end", "MiB", 2),
        Figure("requests", "requests", "", 0, judged=False),
    )

    def takes(self, peer: Peer) -> bool:
        return peer.works.issuperset(EVERY)

    def rounds(self, options: Options) -> int:
        return 1

    def sample_seconds(self, options: Options) -> float:
        return options.requests / 15_000

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        headers = [f"{name}: {value}" for name, value in FIELDS.items()]
        with stage.fresh(peer, Service(self.protocol, filters=EVERY), http_origin.start) as running:
            small_requests.ask(running.port)
            done = failed = before = idle = 0
            while done < options.requests or not before:
                load = wrk.run(running.port, CONNECTIONS, 1, stage.cores.load, headers)
                # On a crowded machine a second may pass before the load itself has its turn.
                idle = 0 if load.requests else idle + 1
                if idle == IDLE_MOST:
                    raise ValueError(f"no request was answered in {idle} s")
                done, failed = done + load.requests, failed + load.failed
                if not before and done >= options.requests / 10:
                    before = settled(running).pss_written_bytes()
            growth = settled(running).pss_written_bytes() - before
        return Measured({"growth_mib": growth / MIB, "requests": float(done)}, failed)
