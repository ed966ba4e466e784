"""The compile process, seen from control: it may die, hang or lie, and control gets a sentence."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import uvloop

from fastmesh.control import compile as compile_module
from fastmesh.control import compile_process
from fastmesh.control.compile import CompileFailed, Compiler
from fastmesh.control.compile_process import CONTROL_FD, HEADER, SNAPSHOT_FD, rehearse

GOOD = """\
listeners:
  - {name: web, address: "127.0.0.1:8080", routes: [{match: {prefix: /}, cluster: app}]}
clusters:
  - {name: app, endpoints: ["127.0.0.1:9000"]}
"""
EXAMPLES = Path(__file__).parents[3] / "examples"
Work = Callable[[dict[str, Any]], None]


def with_compiler(test: Callable[[Compiler], Awaitable[None]], work: Work | None = None) -> None:
    async def whole() -> None:
        others = children()
        compiler = Compiler() if work is None else Compiler(work)
        try:
            await test(compiler)
        finally:
            compiler.let_go()
            await until(lambda: children() <= others)   # the loop has waited for each

    uvloop.run(whole())


def children() -> set[str]:
    """Of the test's process: other tests may have left theirs."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():      # noqa: ASYNC110
            await asyncio.sleep(0.01)


def pause() -> None:
    threading.Event().wait(60)


def test_a_good_file_and_a_bad_one(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("prefix", "prefxi"))

    async def test(compiler: Compiler) -> None:
        answer = await compiler.ask({"file": str(good), "version": 1})
        assert answer["ok"]
        assert answer["version"] == 1
        fd = os.memfd_create("snapshot")
        former = (SNAPSHOT_FD, os.write(fd, answer["snapshot"]))
        again = await compiler.ask({"file": str(good), "version": 2, "registry": answer["registry"],
                                    "reserve": answer["reserve"], "former": former}, fd)
        assert again["listeners"] == answer["listeners"] and again["reserve"] == [b"", 1]
        refused = await compiler.ask({"file": str(bad), "version": 3, "registry": again["registry"],
                                      "reserve": again["reserve"], "former": former}, fd)
        os.close(fd)
        assert not refused["ok"]
        assert f"{bad}:2:" in refused["text"]
        assert "prefix" in refused["text"]

    with_compiler(test)


def test_requests_at_the_same_time_are_answered_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text(GOOD)

    async def test(compiler: Compiler) -> None:
        answers = await asyncio.gather(*(compiler.ask({"file": str(path), "version": n}) for n in range(5)))
        assert [answer["version"] for answer in answers] == [0, 1, 2, 3, 4]

    with_compiler(test)


def test_nothing_is_left_to_load_after_the_rehearsal(tmp_path: Path) -> None:
    """Whatever the file says, good or bad. In a process that has nothing loaded: the test's own has."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(GOOD.replace("prefix", "prefxi").replace("9000", "99999"))
    # What looks at filters is loaded for files that have any.
    files = [str(path) for path in sorted(EXAMPLES.rglob("*.yaml"))
             if path.parent.name != "simulate" and "filters:" not in path.read_text()]
    assert files
    code = ("import json, sys; sys.path[:0] = json.loads(sys.argv[1])\n"
            "from fastmesh.control.compile_process import answer, rehearse\n"
            "rehearse()\n"
            "from fastmesh.config.model import Config\n"
            "before, validator = set(sys.modules), Config.__pydantic_validator__\n"
            "oks = [answer({'file': file, 'version': 1})['ok'] for file in sys.argv[2:]]\n"
            # OpenSSL comes into a copy that has sessions to seal or a subset to draw, and goes with it.
            "late = set(sys.modules) - before - {'_blake2', '_hashlib', 'hashlib'}\n"
            "print([*sorted(late), Config.__pydantic_validator__ is validator, oks.count(False)])")
    paths = json.dumps([os.path.abspath(path) for path in sys.path if path])
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, paths, *files, str(bad)], capture_output=True,
                          text=True, check=True)
    assert done.stdout == "[True, 1]\n"


def test_a_rehearsal_that_fails_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_process, "REHEARSED", b"listeners: 5")
    with pytest.raises(RuntimeError, match="the configuration of the rehearsal is refused"):
        rehearse()


def test_a_process_that_cannot_be_started_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    async def test(compiler: Compiler) -> None:
        before = os.listdir("/proc/self/fd")
        monkeypatch.setattr(os, "fork", refuse)
        with pytest.raises(CompileFailed, match=r"^the compile process cannot be started: Resource temporarily "):
            await compiler.ask({"file": "x", "version": 1})
        assert os.listdir("/proc/self/fd") == before
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()

    with_compiler(test)


def test_a_process_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_module, "PATIENCE", 0.3)

    async def test(compiler: Compiler) -> None:
        with pytest.raises(CompileFailed, match=r"did not answer within 0\.3 s"):
            await compiler.ask({"file": "x", "version": 1})

    with_compiler(test, lambda request: pause())


def test_a_process_that_computes_for_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_process, "TIME_LIMIT", 1)
    monkeypatch.setattr(compile_process, "answer", lambda request: pause())

    async def test(compiler: Compiler) -> None:
        answer = await compiler.ask({"file": "x", "version": 1})
        assert not answer["ok"]
        assert "took longer than 1 s" in answer["text"]

    with_compiler(test)


def test_a_process_that_takes_too_much_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_process, "MEMORY_LIMIT", 64 << 20)
    monkeypatch.setattr(compile_process, "answer", lambda request: {"ok": True, "much": bytes(256 << 20)})

    async def test(compiler: Compiler) -> None:
        answer = await compiler.ask({"file": "x", "version": 1})
        assert not answer["ok"]
        assert "MemoryError" in answer["text"]

    with_compiler(test)


def leave(request: dict[str, Any]) -> None:
    raise SystemExit("a reason of its own")


def be_killed(request: dict[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def huge(request: dict[str, Any]) -> None:
    os.write(CONTROL_FD, b"\xff" * HEADER)
    pause()


def says(answer: bytes) -> Work:
    def say(request: dict[str, Any]) -> None:
        os.write(CONTROL_FD, len(answer).to_bytes(HEADER, "little") + answer)
        pause()
    return say


def half(request: dict[str, Any]) -> None:
    os.write(CONTROL_FD, (100).to_bytes(HEADER, "little") + b"x" * 50)


def complain(request: dict[str, Any]) -> None:
    while True:     # until its own memory of words is full
        os.write(2, b"x" * 10_000)


@pytest.mark.parametrize(("work", "text"), [
    (leave, "SystemExit: a reason of its own"),
    (leave, "(exit status 1)"),
    (be_killed, "(killed by SIGKILL)"),
    (huge, "an answer of 18446744073709551615 bytes"),
    (says(b"\x05"), "an answer without ok"),
    (says(b"\xc1"), "the compile process failed"),
    (half, "the compile process failed (exit status 0)"),
    (complain, "the compile process failed (exit status 1)"),
])
def test_a_process_that_dies_or_lies_is_a_sentence(work: Work, text: str) -> None:
    async def test(compiler: Compiler) -> None:
        with pytest.raises(CompileFailed) as caught:
            await compiler.ask({"file": "x", "version": 1})
        assert text in str(caught.value)
        assert len(str(caught.value)) < 10_000

    with_compiler(test, work)


def test_a_cancelled_request_leaves_no_process_and_no_answer(tmp_path: Path) -> None:
    def echo(request: dict[str, Any]) -> None:
        if request["version"] == 2:
            pause()
        packed = msgpack.packb({"ok": True, **request})
        os.write(CONTROL_FD, len(packed).to_bytes(HEADER, "little") + packed)

    async def test(compiler: Compiler) -> None:
        others = children()
        task = asyncio.create_task(compiler.ask({"version": 2}))
        await until(lambda: not children() <= others)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await compiler.ask({"version": 3}))["version"] == 3

    with_compiler(test, echo)
