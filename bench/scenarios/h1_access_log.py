"""The access log on, to a file: each proxy's own default fields, or those of Envoy's default where it has none."""

from bench.peers import Peer, Service
from bench.scenarios.scenario import Figure, Measured, Options
from bench.scenarios.small_requests import BUSY, CPU, RPS, SmallRequests
from bench.stage import Stage

TAIL = 64 << 10


class H1AccessLog(SmallRequests):
    name = "h1-access-log"
    title = "HTTP/1.1 keep-alive, each request logged to a file"
    figures = (CPU, RPS, Figure("line_bytes", "length of a line", "B", 0, judged=False), BUSY)
    service = Service("http", access_log=True)

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        measured = super().measure(stage, peer, point, options)
        folder = self.hops(stage, peer, point)[0].folder
        with peer.log_path(folder).open("rb+") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - TAIL))
            lines = log.read().splitlines()[1:-1]
            # Opened for appending by all of them: goes on at the front, and the disk does not fill.
            log.truncate(0)
        if len(lines) < 2:
            raise ValueError("nothing was logged")
        measured.figures["line_bytes"] = sum(map(len, lines)) / len(lines) + 1
        return measured
