"""Child processes: started with exactly the descriptors they need, and known to be dead when they are.

A child that is another program runs `python -I -S`: no environment, no site-packages hooks. What it may import is
passed to it as a list of directories. A child that is a copy of this process has everything in memory already. Their
death is read from a pidfd: no SIGCHLD, no polling, no pid that was used again.
"""

import asyncio
import fcntl
import os
import select
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import ClassVar, NoReturn, Self

# Above every number that a child expects its descriptors at, so that one dup2 cannot hit the next one's source.
SAFE_FD = 64
# What may reach a whole process group and is control's to answer. A copy that gets SIGTERM may go.
IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
KEPT = ("LD_", "ASAN_", "UBSAN_", "LSAN_", "MALLOC_", "GLIBC_", "TZ", "LANG", "LC_", "FASTMESH_")
STDERR = 2
# Signals that are blocked from the first line of `fastmesh run` until the control process can answer them, and again
# from the moment on at which it no longer can.
STARTING = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))


@contextmanager
def line_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a line to a child that is started meanwhile: ours is closed only when it is not, theirs always."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        yield ours, theirs
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


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


def reap_strangers() -> None:
    """Wait for dead children that nobody started here: the first process of a container inherits all orphans."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        # One of our own is waited for where its death is read; that comes here again, for those behind it.
        if found is None or found.si_pid in Child.ours:
            return
        os.waitpid(found.si_pid, os.WNOHANG)


class Child:
    """A running child process.

    `on_death` is called once, from the loop, after the child has been waited for; `status` is set by then.
    """

    ours: ClassVar[set[int]] = set()    # pids that are not yet waited for

    def __init__(self, pid: int, on_death: Callable[[], None]) -> None:
        """Of a process that was started just now; `spawn` and `fork` do both."""
        self.pid = pid
        self.status: int | None = None      # as os.waitpid gives it
        self.death = asyncio.Event()
        self.on_death = on_death
        self.ours.add(pid)
        self.pidfd = os.pidfd_open(pid)
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self.pidfd, self._reap)

    @classmethod
    def spawn(cls, argv: Sequence[str], fds: Mapping[int, int], on_death: Callable[[], None],
              env: Mapping[str, str]) -> Self:
        """Start a program. `fds`: the number in the child → a descriptor here; stdin and stdout are /dev/null, stderr
        is shared unless named. Raises OSError."""
        copies = _copies(fds)
        try:
            actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = [
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            ]
            actions += [(os.POSIX_SPAWN_DUP2, copy, number) for number, copy in copies.items()]
            return cls(os.posix_spawn(argv[0], list(argv), env, file_actions=actions), on_death)
        finally:
            for copy in copies.values():
                os.close(copy)

    @classmethod
    def fork(cls, work: Callable[[], None], fds: Mapping[int, int], on_death: Callable[[], None]) -> Self:
        """Start a copy of this process that does `work` and is gone; descriptors as with `spawn`. Raises OSError.

        Other threads do not exist in the copy, and it must wait for nothing that they might have held: `work` computes,
        and writes to its descriptors. It must not touch the event loop, which is a copy too.
        """
        copies = _copies(fds)
        # No signal may reach the copy while it would still tell this process's loop of it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            with warnings.catch_warnings():
                # Python warns of every fork beside a thread. This one is made for it.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                _be_copy(work, copies, before)
            return cls(pid, on_death)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for copy in copies.values():
                os.close(copy)

    @property
    def is_alive(self) -> bool:
        return self.status is None

    def has_ended(self) -> bool:
        """It is dead, whether or not the loop has noticed."""
        if self.status is not None:
            return True
        looker = select.poll()
        looker.register(self.pidfd, select.POLLIN)
        return bool(looker.poll(0))

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; one that is already dead does not mind."""
        if self.is_alive:
            signal.pidfd_send_signal(self.pidfd, number)

    def _reap(self) -> None:
        self.loop.remove_reader(self.pidfd)
        os.close(self.pidfd)
        _, self.status = os.waitpid(self.pid, 0)
        self.ours.discard(self.pid)
        if os.getpid() == 1:
            reap_strangers()
        self.death.set()
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


def _copies(fds: Mapping[int, int]) -> dict[int, int]:
    return {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, SAFE_FD) for number, fd in fds.items()}


def _be_copy(work: Callable[[], None], copies: Mapping[int, int], mask: set[int]) -> NoReturn:
    """The life of a copy. Nothing that this process would do at its own exit is done: it is not the copy's to do."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for ignored in IGNORED:
            signal.signal(ignored, signal.SIG_IGN)
        null = os.open("/dev/null", os.O_RDWR)
        for number, fd in {0: null, 1: null, **copies}.items():
            os.dup2(fd, number)
        # Else a client of this process would wait for the end of its connection until the copy is gone too.
        for number in map(int, os.listdir("/proc/self/fd")):
            if number > STDERR and number not in copies:
                _close(number)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        work()
        status = 0
    except BaseException:       # sys.stderr has a lock that another thread may have held
        os.write(STDERR, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        os._exit(status)


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass        # the one that the list was read from


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
