"""What is said of a policy, and how often."""

import pytest

from fastmesh.control import finding
from fastmesh.control.finding import Finding


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(finding, "monotonic", lambda: now[0])
    return now


def test_an_error_is_news_once(clock):
    one = Finding("file")
    assert one.note_error("raised", "a")
    clock[0] += 2
    assert not one.note_error("raised", "a")
    assert one.note_error("refused", "b")
    assert one.note_error("raised", "c")
    assert not one.note_error("raised", "d")       # too soon, whatever it says
    clock[0] += 61
    assert one.note_error("raised", "c")
    assert one.errors == {"raised": 5, "ended": 0, "silent": 0, "refused": 1, "empty": 0, "died": 0}


def test_an_unknown_kind_is_a_refusal(clock):
    one = Finding("file")
    one.note_error("anything", "a")
    assert one.errors["refused"] == 1 and set(one.errors) == set(finding.KINDS)


def test_its_state(clock):
    one = Finding("file")
    assert one.to_dict()["state"] == "waiting" and one.age() is None
    one.note_error("raised", "a")
    assert one.to_dict()["state"] == "failing"
    one.note_good(99.0, True)
    one.note_good(100.0, False)
    clock[0] += 5
    told = one.to_dict()
    assert (told["state"], told["updates"], told["unchanged"], told["age_seconds"]) == ("good", 1, 1, 5.0)
    assert told["errors"] == {"raised": 1} and told["last_error"] == "a"
