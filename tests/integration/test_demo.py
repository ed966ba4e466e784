"""The demonstration itself, shortened: it must notice nothing, and leave nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def demo(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "demo", "--plain", "--rate", "60", "--logs", str(tmp_path / "logs"),
                             *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def still_running(logs: Path) -> list[str]:
    """Processes that were started with something of this demonstration in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if any(str(logs) in word for word in command):
                found.append(" ".join(command))
    return found


@pytest.mark.parametrize("engine", ["io_uring", "epoll"])
def test_the_caller_notices_nothing(tmp_path: Path, engine: str) -> None:
    process = demo(tmp_path, "--seconds", "0.5", "--reactor", engine)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert "what the caller noticed: nothing" in output
    steps = [line.split("▸ ")[1] for line in output.splitlines() if "▸" in line]
    assert [step.split()[0] for step in steps] == ["starting", "traffic:", "killed", "brought", "reloaded", "replaced",
                                                   "enough"]
    sent, failures = map(int, re.findall(r"sent (\d+) requests: .* (\d+) failures", output)[0])
    assert sent > 100 and failures == 0
    assert not still_running(tmp_path)


def test_interrupted_it_ends_everything(tmp_path: Path) -> None:
    process = demo(tmp_path, "--seconds", "60")
    assert process.stdout is not None
    while "traffic:" not in process.stdout.readline():
        assert process.poll() is None
    assert len(still_running(tmp_path)) > 1
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - started < 30
    assert not still_running(tmp_path)
