"""Nanoseconds per head, beside httptools for the same bytes: `pytest bench/micro -p no:xdist`.

Each round is 1,000 heads, so that microseconds per round read as nanoseconds per head. The
codec loops in C, since a call from Python costs as much as a parse. httptools reports each
field through a Python callback: that is how it is used, and most of what it costs.
"""

from typing import Any

import httptools
import pytest

from bench.micro.heads import HEADS, PATHS
from probes.http_probe import parse_loop, parse_ns

LOOPS = 1_000


class Listener:
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...


@pytest.mark.parametrize("name", HEADS)
def test_parse_head(benchmark: Any, name: str) -> None:
    kind, head = HEADS[name]
    benchmark.group = f"head: {name}, {len(head)} bytes"
    benchmark.pedantic(parse_loop, (kind, head, LOOPS), rounds=50, warmup_rounds=3)


@pytest.mark.parametrize("name", HEADS)
def test_httptools_head(benchmark: Any, name: str) -> None:
    kind, head = HEADS[name]
    benchmark.group = f"head: {name}, {len(head)} bytes"
    parser = httptools.HttpRequestParser if kind == "request" else httptools.HttpResponseParser

    def loop() -> None:
        for _ in range(LOOPS):
            parser(Listener()).feed_data(head)

    benchmark.pedantic(loop, rounds=50, warmup_rounds=3)


@pytest.mark.parametrize("name", PATHS)
def test_normalize(benchmark: Any, name: str) -> None:
    benchmark.group = "path"
    benchmark.pedantic(parse_loop, ("uri", PATHS[name], LOOPS), rounds=50, warmup_rounds=3)


@pytest.mark.parametrize(("name", "bar"), [("small", 100), ("browser", 350)])
def test_bars(name: str, bar: int) -> None:
    """What the proxy's budget per request leaves for a parse, in nanoseconds, on the reference machine."""
    kind, head = HEADS[name]
    assert min(parse_ns(kind, head, LOOPS) for _ in range(30)) < bar
