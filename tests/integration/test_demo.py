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


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    while words not in (line := process.stdout.readline()):
        assert line, f"it ended before it said {words!r}"


def children(process: subprocess.Popen[str], word: str) -> list[int]:
    """The processes that a demonstration has started with this in their command line."""
    pids = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    return [pid for pid in pids if word in Path(f"/proc/{pid}/cmdline").read_text(errors="replace")]


def still_running(logs: Path) -> list[str]:
    """Processes that were started with something of this demonstration in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_text(errors="replace").split("\0")
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
    assert [step.split()[0] for step in steps] == [
        "starting", "traffic:", "killed", "brought", "froze", "thawed", "slowed", "shop-1", "cut", "brought",
        "reloaded", "replaced", "enough:"]
    sent, failures = map(int, re.findall(r"sent (\d+) requests: .* (\d+) failures", output)[0])
    assert sent > 100 and failures == 0
    assert int(re.findall(r"(\d+) of the right answers were made without", output)[0]) > 0
    # What it went through was real: without these the caller would have noticed.
    attempts, hedges, ejected = map(int, re.findall(
        r"the sidecars made (\d+) further attempts and (\d+) beside the first, and ejected (\d+) instances", output)[0])
    assert attempts > 0 and hedges > 0 and ejected > 0
    assert re.search(r"sidecars: \d+ tried again, \d+ asked twice, \d+ ejected, \d+ degraded", output)
    assert not still_running(tmp_path)


def test_interrupted_it_ends_everything(tmp_path: Path) -> None:
    process = demo(tmp_path, "--seconds", "60")
    wait_for(process, "traffic:")
    assert len(still_running(tmp_path)) > 1
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - started < 30
    assert not still_running(tmp_path)


def test_what_the_caller_notices_is_said_and_is_a_failure(tmp_path: Path) -> None:
    process = demo(tmp_path, "--seconds", "60")
    wait_for(process, "traffic:")
    shop = children(process, "\0shop\0")
    assert len(shop) == 3
    for pid in shop:
        os.kill(pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    wrong = int(re.findall(r"what the caller noticed: (\d+) requests went wrong", output)[0])
    assert wrong > 0 and f" {wrong} failures" in output
    assert "503 Service Unavailable" in output
    assert not still_running(tmp_path)


def test_a_sidecar_that_ends_is_a_failure(tmp_path: Path) -> None:
    process = demo(tmp_path, "--seconds", "60")
    wait_for(process, "traffic:")
    (sidecar,) = children(process, "/catalog.yaml")
    os.kill(sidecar, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "failed: " in output and "ended by themselves: catalog's sidecar" in output
    assert "catalog-sidecar.log" in output
    assert not still_running(tmp_path)


def test_two_at_once(tmp_path: Path) -> None:
    """In one folder and on one machine: each finds files and ports of its own."""
    both = [demo(tmp_path, "--seconds", "0.1") for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=100)
        assert process.returncode == 0, output
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["logs", "logs-2"]
    assert not still_running(tmp_path)


def test_it_removes_no_file_that_is_not_its_own(tmp_path: Path) -> None:
    mine = tmp_path / "logs" / "mine.yaml"
    mine.parent.mkdir()
    mine.write_text("mine")
    process = demo(tmp_path)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "holds other files" in output
    assert mine.read_text() == "mine"
