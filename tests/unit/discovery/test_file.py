"""Endpoints from a file: what it may hold, and how a change is seen."""

import os
import threading
from pathlib import Path

import pytest

from fastmesh.discovery.file import File
from fastmesh.testing import take_sets

LINES = "# shop\n10.0.0.1:80\n\n  10.0.0.2:80 5   # the large one\n"
LISTED = "- 10.0.0.1:80\n- {address: 10.0.0.2:80, weight: 5}\n"
SAID = ["10.0.0.1:80", "10.0.0.2:80 weight 5"]


def policy(path: Path, **more: object) -> File:
    return File(path=str(path), interval=0.01, **more)


def put(path: Path, text: str) -> None:
    """As deployments do it: a new file takes the place of the old one at once."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


@pytest.mark.parametrize(("name", "text"), [
    ("a.txt", LINES), ("a", LINES), ("a.yaml", LISTED), ("a.yml", "endpoints:\n" + LISTED),
    ("a.json", '["10.0.0.1:80", {"address": "10.0.0.2:80", "weight": 5}]'),
    ("a.json", '{"endpoints": ["10.0.0.1:80", ["10.0.0.2:80", 5]]}')])
def test_what_it_holds(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert take_sets(policy(tmp_path / name)) == [SAID]


def test_the_form_may_be_said(tmp_path):
    (tmp_path / "a.conf").write_text(LISTED)
    (tmp_path / "b.yaml").write_text(LINES)
    assert take_sets(policy(tmp_path / "a.conf", format="yaml")) == [SAID]
    assert take_sets(policy(tmp_path / "b.yaml", format="lines")) == [SAID]


def test_a_file_in_its_place_is_seen(tmp_path):
    path = tmp_path / "a"
    path.write_text("10.0.0.1:80\n")
    assert take_sets(policy(path), 2, between=lambda: put(path, LINES)) == [["10.0.0.1:80"], SAID]


def test_one_that_is_written_in_place_is_read_when_it_is_whole(tmp_path):
    path = tmp_path / "a"
    path.write_text("10.0.0.1:80\n")
    looks = iter(("10.0.0.1", "10.0.0.1:8", "10.0.0.1:81\n10.0.0.2:80\n"))

    grown = policy(path)
    real = os.stat
    seen = []

    def stat(asked: object, *rest: object, **more: object) -> os.stat_result:
        if asked == str(path) and seen and (text := next(looks, None)) is not None:
            path.write_text(text)
        return real(asked, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "stat", stat)
        assert take_sets(grown, 2, between=lambda: seen.append(1)) == [
            ["10.0.0.1:80"], ["10.0.0.1:81", "10.0.0.2:80"]]


def test_what_cannot_be_used_is_said_once_and_the_next_is_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("- 10.0.0.1:80\n")
    log: list[str] = []
    steps = iter(("- [", "a: b\n"))

    def wait_for(lines: int) -> None:
        while len(log) < lines:
            threading.Event().wait(0.005)

    def write() -> None:
        for n, text in enumerate(steps, 1):
            put(path, text)
            wait_for(n)
        path.unlink()
        wait_for(3)
        put(path, LISTED)

    # Beside the policy, which stands still while `between` runs.
    writer = threading.Thread(target=write)
    assert take_sets(policy(path), 2, between=writer.start, log=log) == [["10.0.0.1:80"], SAID]
    writer.join()
    assert len(log) == 3 and all(line.startswith(f"error: {path} cannot be used: ") for line in log)
    assert "it holds no list of endpoints" in log[1] and "No such file" in log[2]


@pytest.mark.parametrize(("text", "said"), [
    ("10.0.0.1:80 heavy\n", "line 1: found '10.0.0.1:80 heavy'; write an address, and perhaps a weight behind it"),
    ("\n10.0.0.1:80 1 2\n", "line 2: found '10.0.0.1:80 1 2'"), ("\xff\xfe", "")])
def test_lines_that_cannot_be_read(tmp_path, text, said):
    path = tmp_path / "a"
    path.write_bytes(text.encode("latin-1"))
    log: list[str] = []
    with pytest.raises(TimeoutError):
        take_sets(policy(path), timeout=0.3, log=log)
    assert len(log) == 1 and said in log[0]


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("fastmesh.discovery.file.LARGEST", 10)
    path = tmp_path / "a"
    path.write_text("10.0.0.1:80\n10.0.0.2:80\n")
    log: list[str] = []
    with pytest.raises(TimeoutError):
        take_sets(policy(path), timeout=0.3, log=log)
    assert len(log) == 1 and "it has more than" in log[0]


@pytest.mark.parametrize(("settings", "said"), [
    ({"path": "a.yaml"}, "write an absolute path"), ({"path": "/a", "interval": 0.001}, "interval is 10ms or more")])
def test_settings_that_cannot_be(settings, said):
    with pytest.raises(ValueError, match=said):
        take_sets(File(**settings))
