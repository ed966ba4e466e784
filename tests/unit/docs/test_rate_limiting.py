"""Each configuration of docs/rate-limiting.md is one that fastmesh takes; the first does what the page says."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playbook.play import Play

from fastmesh._core.mem import shared
from fastmesh.config.load import load_text
from fastmesh.config.rate_limit import ALONE, NAMED
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from probes.snapshot_probe import Snapshot
from probes.wire import registry

PAGE = (Path(__file__).parents[3] / "docs" / "rate-limiting.md").read_text()
YAML = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("text", YAML)
def test_it_is_taken_without_a_warning(text: str) -> None:
    loaded = load_text(text, "rate-limiting.md", {})
    assert loaded.warnings == []
    with registry() as r:
        Snapshot(compile(loaded.config, 1, Registry())[0], r).close()


def test_every_part_of_a_key_is_in_the_table() -> None:
    words = re.findall(r"^\| `(\w+)(?: NAME)?` \|", PAGE, re.M)
    assert words == [*ALONE, *NAMED]


@pytest.fixture
def clock() -> Iterator[None]:
    shared.detach()
    shared.segment().set_clock(1000)
    yield
    shared.detach()


def test_the_third_request_gets_the_answer_of_the_page(clock: None) -> None:
    """By the very snapshot that the page's configuration becomes."""
    (answer,) = re.findall(r"^```\n(HTTP/1.1 429.*?)^```", PAGE, re.M | re.S)
    play = Play("ready")
    text = YAML[0].replace("127.0.0.1:9000", "10.0.0.1:80")
    config = load_text(text, "rate-limiting.md", {}).config
    play.snapshot = lambda: compile(config, 1, Registry())[0]  # type: ignore[method-assign]
    try:
        for n in range(3):
            play.first.sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            if n == 2:
                break
            up = play.connect() if play.fresh() else play.asked()
            up.expect_request()
            up.answers()
            play.first.expect_answer(200)
        got = bytes(play.first.socket.wire[play.first.socket.seen:]).decode()
    finally:
        play.abandon()
    assert _undated(got) == _undated(answer.rstrip("\n").replace("\n", "\r\n"))


def _undated(text: str) -> str:
    dated = re.sub(r"date: [^\r]*\r\n", "date: now\r\n", text)
    assert "date: now" in dated
    return dated
