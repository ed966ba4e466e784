"""What workers tell of their filters is kept, written down, and not trusted."""

import os
from pathlib import Path

from fastmesh.observe.events import KEPT, MOST_TEXT, Events
from fastmesh.observe.journal import Journal


def test_events(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "journal", os.O_RDWR | os.O_CREAT)
    events = Events(Journal(fd))
    events.take(1, {"op": "event", "what": "filter_error", "filter": "a", "text": "f.py:3: KeyError: 'x'\nmore"})
    events.take(0, {"op": "event", "what": "filter_log", "filter": "b", "level": "debug", "text": "quiet"})
    events.take(0, {"op": "event", "what": "filter_log", "filter": "b", "level": "loud", "text": "hm"})
    for wrong in ({}, {"what": 1}, {"what": "other", "filter": "a", "text": "x"},
                  {"what": "filter_log", "filter": 1, "text": "x"}, {"what": "filter_log", "filter": "a", "text": None},
                  {"what": ["filter_log"], "filter": "a", "text": "x"}):
        events.take(0, wrong)
    assert [(event["worker"], event["what"], event["filter"], event["level"], event["text"]) for event in events] == [
        (1, "filter_error", "a", "error", "f.py:3: KeyError: 'x'\nmore"), (0, "filter_log", "b", "debug", "quiet"),
        (0, "filter_log", "b", "info", "hm")]
    lines = (tmp_path / "journal").read_text().splitlines()
    assert [line.split("Z ", 1)[-1] for line in lines] == [
        "error filter a: f.py:3: KeyError: 'x'", "    more", "info  filter b: hm"]
    os.close(fd)


def test_discovery(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "journal", os.O_RDWR | os.O_CREAT)
    events = Events(Journal(fd))
    events.note("app", "discovery_update", "2 endpoints")
    events.note("app", "discovery_log", "hm", "warn")
    events.note("", "discovery_error", "the discovery host ended", "loud")
    assert [(event["worker"], event["what"], event["cluster"], event["level"], event["text"]) for event in events] == [
        (None, "discovery_update", "app", "info", "2 endpoints"), (None, "discovery_log", "app", "warn", "hm"),
        (None, "discovery_error", "", "error", "the discovery host ended")]
    assert [line.split("Z ", 1)[-1] for line in (tmp_path / "journal").read_text().splitlines()] == [
        "info  discovery of cluster app: 2 endpoints", "warn  discovery of cluster app: hm",
        "error the discovery host ended"]
    os.close(fd)


def test_only_the_last_are_kept() -> None:
    events = Events(Journal(os.open(os.devnull, os.O_WRONLY)))
    for i in range(KEPT + 10):
        events.take(0, {"what": "filter_log", "filter": "f" * 999, "text": f"{i} " + "x" * MOST_TEXT})
    kept = list(events)
    assert len(kept) == KEPT and kept[-1]["text"].startswith(f"{KEPT + 9} ")
    assert len(kept[0]["text"]) == MOST_TEXT and len(kept[0]["filter"]) == 255
