"""How many processors this process may use: what `workers: auto` stands for."""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_processors(quota: Path = _QUOTA) -> int:
    """The processors of the affinity mask, and no more than the container's quota pays for; at least 1.

    A container with a quota of one processor on a machine of 64 gets one worker, not 64.
    """
    count = len(os.sched_getaffinity(0))
    try:
        allowed, period = quota.read_text().split()[:2]
        if allowed != "max":
            count = min(count, -(-int(allowed) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        pass    # no cgroup v2 here, or none that can be read: the mask alone decides
    return max(1, min(count, 256))
