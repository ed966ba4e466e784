"""The compile process, seen from control: it may die, hang or lie, and control gets a sentence."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from fastmesh.control import compile as compile_module
from fastmesh.control.compile import CompileFailed, Compiler, FileWatch

GOOD = """\
listeners:
  - {name: web, address: "127.0.0.1:8080", routes: [{match: {prefix: /}, cluster: app}]}
clusters:
  - {name: app, endpoints: ["127.0.0.1:9000"]}
"""
PATHS = [os.path.abspath(path) for path in sys.path if path and os.path.isdir(path)]


def with_compiler(test: Callable[[Compiler], Awaitable[None]], **more: Any) -> None:
    async def whole() -> None:
        compiler = Compiler(PATHS, **more)
        try:
            await test(compiler)
        finally:
            compiler.let_go()
            await asyncio.sleep(0.05)       # the child is reaped by the loop

    uvloop.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():      # noqa: ASYNC110
            await asyncio.sleep(0.01)


def script(compiler: Compiler, code: str) -> None:
    """Let the next process run something else."""
    compiler._argv = [sys.executable, "-I", "-S", "-c", f"import os, time\n{code}"]


def test_a_good_file_and_a_bad_one(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("prefix", "prefxi"))

    async def test(compiler: Compiler) -> None:
        answer = await compiler.ask({"file": str(good), "version": 1})
        assert answer["ok"]
        assert answer["version"] == 1
        again = await compiler.ask({"file": str(good), "version": 2, "registry": answer["registry"]})
        assert again["listeners"] == answer["listeners"]
        refused = await compiler.ask({"file": str(bad), "version": 3, "registry": again["registry"]})
        assert not refused["ok"]
        assert f"{bad}:2:" in refused["text"]
        assert "prefix" in refused["text"]

    with_compiler(test)


def test_the_process_is_kept_for_a_while_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text(GOOD)

    async def test(compiler: Compiler) -> None:
        assert not compiler.is_warm
        await compiler.ask({"file": str(path), "version": 1})
        assert compiler.is_warm
        await until(lambda: not compiler.is_warm)
        compiler.warm()
        await until(lambda: compiler.is_warm)
        assert (await compiler.ask({"file": str(path), "version": 2}))["ok"]

    with_compiler(test, warm_seconds=0.2)


def test_a_process_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_module, "PATIENCE", 0.3)

    async def test(compiler: Compiler) -> None:
        script(compiler, "time.sleep(60)")
        with pytest.raises(CompileFailed, match=r"did not answer within 0\.3 s"):
            await compiler.ask({"file": "x", "version": 1})
        assert not compiler.is_warm

    with_compiler(test)


@pytest.mark.parametrize(("code", "says"), [
    ("os.read(3, 1); raise SystemExit('a reason of its own')", "(exit status 1)\na reason of its own"),
    ("os.read(3, 1); os.kill(os.getpid(), 9)", "(killed by SIGKILL)"),
    ("os.read(3, 1); os.write(3, b'\\xff' * 8); time.sleep(9)", "an answer of 18446744073709551615 bytes"),
    ("os.read(3, 1); os.write(3, (1).to_bytes(8, 'little') + b'\\x05'); time.sleep(9)", "an answer without ok"),
    ("os.read(3, 1); os.write(3, (1).to_bytes(8, 'little') + b'\\xc1'); time.sleep(9)", "the compile process failed"),
    ("os.write(2, b'x' * 1000000)", "the compile process failed"),
])
def test_a_process_that_dies_or_lies_is_a_sentence(code: str, says: str) -> None:
    async def test(compiler: Compiler) -> None:
        script(compiler, code)
        with pytest.raises(CompileFailed) as caught:
            await compiler.ask({"file": "x", "version": 1})
        assert says in str(caught.value)
        assert len(str(caught.value)) < 100_000
        assert not compiler.is_warm

    with_compiler(test)


def test_a_cancelled_request_does_not_leave_its_answer_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text(GOOD)

    async def test(compiler: Compiler) -> None:
        await compiler.ask({"file": str(path), "version": 1})
        task = asyncio.create_task(compiler.ask({"file": str(path), "version": 2}))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await compiler.ask({"file": str(path), "version": 3}))["version"] == 3

    with_compiler(test)


def test_a_change_of_the_file_is_noticed_once(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    watch = FileWatch(str(path))
    assert not watch.has_changed()
    path.write_text("a")
    assert watch.has_changed()
    assert not watch.has_changed()
    other = tmp_path / "other"
    other.write_text("b")
    other.replace(path)
    assert watch.has_changed()
    path.unlink()
    assert watch.has_changed()
