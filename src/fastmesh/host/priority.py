"""Who goes first where a worker and its filter host share a processor: the worker, as soon as it can run.

A lower weight (nice) alone decides over the long run only. A worker that wakes up while a filter computes would still
wait until the host's slice is over, a millisecond and more. So the host has a long one, where the kernel has slices,
and a weight so low that a worker is owed time again a few microseconds after it slept.
"""

import contextlib
import os

from fastmesh._core.sys.scheduling import LONG_NS, set_slice

NICE = 15


def yield_to_worker() -> None:
    """For this process, and the threads that it starts from now on."""
    with contextlib.suppress(OSError):
        os.nice(NICE)
    set_slice(LONG_NS, True)
