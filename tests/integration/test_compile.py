"""Compiling, in its process: whatever the file is, the answer says so and nothing changes; whatever happens to the
process, nobody but the caller notices."""

import contextlib
import os
import random
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from integration.harness import (
    Answer,
    Callers,
    Origin,
    Sidecar,
    ask,
    children,
    cluster,
    config_of,
    free_port,
    is_alive,
    until,
)

Start = Callable[..., Sidecar]


@pytest.fixture
def reactor() -> str:
    """Either engine: nothing here is a worker's doing."""
    return "auto"


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)) + "listeners: *a11\n"
# What is in the file -> a part of what is said of it.
BAD_CONTENTS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "half written": (lambda good: good[:len(good) // 2].encode(), "not valid YAML"),
    "nothing": (lambda good: b"", "the file is empty"),
    "spaces": (lambda good: b" \n" * 1000, "the file is empty"),
    "random bytes": (lambda good: random.Random(1).randbytes(100_000), "UTF-8 text"),
    "zeros": (lambda good: bytes(4096), "found a NUL byte"),
    "UTF-16": (lambda good: good.encode("utf-16"), "the file is in UTF-16"),
    "a broken character": (lambda good: good.encode() + b"# \xff\n", "the byte 0xff"),
    "a large file": (lambda good: b"# " + b"x" * (17 << 20), "larger than 16 MiB"),
    "nested lists": (lambda good: b"[" * 100_000, "nested more than 32 deep"),
    "nested mappings": (lambda good: b"{a: " * 100_000, "nested more than 32 deep"),
    "nested blocks": (lambda good: b"- " * 100_000, "nested more than 32 deep"),
    "an alias bomb": (lambda good: BOMB.encode(), "aliases expand to more than 1,000,000 values"),
    "many values": (lambda good: b"listeners: [" + b"x," * 1_100_000 + b"]", "more than 1,000,000 values"),
    "many keys": (lambda good: b"".join(b"k%d: 1\n" % n for n in range(100_000)), "more than 1,024 keys"),
    "many mistakes": (lambda good: b"listeners:\n" + b"- {nmae: x, address: y}\n" * 20_000, "the first 100"),
    "another document": (lambda good: good.encode() + b"\n---\n" + good.encode(), "a second document"),
    "a tag": (lambda good: b"listeners: !!python/object/apply:os.system ['true']", "found the tag"),
}


def test_bad_contents_change_nothing(sidecar: Start, origin: Origin) -> None:
    """Each is answered with what is wrong, in bounded time, while requests flow."""
    port = free_port()
    one = sidecar(config_of(port, origin))
    good = one.path.read_text()
    with Callers(port, count=2) as callers:
        for name, (make, words) in BAD_CONTENTS.items():
            one.path.write_bytes(make(good))
            answer = one.admin("/reload", "POST")
            assert answer.status == 400, name
            assert words in answer.text, (name, answer.text[:500])
            assert str(one.path) in answer.text, name
            assert len(answer.body) < 200_000, name
        callers.more(10)
    assert callers.failures == []
    assert one.metrics()['fastmesh_reloads_total{result="bad"}'] == len(BAD_CONTENTS)
    assert [w["snapshot"] for w in one.workers()] == [1]
    one.write_text(good)
    assert one.reload()["version"] == 2


def test_what_is_no_file_changes_nothing(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    good = one.path.read_text()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    bad: dict[str, tuple[Callable[[], object], str]] = {
        "nothing": (lambda: None, "does not exist"),
        "a dangling link": (lambda: one.path.symlink_to(tmp_path / "nowhere"), "does not exist"),
        "a link to itself": (lambda: one.path.symlink_to(tmp_path / "loop"), "too many symbolic links"),
        "a FIFO": (lambda: os.mkfifo(one.path), "not a regular file"),
        "a device": (lambda: one.path.symlink_to("/dev/zero"), "not a regular file"),
        "a link to a directory": (lambda: one.path.symlink_to(tmp_path), "is a directory"),
        # A regular file whose reading fails.
        "unreadable": (lambda: one.path.symlink_to("/proc/self/mem"), "cannot be read"),
    }
    for name, (make, words) in bad.items():
        one.path.unlink(missing_ok=True)
        make()
        answer = one.admin("/reload", "POST")
        assert answer.status == 400, name
        assert words in answer.text, (name, answer.text)
        assert ask(port, "/").text == "origin", name
    assert [w["snapshot"] for w in one.workers()] == [1]
    one.path.unlink()
    one.write_text(good)
    assert one.reload()["version"] == 2


def test_sighup_reports_a_bad_file(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    one.write_text("listeners: [")
    one.signal(signal.SIGHUP)
    one.wait_log(r"reload \(SIGHUP\) refused, snapshot 1 stays live")
    assert f"{one.path}:1:" in one.log
    assert ask(port, "/").text == "origin"


def large(port: int, origin: Origin) -> dict[str, Any]:
    """A good configuration that takes seconds to compile."""
    spare = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}:80" for n in range(1, 60_000)]
    config = config_of(port, origin)
    config["clusters"].append(cluster("spare", *spare))
    return config


@contextlib.contextmanager
def compiling(one: Sidecar) -> Iterator[tuple[Future[Answer], int]]:
    """A reload that has been asked for, and its compile process at work."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(one.admin, "/reload", "POST")
        workers = set(one.worker_pids())
        yield answer, until(lambda: [pid for pid in children(one.pid) if pid not in workers])[0]


def test_a_compile_process_that_is_killed_changes_nothing(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    one.write(large(port, origin))
    for number, words in ((signal.SIGKILL, "killed by SIGKILL"), (signal.SIGTERM, "killed by SIGTERM")):
        with compiling(one) as (answer, pid):
            os.kill(pid, number)
        assert answer.result().status == 400
        assert f"the compile process failed ({words})" in answer.result().text
        assert ask(port, "/").text == "origin"
        assert [w["snapshot"] for w in one.workers()] == [1]
    assert one.reload()["version"] == 2
    assert ask(port, "/").text == "origin"


def test_requests_and_the_api_do_not_wait_for_a_compile(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    one.write(large(port, origin))
    with Callers(port, count=2) as callers, compiling(one) as (answer, pid):
        os.kill(pid, signal.SIGSTOP)        # it takes as long as this test wants
        callers.more(20)
        assert one.admin("/ready").status == 200
        assert one.stats()["snapshot"]["version"] == 1
        assert not answer.done()
        os.kill(pid, signal.SIGCONT)
    assert answer.result().status == 200
    assert callers.failures == []


def test_a_compile_process_does_not_outlive_control(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin, orphan_grace="1s"))
    one.write({**large(port, origin), "orphan_grace": "1s"})
    with contextlib.suppress(OSError), compiling(one) as (answer, pid):
        one.signal(signal.SIGKILL)
        one.wait()
        with pytest.raises(OSError):
            raise answer.exception() or AssertionError
    until(lambda: not is_alive(pid), seconds=20)


def test_a_drain_does_not_wait_for_a_compile(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    one.write(large(port, origin))
    with compiling(one) as (answer, pid):
        os.kill(pid, signal.SIGSTOP)
        one.signal(signal.SIGTERM)
        assert one.wait() == 0
        answer.exception()
    until(lambda: not is_alive(pid))
