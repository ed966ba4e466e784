"""Where another process is now, as the kernel tells it: for the word about one that does not move."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sight:
    """What the kernel says of a process."""

    state: str          # as in /proc/PID/stat; "" when there is no /proc
    cpu_ns: int         # -1 when it is not known
    tracer: int         # pid of a debugger, or 0
    place: str          # the kernel function that it waits in, where that may be known

    def __str__(self) -> str:
        if self.tracer:
            return f"held by a debugger (pid {self.tracer})"
        if self.state in ("T", "t"):
            return "it is stopped by a signal"
        if self.state == "R":
            return "it computes without end"
        if self.state:
            return f"it waits in the kernel{f', in {self.place}' if self.place else ''}"
        return "nothing is known about it"


def sight_of(pid: int) -> Sight:
    """Where a process is now."""
    state, cpu_ns, tracer = "", -1, 0
    for line in _text(f"/proc/{pid}/status").splitlines():
        name, _, value = line.partition(":")
        if name == "State":
            state = value.strip()[:1]
        elif name == "TracerPid":
            tracer = int(value)
    if ran := _text(f"/proc/{pid}/schedstat").split():
        cpu_ns = int(ran[0])
    place = _text(f"/proc/{pid}/wchan").strip() if state in ("S", "D") else ""
    return Sight(state, cpu_ns, tracer, "" if place == "0" else place)


def _text(path: str) -> str:
    try:
        with open(path) as file:        # noqa: PTH123  (pathlib is not imported in control)
            return file.read()
    except OSError:
        return ""
