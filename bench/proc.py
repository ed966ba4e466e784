"""What /proc says about processes and cores."""

import time
from dataclasses import dataclass
from pathlib import Path

TICK_NS = 10_000_000
PROC = Path("/proc")


def descendants(pid: int) -> list[int]:
    """The process and everything below it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            fields = stat[stat.rindex(")") + 2 :].split()
            if fields[0] != "Z":
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, ()))
    return found


def cpu_ns(pid: int) -> int:
    """Nanoseconds all threads of a process have spent on a core, by the scheduler's account.

    The first field of schedstat; it counts system calls and the soft interrupts they run, and kernel threads that
    io_uring made for the process. 0 of one that has ended.
    """
    total = 0
    try:
        tasks = list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return 0
    for task in tasks:
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
    return total


def cpu_ns_by_clock(pid: int) -> int:
    """The same figure as one number from the kernel; it keeps what threads that have ended had spent."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def pss_bytes(pid: int) -> int:
    """Proportional set size: private pages, and this process's share of shared ones."""
    return _rollup(pid, ("Pss:",))


def pss_written_bytes(pid: int) -> int:
    """The part of it that does not come from files: it does not change when others map the same programs."""
    return _rollup(pid, ("Pss_Anon:", "Pss_Shmem:"))


def _rollup(pid: int, wanted: tuple[str, ...]) -> int:
    fields = [line.split() for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines()]
    return sum(int(field[1]) * 1024 for field in fields if field[0] in wanted)


@dataclass(frozen=True)
class CoreTime:
    """What /proc/stat says of one core, nanoseconds since boot in steps of a tick."""

    busy: int  # with anybody's work
    steal: int  # wanted here, given to another machine by the hypervisor


def core_time(core: int) -> CoreTime:
    for line in (PROC / "stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
            return CoreTime((user + nice + system + irq + softirq) * TICK_NS, steal * TICK_NS)
    raise ValueError(f"no core {core}")
