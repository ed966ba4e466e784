"""Requests go where answers come soon."""

from fastmesh import Duration, Endpoint, LoadBalancer, Share

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

Numbers = tuple[int, float, int, int]         # answers, time waited for them, requests, failures


class LeastLatency(LoadBalancer):
    """Gives an endpoint that answers twice as fast twice the requests, and takes them away as its requests fail.

    Of each interval, the mean time to the first byte of an answer counts, and the share of attempts that failed.
    """

    shortest: Duration = 0.001      # what is faster counts as this
    least: Share = 0.05             # of the fastest endpoint's weight, what every other keeps, so that it is seen
    step: Share = 0.5               # of the way to the new weights, how much is gone at a time

    def start(self) -> None:
        if self.shortest <= 0 or self.least <= 0 or self.step <= 0:
            raise ValueError("shortest, least and step are above 0")
        self.seen: dict[str, Numbers] = {}
        self.speeds: dict[str, float] = {}      # answers a second, smoothed; of endpoints that have answered

    def weights(self, endpoints: "Sequence[Endpoint]") -> "list[float] | None":
        seen = {}
        speeds = {}
        for endpoint in endpoints:
            address = endpoint.address
            now = seen[address] = (endpoint.answers, endpoint.answer_time, endpoint.requests, endpoint.failures)
            # Of one that is new here all answers count, and none of its failures: they may be of another day.
            speed = self.speed(endpoint.latency, now, self.seen.get(address, (0, 0.0, *now[2:])))
            before = self.speeds.get(address)
            if speed is None:
                speed = before          # nothing is known that was not known before
            elif before is not None:
                speed = before + (speed - before) * self.step
            if speed is not None:
                speeds[address] = speed
        self.seen, self.speeds = seen, speeds
        if not speeds:
            return None
        # One that has not answered yet is taken for as good as the others are on the average.
        mean = sum(speeds.values()) / len(speeds)
        floor = max(speeds.values()) * self.least
        return [endpoint.weight * max(floor, speeds.get(endpoint.address, mean)) for endpoint in endpoints]

    def speed(self, latency: float | None, now: Numbers, before: Numbers) -> float | None:
        """Answers a second that count, of what has happened since; None when nothing has."""
        answers, taken, requests, failures = (a - b for a, b in zip(now, before, strict=True))
        if failures > 0 and failures >= requests:
            return 0.0
        if answers <= 0 or latency is None:
            return None
        mean = taken / answers if taken > 0 else latency
        return (1 - max(0, failures) / max(1, requests)) / max(self.shortest, mean)
