"""Who holds an address: for a message that helps, and to know the workers of a control process that died."""

import os
from dataclasses import dataclass

LISTENING = "0A"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that has a socket open."""

    pid: int
    name: str
    arguments: tuple[str, ...]
    parent: int

    @property
    def is_orphan_worker(self) -> bool:
        """A worker of fastmesh whose control process is gone: it leaves by itself, soon, or when asked."""
        return self.control_pid not in (0, self.parent)

    @property
    def control_pid(self) -> int:
        """The control process that started this worker; 0 when it is none of ours."""
        if not any("fastmesh.worker.main" in argument for argument in self.arguments):
            return 0
        last = self.arguments[-1]
        return int(last) if last.isdigit() else 0

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def owners_of_port(port: int) -> list[Owner]:
    """The processes that listen on a TCP port, on any address; those of other users are not seen."""
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _lines(table)[1:]:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return _holders(inodes)


def owners_of_path(path: str) -> list[Owner]:
    """The processes that have a Unix-domain socket of this path open."""
    inodes: set[str] = set()
    for line in _lines("/proc/net/unix")[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[7] == path:
            inodes.add(fields[6])
    return _holders(inodes)


def _holders(inodes: set[str]) -> list[Owner]:
    wanted = {f"socket:[{inode}]" for inode in inodes if inode != "0"}
    found: list[Owner] = []
    for entry in os.listdir("/proc") if wanted else ():
        if entry.isdigit() and _holds(entry, wanted):
            owner = owner_of(int(entry))
            if owner is not None:
                found.append(owner)
    return found


def _holds(pid: str, wanted: set[str]) -> bool:
    try:
        return any(_target(f"/proc/{pid}/fd/{fd}") in wanted
                   for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def owner_of(pid: int) -> Owner | None:
    """What is known of a process; None when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:    # noqa: PTH123
            arguments = tuple(part.decode("utf-8", "replace") for part in file.read().rstrip(b"\0").split(b"\0"))
        with open(f"/proc/{pid}/stat") as file:             # noqa: PTH123
            # "pid (name) state ppid …"; the name may hold anything, also brackets.
            name, _, rest = file.read().partition("(")[2].rpartition(")")
        return Owner(pid, name, arguments, int(rest.split()[1]))
    except (OSError, ValueError, IndexError):
        return None


def _lines(path: str) -> list[str]:
    try:
        with open(path, errors="replace") as file:      # noqa: PTH123
            return file.read().splitlines()
    except OSError:
        return []
