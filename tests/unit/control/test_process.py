"""Child processes."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
import uvloop

from fastmesh.control.process import Child, package_paths, worker_environment


async def outcome(code: str, fds: dict[int, int] | None = None, kill: int = 0) -> str:
    died = asyncio.Event()
    child = Child([sys.executable, "-I", "-S", "-c", code], fds or {}, died.set, os.environ)
    assert child.how_it_ended() == "still running"
    if kill:
        child.kill(kill)
    async with asyncio.timeout(10):
        await died.wait()
    child.kill()        # of the dead: no harm
    return child.how_it_ended()


def test_how_children_end() -> None:
    assert uvloop.run(outcome("pass")) == "exit status 0"
    assert uvloop.run(outcome("raise SystemExit(3)")) == "exit status 3"
    assert uvloop.run(outcome("import time; time.sleep(60)", kill=signal.SIGTERM)) == "killed by SIGTERM"
    assert uvloop.run(outcome("import os; os.kill(os.getpid(), 4)")) == "killed by SIGILL"


def test_a_child_has_exactly_its_descriptors() -> None:
    """Numbers may cross: what is 4 here may be 3 there."""
    pipes = [os.pipe() for _ in range(2)]
    write_a, write_b = pipes[0][1], pipes[1][1]
    # Crossed: the child's 3 is what has the larger number here. Nothing else of these pipes may be open there.
    code = ("import os; os.write(3, b'three'); os.write(4, b'four'); "
            "ours = {os.readlink('/proc/self/fd/3'), os.readlink('/proc/self/fd/4')}; "
            "links = [f'/proc/self/fd/{n}' for n in os.listdir('/proc/self/fd')]; "
            "raise SystemExit(sum(os.path.lexists(l) and os.readlink(l) in ours for l in links))")
    assert uvloop.run(outcome(code, {3: write_a, 4: write_b})) == "exit status 2"
    assert [os.read(read, 100) for read, _ in pipes] == [b"three", b"four"]
    for fd in (*pipes[0], *pipes[1]):
        os.close(fd)


def test_what_cannot_be_started_is_an_error() -> None:
    async def test() -> None:
        with pytest.raises(FileNotFoundError):
            Child(["/no/such/program"], {}, lambda: None, {})

    uvloop.run(test())


def test_package_paths() -> None:
    paths = package_paths("fastmesh", "msgpack", "fastmesh")
    assert (Path(paths[0]) / "fastmesh" / "__init__.py").exists()
    assert len(set(paths)) == len(paths)
    with pytest.raises(ModuleNotFoundError):
        package_paths("no_such_package_anywhere")


def test_the_environment_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("ASAN_OPTIONS", "y")
    environment = worker_environment()
    assert environment["ASAN_OPTIONS"] == "y"
    assert "SECRET_TOKEN" not in environment
    assert "PATH" not in environment
