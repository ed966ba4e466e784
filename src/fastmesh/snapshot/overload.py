"""What each worker may use of the machine, and how that is written into a snapshot."""

from pathlib import Path
from typing import Any

from fastmesh.config.model import Config
from fastmesh.config.overload import Overload

# Of cgroup v2 and v1, as a container sees its own.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_NONE = 1 << 50             # v1 says "no limit" by a number as large as it has
_OTHERS = 64 << 20          # for the processes that are no workers
_LEAST = 16 << 20           # of a worker


def cgroup_memory(files: tuple[Path, ...] = _LIMITS) -> int:
    """Bytes that this container may have; 0 when nothing says so."""
    for file in files:
        try:
            limit = int(file.read_text())
        except (OSError, ValueError):       # "max", or not there
            continue
        if 0 < limit < _NONE:
            return limit
    return 0


def worker_memory(overload: Overload, workers: int, container: int) -> int:
    """Bytes of one worker; 0: memory is not looked at. `container`: as cgroup_memory has it."""
    if overload.memory is not None:
        return max(_LEAST, overload.memory // workers)
    return max(_LEAST, (container * 9 // 10 - _OTHERS) // workers) if container else 0


def overload_record(config: Config, workers: int) -> list[Any] | None:
    """The item `overload` of the settings; None where nothing is looked at."""
    overload = config.overload
    if not overload.enabled:
        return None
    return [worker_memory(overload, workers, cgroup_memory()), overload.lag, overload.retry_after,
            overload.header or "", overload.reset_largest_at]
