"""Memory as proportional set size: at rest, with idle clients, and while a slow reader holds a large body back.

Growth leaves pages of files out: their shares change with every other program that maps the same libraries.
"""

import json
import time

from bench.load import bodies, http_origin, program, small_requests
from bench.peers import Peer, Service
from bench.running import Running
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

MIB = 1 << 20
SETTLE_SECONDS = 0.5
SLOW_BYTES, SLOW_BYTES_QUICK = 1 << 30, 128 << 20
IDLE = 10_000


def settled(running: Running) -> Running:
    """Once it has served a little and is idle again."""
    small_requests.ask(running.port)
    time.sleep(SETTLE_SECONDS)
    return running


class MemoryRest(Scenario):
    name = "memory-rest"
    quick = True
    title = "Memory without load"
    protocol = "http"
    figures = (
        Figure("rest_mib", "whole proxy with one worker, at rest", "MiB"),
        Figure("worker_mib", "one more worker", "MiB"),
    )

    def rounds(self, options: Options) -> int:
        return 1 if options.quick else options.rounds

    def sample_seconds(self, options: Options) -> float:
        return 2 * (0.7 + SETTLE_SECONDS)

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        with stage.fresh(peer, Service(self.protocol), http_origin.start) as running:
            rest = settled(running).pss_bytes() / MIB
        with stage.fresh(peer, Service(self.protocol, workers=2), http_origin.start) as running:
            more = settled(running).pss_bytes() / MIB - rest
        return Measured({"rest_mib": rest, "worker_mib": more})


class MemoryIdle(Scenario):
    name = "memory-idle"
    title = "Memory of 10,000 idle clients, each after one request"
    protocol = "http"
    figures = (Figure("growth_mib", "growth", "MiB"),)

    def rounds(self, options: Options) -> int:
        return 1 if options.quick else options.rounds

    def sample_seconds(self, options: Options) -> float:
        return 5

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        with stage.fresh(peer, Service(self.protocol), http_origin.start) as running:
            before = settled(running).pss_written_bytes()
            with program.started("bench.load.idle", stage.cores.load, running.port, IDLE) as clients:
                assert clients.stdout is not None
                failed = json.loads(clients.stdout.readline())["failed"]
                time.sleep(SETTLE_SECONDS)
                after = running.pss_written_bytes()
        return Measured({"growth_mib": (after - before) / MIB}, failed)


class MemorySlowReader(Scenario):
    name = "memory-slow-reader"
    title = "Memory while a client reads 1 GiB slowly"
    protocol = "http"
    figures = (Figure("growth_mib", "growth at its peak", "MiB", 2),)

    def rounds(self, options: Options) -> int:
        return 1 if options.quick else options.rounds

    def sample_seconds(self, options: Options) -> float:
        return 3 if options.quick else 10

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        length = SLOW_BYTES_QUICK if options.quick else SLOW_BYTES
        with stage.fresh(peer, Service(self.protocol), bodies.start) as running:
            before = peak = settled(running).pss_written_bytes()
            with program.started("bench.load.bodies", stage.cores.load, "slow", running.port, length) as reader:
                while reader.poll() is None:
                    peak = max(peak, running.pss_written_bytes())
                    time.sleep(0.03)
                assert reader.stdout is not None
                said = reader.stdout.readline()
        failed = json.loads(said)["failed"] if said else 1
        return Measured({"growth_mib": (peak - before) / MIB}, failed)
