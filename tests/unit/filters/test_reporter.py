"""What a filter logs: filled in, bounded, without secrets, and never a failure of the filter."""

from typing import Any

import pytest

from fastmesh.filters import reporter
from fastmesh.filters.reporter import MOST_LINES, Reporter


@pytest.fixture
def told() -> list[dict[str, Any]]:
    return []


def test_lines(told):
    log = Reporter("tenant", told.append)
    log.debug("plain 100%")
    log.info("%s came %d times", "who", 3)
    log.warning("%(a)s", {"a": 1})
    log.error("x")
    assert [(message["level"], message["text"]) for message in told] == [
        ("debug", "plain 100%"), ("info", "who came 3 times"), ("warn", "1"), ("error", "x")]
    assert told[0] == {"op": "event", "what": "filter_log", "filter": "tenant", "level": "debug", "text": "plain 100%"}


class Broken:
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(("text", "args", "line"), [
    ("%d", ("x",), "'%d' cannot be filled in: TypeError: %d format: a real number is required, not str"),
    ("%s %s", ("x",), "'%s %s' cannot be filled in: TypeError: not enough arguments for format string"),
    ("%s", (Broken(),), "'%s' cannot be filled in: ValueError: no text"),
    ("a\x1b[2J\rb\nc", (), "a\\x1b[2J\\rb\nc"), ("key is %s", ("s3cret",), "key is (secret)"),
    ("x" * 5000, (), "x" * 4095 + "…")])
def test_what_a_line_becomes(told, text, args, line):
    Reporter("f", told.append, ["s3cret", "x"]).info(text, *args)
    assert told[0]["text"] == line


def test_a_hundred_lines_a_second(told, monkeypatch):
    now = [10.0]
    monkeypatch.setattr(reporter, "monotonic", lambda: now[0])
    log = Reporter("f", told.append)
    for i in range(MOST_LINES + 5):
        log.info("%d", i)
    assert len(told) == MOST_LINES
    now[0] = 11.0
    log.info("again")
    assert [message["text"] for message in told[MOST_LINES:]] == [
        "5 lines were left out: more than 100 in a second", "again"]
