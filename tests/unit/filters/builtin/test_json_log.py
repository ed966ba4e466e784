"""A line for each exchange, in a file, a pipe or the journal; what is lost is counted."""

import json
import os
from fcntl import F_SETPIPE_SZ, fcntl

import pytest
from filtering import finished, make

from fastmesh.filters.builtin.json_log import FIELDS, JsonLog


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_fields(tmp_path):
    fields = ("method", "path", "status", "header:X-A", "label:t", "label:u")
    log = make(JsonLog, path=str(tmp_path / "log"), fields=fields)
    finished(log, target="/a?b", headers={"x-a": 'quo"te\u00e9'}, labels={"t": "line\nbreak"}, status=404)
    assert lines(tmp_path / "log") == [{
        "method": "GET", "path": "/a", "status": 404, "header:X-A": 'quo"te\u00e9', "label:t": "line\nbreak",
        "label:u": None}]


def test_every_field_can_be_written(tmp_path):
    finished(make(JsonLog, path=str(tmp_path / "log"), fields=tuple(FIELDS)))
    assert list(lines(tmp_path / "log")[0]) == list(FIELDS)


def test_the_ordinary_can_be_left_out(tmp_path):
    log = make(JsonLog, path=str(tmp_path / "log"), fields=("status",), errors_only=True)
    for status in (200, 404, 500, 503, 0):
        finished(log, status=status)
    assert [line["status"] for line in lines(tmp_path / "log")] == [500, 503, 0]
    log = make(JsonLog, path=str(tmp_path / "slow"), fields=("ms",), min_ms=100.0)
    for seconds in (0.01, 0.2):
        finished(log, duration=seconds)
    assert [line["ms"] for line in lines(tmp_path / "slow")] == [200.0]


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path):
    log = make(JsonLog, path=str(tmp_path / "log"), LOOK_EVERY=0.0)
    finished(log)
    (tmp_path / "log").rename(tmp_path / "log.1")
    finished(log)
    finished(log)
    assert len(lines(tmp_path / "log.1")) == 1 and len(lines(tmp_path / "log")) == 2


def test_two_filters_append_to_one_file(tmp_path):
    a, b = (make(JsonLog, path=str(tmp_path / "log"), fields=("status",)) for _ in range(2))
    for status in (200, 201):
        finished(a, status=status)
        finished(b, status=status + 100)
    assert [line["status"] for line in lines(tmp_path / "log")] == [200, 300, 201, 301]


def test_a_reader_who_does_not_keep_up_loses_lines_and_they_are_counted(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    fcntl(reader, F_SETPIPE_SZ, 4096)
    log = make(JsonLog, path=str(tmp_path / "pipe"), waiting=10)
    for _ in range(100):
        finished(log)
    assert len(log.queue) == 10 and log.lost.labels().value > 0
    read = b""
    while log.queue:
        read += os.read(reader, 1 << 20)
        log._write()
    read += os.read(reader, 1 << 20)
    os.close(reader)
    whole = [json.loads(line) for line in read.splitlines()]
    assert len(whole) + log.lost.labels().value == 100


def test_what_waits_is_written_at_the_end(tmp_path):
    log = make(JsonLog, path=str(tmp_path / "log"))
    log.queue.append(b"{}\n")
    log.stop()
    assert lines(tmp_path / "log") == [{}]


def test_a_full_disk_loses_lines_and_stops_nothing():
    log = make(JsonLog, path="/dev/full")
    finished(log)
    finished(log)
    assert log.lost.labels().value == 2 and not log.queue


def test_without_a_path_lines_go_to_the_journal():
    log = make(JsonLog, fields=("status",))
    finished(log, status=201)
    assert log.log.lines == ['{"status":201}']


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="there is no 'sattus'; allowed: time, id"):
        make(JsonLog, fields=("sattus",))
    with pytest.raises(ValueError, match="waiting"):
        make(JsonLog, waiting=0)
    with pytest.raises(OSError):
        make(JsonLog, path=str(tmp_path / "no" / "where"))
