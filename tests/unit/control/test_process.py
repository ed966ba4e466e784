"""Child processes."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from fastmesh.control.process import Child, package_paths, worker_environment


async def outcome(code: str, fds: dict[int, int] | None = None, kill: int = 0) -> str:
    died = asyncio.Event()
    child = Child.spawn([sys.executable, "-I", "-S", "-c", code], fds or {}, died.set, os.environ)
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
            Child.spawn(["/no/such/program"], {}, lambda: None, {})

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


async def copied(work: Callable[[], None], fds: dict[int, int] | None = None, kill: int = 0) -> str:
    died = asyncio.Event()
    child = Child.fork(work, fds or {}, died.set)
    if kill:
        child.kill(kill)
    async with asyncio.timeout(10):
        await died.wait()
    return child.how_it_ended()


def pause() -> None:
    threading.Event().wait(60)


def test_how_copies_end() -> None:
    assert uvloop.run(copied(lambda: None)) == "exit status 0"
    assert uvloop.run(copied(lambda: os._exit(3))) == "exit status 3"
    assert uvloop.run(copied(pause, kill=signal.SIGTERM)) == "killed by SIGTERM"


def test_a_copy_can_be_made_beside_other_threads() -> None:
    """Newer Pythons warn of it, and warnings are errors here."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert uvloop.run(copied(lambda: os._exit(threading.active_count()))) == "exit status 1"
    finally:
        end.set()
        thread.join()


def test_a_copy_that_fails_says_why_and_never_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise SystemExit("a reason of its own")

    words = os.memfd_create("words")
    assert uvloop.run(copied(fail, {2: words})) == "exit status 1"
    assert b"SystemExit: a reason of its own" in os.pread(words, 65536, 0)
    os.close(words)
    assert capfd.readouterr() == ("", "")


def test_a_copy_has_exactly_its_descriptors() -> None:
    """It must not hold a client's connection open, nor a listening socket that control has closed."""
    read, write = os.pipe()

    def report() -> None:
        # One more than there are: that of the list itself.
        os.write(3, " ".join(os.listdir("/proc/self/fd")).encode())

    assert uvloop.run(copied(report, {3: write})) == "exit status 0"
    assert sorted(map(int, os.read(read, 1000).split())) == [0, 1, 2, 3, 4]
    os.close(write)
    os.close(read)


def test_a_copy_answers_no_signal_for_its_parent() -> None:
    """What reaches a whole process group is the parent's to answer, and its loop must hear of it once."""
    heard: list[int] = []

    def signal_oneself() -> None:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGUSR1):
            loop.add_signal_handler(number, heard.append, number)
        assert await copied(signal_oneself) == "exit status 0"
        assert heard == []
        # The copy is made with signals held back: afterwards they arrive again.
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(10):
            while not heard:    # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert heard == [signal.SIGHUP]

    uvloop.run(test())
