"""The sink of access-log lines: whole lines, in order, and nothing waits for a reader that hangs."""

import errno
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from types import SimpleNamespace

import pytest

from fastmesh._core.mem.counter import LAYOUT
from fastmesh.observe import log_sink
from fastmesh.observe.log_sink import RING, LogSink, check_log, open_log
from fastmesh.observe.stats import StatsFile


class Ring:
    """Plays the worker: writes whole lines, drops what does not fit."""

    def __init__(self) -> None:
        self.file = StatsFile(0)
        self.dropped = 0

    def word(self, name: str) -> int:
        return int.from_bytes(os.pread(self.file.fd, 8, LAYOUT[name]), "little")

    def put(self, line: bytes) -> bool:
        head, tail = self.word("log_head"), self.word("log_tail")
        if head + len(line) - tail > RING:
            self.dropped += 1
            return False
        begin = head % RING
        first = line[:RING - begin]
        os.pwrite(self.file.fd, first, LAYOUT["log_bytes"] + begin)
        os.pwrite(self.file.fd, line[len(first):], LAYOUT["log_bytes"])
        os.pwrite(self.file.fd, (head + len(line)).to_bytes(8, "little"), LAYOUT["log_head"])
        return True

    @property
    def is_empty(self) -> bool:
        return self.word("log_head") == self.word("log_tail")


@pytest.fixture
def rings() -> Iterator[list[Ring]]:
    made = [Ring(), Ring()]
    yield made
    for ring in made:
        ring.file.close()


@pytest.fixture
def warnings() -> list[str]:
    return []


def until(condition: object, seconds: float = 5.0) -> None:
    end = monotonic() + seconds
    while not condition():      # type: ignore[operator]
        assert monotonic() < end, "condition not met in time"
        threading.Event().wait(0.005)


def sink_of(path: Path | str, rings: list[Ring], warnings: list[str]) -> LogSink:
    return LogSink(str(path), lambda: [r.file for r in rings], warnings.append)


def piped(pipe: Path, rings: list[Ring], warnings: list[str]) -> tuple[LogSink, int]:
    """One that has begun to write to a pipe, and the descriptor of its reader."""
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sink = sink_of(pipe, rings, warnings)
    sink.start()
    return sink, reader


def test_lines_of_all_rings_arrive_whole_and_in_order(tmp_path: Path, rings: list[Ring], warnings: list[str]) -> None:
    sink = sink_of(tmp_path / "log", rings, warnings)
    sink.start()
    for n in range(40_000):      # several times the ring: over its end, and in pieces
        for name, ring in zip(b"ab", rings, strict=True):
            line = b"%c %06d %s\n" % (name, n, b"x" * (n % 97))
            until(lambda ring=ring, line=line: ring.put(line))
    sink.stop(5)
    seen: dict[str, list[int]] = {"a": [], "b": []}
    for line in (tmp_path / "log").read_text().splitlines():
        name, number, filler = line.split(" ")
        assert filler == "x" * (int(number) % 97)
        seen[name].append(int(number))
    assert seen == {"a": list(range(40_000)), "b": list(range(40_000))}
    assert sink.lines == 80_000
    assert warnings == []


def test_a_reader_that_hangs_costs_lines_only(tmp_path: Path, rings: list[Ring], warnings: list[str]) -> None:
    sink, reader = piped(tmp_path / "pipe", rings, warnings)
    ring = rings[0]
    line = b"y" * 999 + b"\n"
    begun = monotonic()
    put = sum(ring.put(line) for _ in range(5000))      # 5 MB: more than pipe, sink and ring hold together
    assert monotonic() - begun < 5
    assert ring.dropped == 5000 - put > 0
    got = b""
    while not (ring.is_empty and len(got) == put * 1000):
        try:
            got += os.read(reader, 65536)
        except BlockingIOError:
            threading.Event().wait(0.01)
    sink.stop(1)
    assert got == line * put            # what was taken arrives, whole
    os.close(reader)


def test_stopping_does_not_wait_for_a_reader_that_hangs(tmp_path: Path, rings: list[Ring], warnings: list[str]) -> None:
    sink, reader = piped(tmp_path / "pipe", rings, warnings)
    for _ in range(900):
        rings[0].put(b"z" * 999 + b"\n")
    begun = monotonic()
    sink.stop(0.3)
    assert monotonic() - begun < 2
    os.close(reader)


def test_the_file_is_opened_again_after_rotation(tmp_path: Path, rings: list[Ring], warnings: list[str]) -> None:
    path = tmp_path / "log"
    sink = sink_of(path, rings, warnings)
    sink.start()
    rings[0].put(b"before\n")
    until(lambda: path.exists() and path.read_bytes() == b"before\n")
    path.rename(tmp_path / "log.1")
    sink.reopen()
    rings[0].put(b"after\n")
    until(lambda: path.exists() and path.read_bytes() == b"after\n")
    assert (tmp_path / "log.1").read_bytes() == b"before\n"
    sink.stop(1)


def test_a_file_that_cannot_be_opened_is_reported_once_and_tried_again(
        tmp_path: Path, rings: list[Ring], warnings: list[str]) -> None:
    directory = tmp_path / "later"
    sink = sink_of(directory / "log", rings, warnings)
    sink.start()
    rings[0].put(b"kept in the ring\n")
    until(lambda: warnings)
    directory.mkdir()
    until(lambda: (directory / "log").exists() and (directory / "log").read_bytes() == b"kept in the ring\n")
    sink.stop(1)
    assert len(warnings) == 2
    assert "No such file or directory" in warnings[0]
    assert "writing again" in warnings[1]


class Disk:
    """Stands for os.write: takes so many bytes and is full then."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def write(self, fd: int, piece: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        wrote = self._write(fd, piece[:self.room])
        self.room -= wrote
        return wrote


def test_a_full_disk_costs_only_what_finds_no_room_in_the_ring(
        tmp_path: Path, rings: list[Ring], warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(4_500)      # ends within a line
    monkeypatch.setattr(log_sink, "os", SimpleNamespace(**{**vars(os), "write": disk.write}))
    monkeypatch.setattr(log_sink, "REOPEN_AFTER", 0.01)
    path = tmp_path / "log"
    sink = sink_of(path, rings, warnings)
    sink.start()
    put = sum(rings[0].put(b"%07d %s\n" % (n, b"x" * 91)) for n in range(15_000))
    until(lambda: sink.failures > 3)        # tried again and again, said once
    assert len(warnings) == 1
    assert "No space left" in warnings[0]
    put += sum(rings[0].put(b"%07d %s\n" % (n, b"x" * 91)) for n in range(15_000, 30_000))
    assert put + rings[0].dropped == 30_000
    assert rings[0].dropped > 0
    disk.room = 1 << 30
    until(lambda: rings[0].is_empty)
    sink.stop(5)
    lines = path.read_text().splitlines()
    assert len(lines) == put
    assert all(len(line) == 99 for line in lines)
    assert [line[:7] for line in lines] == sorted({line[:7] for line in lines})
    assert len(warnings) == 2
    assert "writing again" in warnings[1]
    assert sink.lost == 0


def test_another_reader_begins_with_a_whole_line(tmp_path: Path, rings: list[Ring], warnings: list[str]) -> None:
    sink, reader = piped(tmp_path / "pipe", rings, warnings)
    line = b"y" * 99_999 + b"\n"
    for _ in range(3):
        rings[0].put(line)      # one alone is more than the pipe takes
    until(lambda: select.select([reader], [], [], 0)[0])
    assert os.read(reader, 4096) == b"y" * 4096
    os.close(reader)
    until(lambda: warnings)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    rest = b""
    while rest.count(b"\n") < 2:
        try:
            rest += os.read(reader, 65536)
        except BlockingIOError:
            threading.Event().wait(0.01)
    sink.stop(1)
    assert rest == line * 2
    assert sink.lost == 1
    os.close(reader)


def test_a_reader_that_leaves_is_no_end(tmp_path: Path, rings: list[Ring], warnings: list[str]) -> None:
    sink, reader = piped(tmp_path / "pipe", rings, warnings)
    rings[0].put(b"one\n")
    until(lambda: rings[0].is_empty)
    os.close(reader)
    rings[0].put(b"kept\n")
    until(lambda: warnings)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    until(lambda: len(warnings) == 2)
    rings[0].put(b"two\n")
    until(lambda: rings[0].is_empty)
    sink.stop(1)
    assert os.read(reader, 100).endswith(b"kept\ntwo\n")
    os.close(reader)


def test_a_ring_that_cannot_be_true_is_skipped(tmp_path: Path, rings: list[Ring], warnings: list[str]) -> None:
    os.pwrite(rings[0].file.fd, (1 << 60).to_bytes(8, "little"), LAYOUT["log_head"])
    sink = sink_of(tmp_path / "log", rings, warnings)
    sink.start()
    until(lambda: rings[0].is_empty)
    rings[0].put(b"fresh\n")
    until(lambda: (tmp_path / "log").read_bytes() == b"fresh\n")
    sink.stop(1)


def test_check_says_why_a_log_cannot_be_written(tmp_path: Path) -> None:
    assert check_log(str(tmp_path / "ok")) is None
    assert "No such file" in str(check_log(str(tmp_path / "no" / "log")))
    assert "Is a directory" in str(check_log(str(tmp_path)))
    os.mkfifo(tmp_path / "pipe")
    assert check_log(str(tmp_path / "pipe")) is None      # its reader may come later


def test_stdout_is_not_made_nonblocking_for_others() -> None:
    read, write = os.pipe()
    os.set_blocking(write, True)
    fd, _ = open_log(f"/proc/self/fd/{write}")
    assert os.get_blocking(write)
    assert not os.get_blocking(fd)
    for open_fd in (read, write, fd):
        os.close(open_fd)
