"""One proxy (or origin) while it runs: start, readiness, its processes, stop."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import proc

ROOT = Path(__file__).parents[1]
READY_SECONDS = 15.0
STOP_SECONDS = 5.0
# Below the range from which the kernel picks ports for connections.
PORTS = range(20_000, 32_000)


class NotReady(Exception):
    """A process ended, or did not answer in time."""


def free_port() -> int:
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise NotReady("no free port on 127.0.0.1")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for configuration and pid files; readable by a worker that has dropped its privileges."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Running:
    """A process tree pinned to one core, listening on one loopback port."""

    def __init__(self, name: str, command: Sequence[str], port: int, core: int, log: Path) -> None:
        self.name = name
        self.port = port
        self.core = core
        self.folder = log.parent  # with its configuration
        self._log = log
        with log.open("ab") as output:
            # Affinity is inherited: every process and thread that follows stays on the core.
            self._process = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def wait_ready(self, http: bool) -> None:
        """Until a request (or, for TCP, a connection) succeeds."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise NotReady(f"{self.name} ended with {self._process.returncode}: {self._said()}")
            if self._answers(http):
                return
            time.sleep(0.02)
        raise NotReady(f"{self.name} did not answer in {READY_SECONDS:.0f} s: {self._said()}")

    def _answers(self, http: bool) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                if not http:
                    return True
                connection.sendall(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n")
                return connection.recv(4096).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def _said(self) -> str:
        return self._log.read_text(errors="replace").strip()[-800:] or "(it said nothing)"

    @property
    def pid(self) -> int:
        """The first process: master or control."""
        return self._process.pid

    def kill(self) -> None:
        """All of it at once and without a word, as a crash would."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        """None of it runs any more: the kernel goes on accepting connections, and nobody answers."""
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """After `freeze`; else it does nothing."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def pids(self) -> list[int]:
        """Master and workers, control and workers: everything that belongs to it."""
        return proc.descendants(self._process.pid)

    def cpu_ns(self) -> int:
        return sum(proc.cpu_ns(pid) for pid in self.pids())

    def pss_bytes(self) -> int:
        return sum(proc.pss_bytes(pid) for pid in self.pids())

    def pss_written_bytes(self) -> int:
        return sum(proc.pss_written_bytes(pid) for pid in self.pids())

    def stop(self) -> None:
        everything = self.pids()
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            for pid in everything[1:]:
                with contextlib.suppress(ProcessLookupError):
                    if self._log.parent.name in (Path("/proc") / str(pid) / "cmdline").read_text(errors="replace"):
                        subprocess.run(["kill", "-9", str(pid)], check=False, stderr=subprocess.DEVNULL)
