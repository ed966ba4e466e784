"""Who goes first where a worker and its filter host share a processor: the worker, as soon as it can run.

A lower weight (nice) alone decides over the long run only. A worker that wakes up while a filter computes would still
wait until the host's slice is over, a millisecond and more. Linux 6.12 and later let a task with a shorter slice go
first when it is owed time: so the host has a long one, and a weight so low that a worker is owed time again a few
microseconds after it slept. Where slices are not known, the weight is what there is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct

NICE = 15
SLICE_NS = 20_000_000
SCHED_OTHER = 0
# struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period.
ATTR = struct.Struct("=IIQiIQQQ")
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}


def yield_to_worker() -> None:
    """For this process, and the threads that it starts from now on."""
    with contextlib.suppress(OSError):
        os.nice(NICE)
    number = SCHED_SETATTR.get(platform.machine())
    if number is not None:
        attr = ATTR.pack(ATTR.size, SCHED_OTHER, 0, os.getpriority(os.PRIO_PROCESS, 0), 0, SLICE_NS, 0, 0)
        # A kernel that has no slices refuses or ignores them.
        ctypes.CDLL(None).syscall(number, 0, attr, 0)
