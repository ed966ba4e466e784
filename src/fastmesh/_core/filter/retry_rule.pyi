"""What an author says about further attempts of a request."""

from collections.abc import Iterable
from typing import final

@final
class Retry:
    """How often a request is tried, and after which failures::

        class RetryReads(Filter):
            def start(self) -> None:
                self.rule = Retry(attempts=3, on={"connect-failure", "reset", 503}, per_try_timeout=1.0)

            def on_route(self, request: Request) -> None:
                if request.method == "GET":
                    request.retry = self.rule

    `attempts` counts the first one, and may be 1 to 8. `on` has what is tried again:

    - `"connect-failure"`: no connection: refused, or slower than the cluster's `connect_timeout`;
    - `"reset"`: the connection ended before a byte of an answer;
    - `"protocol-error"`: what came was no HTTP;
    - `"timeout"`: no answer began within `per_try_timeout`;
    - a status from 400 to 599: an answer with it;
    - `"gateway-error"`: all of the names above, and 502, 503 and 504;
    - `"5xx"`: all of the names above, and every status from 500 on;
    - `"retriable-4xx"`: 409;
    - `"cancelled"`, `"deadline-exceeded"`, `"internal"`, `"resource-exhausted"`, `"unavailable"`: an answer of gRPC
      that is its head alone, with that `grpc-status`.

    What was sent is sent again only if the method is idempotent (RFC 9110, section 9.2.2), or if `non_idempotent` says
    that this may be done twice; and only while its body is still held, which is up to 64 KiB. An answer of which
    anything has gone to the client is never taken back.

    Before the n-th further attempt there is a pause, drawn between 0 and `backoff` times 2ⁿ - 1, at most
    `backoff_max`: 10 times `backoff` unless it is given. `backoff=0` makes none. Endpoints that were not tried come
    first. `per_try_timeout` are the seconds that an attempt may take until its answer begins, connecting included;
    while the client sends its body they do not run. `request.timeout` goes on over all attempts and the pauses between.

    An answer that is tried again may say in `Retry-After` when that makes sense, as seconds or a date; then the pause
    is that and up to half as much, at random. When it asks for more than `retry_after_max` seconds, or than are left of
    the request's time, the client gets the answer at once, and waits by itself. `retry_after_max=0` does not listen
    to it: another endpoint may be well.

    Each further attempt takes from the budget of its cluster: a fifth of its requests, and ten a second, in each
    worker, reckoned over ten seconds. When that is spent, the failure or the answer that there is goes to the client.

    One object may serve any number of requests: it cannot be changed. Raises ValueError or TypeError for what makes no
    sense.
    """

    def __init__(self, attempts: int = 2, on: Iterable[str | int] = ("connect-failure", "reset"), *,
                 backoff: float = 0.025, backoff_max: float | None = None, per_try_timeout: float | None = None,
                 non_idempotent: bool = False, retry_after_max: float = 25.0) -> None: ...
    @property
    def attempts(self) -> int:
        """How often it is tried, the first time included."""
    @property
    def on(self) -> frozenset[str | int]:
        """What is tried again: names and statuses, as they were given."""
    @property
    def backoff(self) -> float:
        """Seconds, of which the pauses are made."""
    @property
    def backoff_max(self) -> float:
        """Seconds; no pause is longer."""
    @property
    def per_try_timeout(self) -> float | None:
        """Seconds for one attempt; None when there is no limit but the request's."""
    @property
    def non_idempotent(self) -> bool:
        """Methods that are not idempotent are tried again too."""
    @property
    def retry_after_max(self) -> float:
        """Seconds that an answer's `Retry-After` may ask for."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

def retry_told(rule: Retry) -> tuple[int, list[str | int], float, float, float | None, bool, float]:
    """What there is to be said of it, as plain values."""

def retry_heard(told: list[object]) -> Retry:
    """Made of what `retry_told` said. Raises ValueError or TypeError."""
