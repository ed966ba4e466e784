"""Interrupting filters that run for much longer than they may.

The data thread runs them, so nobody else runs meanwhile. A timer ticks while filters are called; when the same call is
found running for too long, an exception is raised into it, at the next line of Python that it executes. Code that
executes none (a C extension that computes, a system call that is not interrupted) is not reached: control ends a worker
that stands still for `hang_timeout`.
"""

from __future__ import annotations

import signal

from fastmesh._core.filter.chain import is_overdue, watch_filters
from fastmesh._core.filter.wait import FilterTimeout

NUMBER = signal.SIGRTMIN + 1


def watch() -> None:
    """Begin; once for a process. Raises OSError."""
    signal.signal(NUMBER, _interrupt)
    watch_filters(NUMBER)


def _interrupt(number: int, frame: object) -> None:
    if is_overdue():
        raise FilterTimeout("ran for much longer than its `budget` without a pause, and was interrupted")
