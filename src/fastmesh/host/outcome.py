"""What a filter host is told of an attempt that failed, of a cluster that did, and of an exchange that is over."""

from __future__ import annotations

from typing import NamedTuple


class UpstreamError(NamedTuple):
    """Why an attempt failed."""

    reason: str
    message: str
    endpoint: str
    attempt: int
    may_repeat: bool

    def __repr__(self) -> str:
        return f"<UpstreamError {self.reason}: {self.message}>"


class Failure(NamedTuple):
    """What made a fallback begin."""

    reason: str
    status: int
    flags: str
    details: str
    message: str
    cluster: str
    endpoint: str | None
    attempts: int

    def __repr__(self) -> str:
        return f"<Failure {self.reason} of {self.cluster}: {self.status}>"


class Outcome(NamedTuple):
    """How an exchange ended."""

    status: int
    flags: str
    details: str
    duration: float
    upstream_time: float | None
    received: int
    sent: int
    endpoint: str | None

    def __repr__(self) -> str:
        return f"<Outcome {self.status} {self.flags or '-'} {self.details}>"
