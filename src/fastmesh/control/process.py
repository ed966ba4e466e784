"""Child processes: started with exactly the descriptors they need, and known to be dead when they are.

A child runs `python -I -S`: no environment, no site-packages hooks. What it may import is passed to it as
a list of directories. Its death is read from a pidfd: no SIGCHLD, no polling, no pid that was used again.
"""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

# Above every number that a child expects its descriptors at, so that one dup2 cannot hit the next one's source.
SAFE_FD = 64
KEPT = ("LD_", "ASAN_", "UBSAN_", "LSAN_", "MALLOC_", "GLIBC_", "TZ", "LANG", "LC_", "FASTMESH_")
STDERR = 2


def package_paths(*packages: str) -> list[str]:
    """The directories that hold these packages, each once."""
    found: list[str] = []
    for name in packages:
        spec = find_spec(name)
        places = [*(spec.submodule_search_locations or ()), spec.origin] if spec is not None else []
        first = places[0] if places else None
        if first is None:
            raise ModuleNotFoundError(f"package {name} is not installed")
        directory = os.path.dirname(first)
        if directory not in found:
            found.append(directory)
    return found


def command(module: str, paths: Sequence[str], *args: object) -> list[str]:
    """The command line of a child whose entry is `main(argv)` of a module."""
    code = (f"import sys; sys.path[:0] = sys.argv.pop(1).split(':'); from {module} import main; "
            "sys.exit(main(sys.argv[1:]))")
    return [sys.executable, "-I", "-S", "-c", code, ":".join(paths), *map(str, args)]


def worker_environment() -> dict[str, str]:
    """What a worker gets of the environment: nothing that could be a secret, only what the loader and libc read."""
    return {name: value for name, value in os.environ.items() if name.startswith(KEPT)}


class Child:
    """A running child process.

    `on_death` is called once, from the loop, after the child has been waited for; `status` is set by then.
    """

    def __init__(self, argv: Sequence[str], fds: Mapping[int, int], on_death: Callable[[], None],
                 env: Mapping[str, str]) -> None:
        """Start it. `fds`: the number in the child → a descriptor here; stdin and stdout are /dev/null, stderr
        is shared unless named. Raises OSError."""
        self.status: int | None = None      # as os.waitpid gives it
        self.on_death = on_death
        copies = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, SAFE_FD) for number, fd in fds.items()}
        try:
            actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = [
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            ]
            actions += [(os.POSIX_SPAWN_DUP2, copy, number) for number, copy in copies.items()]
            self.pid = os.posix_spawn(argv[0], list(argv), env, file_actions=actions)
        finally:
            for copy in copies.values():
                os.close(copy)
        self.pidfd = os.pidfd_open(self.pid)
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self.pidfd, self._reap)

    @property
    def is_alive(self) -> bool:
        return self.status is None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; one that is already dead does not mind."""
        if self.is_alive:
            signal.pidfd_send_signal(self.pidfd, number)

    def _reap(self) -> None:
        self.loop.remove_reader(self.pidfd)
        os.close(self.pidfd)
        _, self.status = os.waitpid(self.pid, 0)
        self.on_death()

    def how_it_ended(self) -> str:
        """For people: "killed by SIGKILL", "exit status 3"."""
        if self.status is None:
            return "still running"
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            core = " (core dumped)" if os.WCOREDUMP(self.status) else ""
            return f"killed by {signal_name(number)}{core}"
        return f"exit status {os.WEXITSTATUS(self.status)}"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
