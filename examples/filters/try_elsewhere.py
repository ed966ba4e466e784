"""Whether to try again, and what that comes to."""

from fastmesh import Filter, Outcome, Request, UpstreamError


class TryElsewhere(Filter):
    """Tries another endpoint while nothing was sent that cannot be sent twice, and counts the attempts."""

    attempts: int = 3
    patience: float = 0.2                   # seconds; later than that, a second try helps nobody

    def start(self) -> None:
        self.tries = self.metrics.histogram("tries", help="Attempts per exchange.", buckets=(1, 2, 3, 5, 8))
        self.given_up = self.metrics.counter("given_up", help="Failures that were not tried again.", labels=("reason",))

    def on_upstream_error(self, request: Request, error: UpstreamError) -> bool | None:
        if error.may_repeat and error.attempt < self.attempts and request.elapsed < self.patience:
            return True
        self.given_up.inc(reason=error.reason)
        return False

    def on_complete(self, request: Request, outcome: Outcome) -> None:
        self.tries.observe(request.attempts)
