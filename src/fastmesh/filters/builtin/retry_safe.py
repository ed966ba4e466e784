"""Attempts that are worth repeating, and those that are not."""

from fastmesh import Request, RetryPolicy, UpstreamError


class RetrySafe(RetryPolicy):
    """Repeats requests of `methods` that failed for one of `reasons`, at most `attempts` in all, and none that has
    been under way for longer than `within` of its timeout."""

    methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS")
    reasons: tuple[str, ...] = ("connect_failure", "connect_timeout", "reset")
    attempts: int = 2
    within: float = 0.5

    def start(self) -> None:
        if self.attempts < 1 or not 0 < self.within <= 1:
            raise ValueError("attempts is 1 or more, within above 0 and at most 1")

    def again(self, request: Request, error: UpstreamError) -> bool | None:
        if error.attempt >= self.attempts or request.method not in self.methods or error.reason not in self.reasons:
            return False
        if request.timeout is not None and request.elapsed > request.timeout * self.within:
            return False
        return error.may_repeat
