"""Sidecars that start in a moment, for tests of something else than their start: see template.py."""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

TEMPLATE = Path(__file__).with_name("template.py")


class Copy:
    """A running copy, with as much of what `subprocess.Popen` has as tests ask for."""

    def __init__(self, told: socket.socket) -> None:
        self.returncode: int | None = None
        self._told = told.makefile("r")
        told.close()
        pid = self._told.readline()
        assert pid, "the template of sidecars has ended"
        self.pid = int(pid)

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        if self._look(timeout) is None:
            raise subprocess.TimeoutExpired(f"fastmesh run (pid {self.pid})", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            self.returncode = int(self._told.readline())
            self._told.close()
        return self.returncode


class Template:
    """The process that is copied. It ends when this one does."""

    def __init__(self) -> None:
        self._orders, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._process = subprocess.Popen([sys.executable, TEMPLATE, str(its.fileno())], pass_fds=(its.fileno(),),
                                             stdin=subprocess.DEVNULL)

    def start(self, config: Path, output: IO[bytes], errors: IO[bytes]) -> Copy:
        order = {"config": str(config), "env": dict(os.environ), "directory": str(Path.cwd())}
        told, its = socket.socketpair()
        with its:
            socket.send_fds(self._orders, [json.dumps(order).encode()],
                            [output.fileno(), errors.fileno(), its.fileno()])
        return Copy(told)

    def end(self) -> None:
        self._orders.close()
        self._process.wait()


_templates: list[Template] = []


def start(config: Path, output: IO[bytes], errors: IO[bytes]) -> Copy:
    """`fastmesh run -c config`, with these descriptors as its standard output and standard error."""
    if not _templates:
        _templates.append(Template())
        atexit.register(_templates[0].end)
    return _templates[0].start(config, output, errors)
