"""Filters with a single question: an author answers it and writes no phase.

Each is a `Filter`, is configured like one, and may have more phases.
"""

from __future__ import annotations

import os
from errno import EAGAIN, EINTR
from time import monotonic

from fastmesh._core.filter.view import Response
from fastmesh.filters.filter import Filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    from fastmesh._core.filter.view import Outcome, Request, UpstreamError

CO_COROUTINE = 0x80         # of a code object: made by `async def`


def is_async(function: Any) -> bool:
    """It was written with `async def`; inspect, which knows too, is heavy."""
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & CO_COROUTINE)


class Authorizer(Filter):
    """Who may pass. False is answered with 403, a Response is the answer, True lets the request go on::

        class Staff(Authorizer):
            def allow(self, request: Request) -> bool:
                return request.headers.get("x-team") == "staff"

    `allow` may be `async def`. It fails closed, as `security` says.
    """

    security = True

    def allow(self, request: Request) -> bool | Response | Awaitable[bool | Response]:
        """Whether the request may pass."""
        raise NotImplementedError(f"{type(self).__name__} has no method allow")

    def on_request(self, request: Request) -> Any:
        return verdict(self.allow(request), self)

    async def _on_request_later(self, request: Request) -> Response | None:
        asked: Any = self.allow(request)
        return verdict(await asked, self)

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        # Which of the two is decided once: a question that is answered at once makes no coroutine.
        if "allow" in cls.__dict__ and "on_request" not in cls.__dict__:
            cls.on_request = (  # type: ignore[method-assign]
                Authorizer._on_request_later if is_async(cls.allow) else Authorizer.on_request)


def verdict(allowed: Any, author: Authorizer) -> Response | None:
    """None for what may pass. What is no verdict is an error, and so refused: a forgotten `return` lets nobody in."""
    if allowed is True:
        return None
    if allowed is False:
        return Response(403, text="forbidden\n")
    if isinstance(allowed, Response):
        return allowed
    raise TypeError(f"{type(author).__name__}.allow returned {type(allowed).__name__}; "
                    "it returns True, False or a Response")


class RateLimitKey(Filter):
    """How often, per key. The key is the author's, the counting is shared by all workers::

        class PerTenant(RateLimitKey):
            def key(self, request: Request) -> str | None:
                return request.headers.get("x-tenant")

    Each key has a bucket of `burst` requests that fills by `rate` in a second. None as key is not limited. Who is over
    gets 429 with Retry-After. At most `keys` buckets exist; with more, the one unused for longest is given up.
    """

    rate: float
    """Requests per second that each key has."""
    burst: int = 0
    """Requests that a key may have at once; 0: what `rate` gives in a second, at least 1."""
    keys: int = 10_000
    """Buckets that there are, at most, over all workers."""

    def key(self, request: Request) -> str | None:
        """Whose bucket this request is taken from; None for no limit."""
        raise NotImplementedError(f"{type(self).__name__} has no method key")

    def start(self) -> None:
        """Makes the buckets. Who writes an own one begins it with `super().start()`."""
        if self.rate <= 0 or self.burst < 0:
            raise ValueError("rate is a number above 0, burst 0 or above")
        from fastmesh.filters.shared import TokenBuckets

        self.depth = self.burst or max(1, int(self.rate))
        # With another number of keys it is another object: the buckets begin anew.
        self.buckets = TokenBuckets(f"{self.name}.rate.{self.keys}", rate=self.rate, burst=self.depth,
                                    max_keys=self.keys)
        self.policy = f'"{self.name}";q={self.depth};w={max(1, round(self.depth / self.rate))}'

    def on_request(self, request: Request) -> Response | None:
        key = self.key(request)
        if key is None:
            return None
        wait = self.buckets.take(key)
        if wait <= 0:
            return None
        return self.refused(request, wait)

    def refused(self, request: Request, wait: float) -> Response:
        """The answer to one who must wait; `wait` is in seconds."""
        seconds = str(max(1, -int(-wait // 1)))
        return Response(429, text="too many requests\n", headers={
            "retry-after": seconds, "ratelimit-policy": self.policy, "ratelimit": f'"{self.name}";r=0;t={seconds}'})


class RetryPolicy(Filter):
    """Whether an attempt that failed is made again: True, False, or None for what `request.retry` says, or the settings
    of the cluster where no filter has set that.

    True counts only where `error.may_repeat` says that nothing was sent that cannot be sent twice, up to 8 attempts,
    and while the cluster's budget for them lasts (see `Retry`). The pause before is that of `request.retry`, if it is
    set. Where a rule does, set that: it is read without entering Python.
    """

    def again(self, request: Request, error: UpstreamError) -> bool | None:
        """Whether to try again."""
        raise NotImplementedError(f"{type(self).__name__} has no method again")

    def on_upstream_error(self, request: Request, error: UpstreamError) -> bool | None:
        return self.again(request, error)


class AccessLogger(Filter):
    """Lines about exchanges that are over, written to a file or to the journal of fastmesh::

        class Slow(AccessLogger):
            def line(self, request: Request, outcome: Outcome) -> str | None:
                return f"{request.path} {outcome.duration:.3f}" if outcome.duration > 1 else None

    Lines are appended to `path`, which is opened anew when it was moved away; without a path they go to the journal.
    A reader of a pipe that does not keep up makes lines wait, at most `waiting` of them; more are lost and counted.
    """

    path: str = ""
    """The file; "" is the journal."""
    waiting: int = 1000
    """Lines that may wait for a reader, at most."""

    LOOK_EVERY = 1.0                # seconds between looks whether the file is still there

    def line(self, request: Request, outcome: Outcome) -> str | None:
        """What to write, without a newline; None for nothing."""
        raise NotImplementedError(f"{type(self).__name__} has no method line")

    def start(self) -> None:
        """Opens the file. Who writes an own one begins it with `super().start()`."""
        if self.waiting < 1:
            raise ValueError("waiting is a number of lines, 1 or above")
        self.queue: list[bytes] = []
        self.fd = -1
        self.looked = 0.0
        self.lost = self.metrics.counter("lines_lost", help="Lines that had no place to wait, or could not be written.")
        if self.path:
            self._open()

    def stop(self) -> None:
        """Writes what waits, and closes the file. Who writes an own one ends it with `super().stop()`."""
        if self.fd >= 0:
            self._write()
            os.close(self.fd)
            self.fd = -1

    def on_complete(self, request: Request, outcome: Outcome) -> None:
        text = self.line(request, outcome)
        if text is None:
            return
        if not self.path:
            self.log.info(text)
            return
        # A line is one line, whatever a client wrote into it.
        self.queue.append(text.replace("\r", "\\r").replace("\n", "\\n").encode() + b"\n")
        now = monotonic()
        if now - self.looked >= self.LOOK_EVERY:
            self.looked = now
            self._follow()
        self._write()
        if len(self.queue) > self.waiting:
            # The newest: of the first in line, a part may be written.
            del self.queue[-1]
            self.lost.inc()

    def _open(self) -> None:
        # Without O_NONBLOCK a pipe that nobody empties would hold up the worker.
        self.fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)

    def _follow(self) -> None:
        """Open the path anew when another file stands there now, or none."""
        try:
            there = os.stat(self.path)
            here = os.fstat(self.fd)
            moved = (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)
        except OSError:
            moved = True
        if moved:
            old = self.fd
            try:
                self._open()
            except OSError as error:
                self.log.warning(f"{self.path} cannot be opened: {error.strerror}; lines go where they went")
                return
            if old >= 0:
                os.close(old)

    def _write(self) -> None:
        """Write what waits, as far as it is taken without waiting."""
        done = 0
        for line in self.queue:
            try:
                sent = os.write(self.fd, line)
            except OSError as error:
                if error.errno not in (EAGAIN, EINTR):
                    self.lost.inc()         # a full disk: this line has no future
                    done += 1
                    continue
                break
            if sent < len(line):
                self.queue[done] = line[sent:]
                break
            done += 1
        del self.queue[:done]
