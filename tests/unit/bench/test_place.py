"""What is said of a proxy that comes from PyPI and is not there."""

import subprocess
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.peers import PEERS, envoy, mitmproxy, place

NAMES = ("envoy", "envoy-ext-proc", "mitmproxy")


@pytest.fixture
def nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "PYTHON", tmp_path / "python")
    monkeypatch.setattr(place, "_tried", set())
    monkeypatch.setattr(envoy, "BINARY", tmp_path / "envoy")
    monkeypatch.setattr(mitmproxy, "BINARY", tmp_path / "mitmdump")
    # An installation that comes to nothing.
    monkeypatch.setattr(subprocess, "run", lambda *command, **how: subprocess.CompletedProcess(command, 1, "", ""))


@pytest.mark.parametrize("name", NAMES)
def test_before_a_run_it_is_to_be_installed_and_afterwards_it_could_not_be(nothing_there: None, name: str) -> None:
    peer = next(one for one in PEERS if one.name == name)
    why = peer.missing("http")
    assert why is not None and why.startswith("not installed yet: a run installs ") and why.endswith(" in .peers"), why
    peer.install()
    why = peer.missing("http")
    assert why is not None and why.endswith(" could not be installed in .peers"), why


def test_the_list_tries_nothing(nothing_there: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    said = capsys.readouterr().out
    assert said.count("not installed yet: a run installs ") == len(NAMES)
    assert "could not be installed" not in said
