"""Requests by labels, whose values are a client's: from the table in a worker to the text that Prometheus reads."""

import re
from collections.abc import Iterator

import pytest

from fastmesh._core.mem.counter import LAYOUT
from fastmesh.observe.labelled import labelled, overflow
from fastmesh.observe.names import SeriesNames
from fastmesh.observe.prometheus import Scene, exposition
from fastmesh.observe.stats import StatsShelf
from probes.label_probe import Table

NODE = {"service": "shop", "version": "v1", "namespace": "sales", "workload": "shop-v1", "cluster": ""}
WAY = (b"web", b"all", b"app")
# As the exposition format has it: label values hold anything but a bare quote, backslash or line feed.
LINE = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*",?)*\})? [0-9.e+-]+')


@pytest.fixture
def shelf() -> Iterator[StatsShelf]:
    made = StatsShelf()
    yield made
    for file in made.files:
        file.close()


def text_of(shelf: StatsShelf) -> dict[str, str]:
    scene = Scene(stats=shelf, node=NODE, names=SeriesNames(), listeners={}, clusters={}, addresses={})
    lines = [line for line in "".join(exposition(scene)).split("\n") if "fastmesh_labelled_" in line]
    plain = [line for line in lines if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in plain), plain
    found = dict(line.rsplit(" ", 1) for line in plain)
    assert len(found) == len(plain)
    return found


def values(shelf: StatsShelf, name: str = "tenant") -> dict[str, int]:
    """Requests by the value of one label."""
    found: dict[str, int] = {}
    for way, row in labelled(shelf.files).items():
        found[dict(way)[name]] = found.get(dict(way)[name], 0) + sum(row.requests)
    return found


def test_nothing_is_shown_where_nothing_is_counted(shelf: StatsShelf) -> None:
    Table(shelf.take(0).fd)
    assert text_of(shelf) == {}


def test_requests_of_all_workers(shelf: StatsShelf) -> None:
    first, second = Table(shelf.take(0).fd), Table(shelf.take(1).fd)
    for table in (first, second, second):
        table.count(WAY, {b"tenant": b"blue"}, status=200, took_ns=1_000_000)
    second.count(WAY, {b"tenant": b"blue"}, status=503, took_ns=2_000_000_000)
    second.count(WAY, {b"tenant": None}, status=0)
    second.count((b"web", b"", b""), {b"tenant": b"red"}, status=404)
    found = text_of(shelf)
    of = 'listener="web",route="all",cluster="app"'
    assert {name: value for name, value in found.items() if "requests_total" in name} == {
        f'fastmesh_labelled_requests_total{{{of},tenant="blue",code_class="2xx"}}': "3",
        f'fastmesh_labelled_requests_total{{{of},tenant="blue",code_class="5xx"}}': "1",
        f'fastmesh_labelled_requests_total{{{of},tenant="",code_class="none"}}': "1",
        'fastmesh_labelled_requests_total{listener="web",route="",cluster="",tenant="red",code_class="4xx"}': "1"}
    duration = f'fastmesh_labelled_request_duration_seconds%s{{{of},tenant="blue"'
    assert found[duration % "_count" + "}"] == "4" and found[duration % "_sum" + "}"] == "2.003"
    assert found[duration % "_bucket" + ',le="0.001"}'] == "3"
    assert found[duration % "_bucket" + ',le="2.5"}'] == found[duration % "_bucket" + ',le="+Inf"}'] == "4"
    assert found['fastmesh_labelled_overflow_total{reason="values"}'] == "0"


@pytest.mark.parametrize(("given", "shown"), [
    (b'a"b\\c\nd', 'a"b\\c\nd'), ("ünïcode".encode(), "ünïcode"), (b"\xff\xfe", "\ufffd\ufffd"), (b"\0\r\t", "\0\r\t"),
    (b"}", "}"), (b'",tenant="', '",tenant="'), (b"x" * 256, "x" * 64), ("é".encode() * 100, "é" * 32),
    (b"x" + "é".encode() * 100, "x" + "é" * 31), ("\U0001f600".encode() * 20, "\U0001f600" * 16), (b"\x80" * 100, ""),
    ("\u2028\x85".encode(), "\u2028\x85"), (b"", "")])
def test_values_of_strangers(shelf: StatsShelf, given: bytes, shown: str) -> None:
    """Cut between characters, escaped, and never more than one line."""
    Table(shelf.take(0).fd).count(WAY, {b"tenant": given})
    assert values(shelf) == {shown: 1}
    assert len([name for name in text_of(shelf) if "requests_total" in name]) == 1


def test_values_are_bounded(shelf: StatsShelf) -> None:
    file = shelf.take(0)
    table = Table(file.fd)
    for _ in range(2):
        for i in range(10):
            table.count(WAY, {b"tenant": b"t%d" % i, b"plan": b"free"}, most=3)
    table.count((b"web", b"other route", b"app"), {b"tenant": b"t1", b"plan": b"gold"}, most=3)
    assert values(shelf) == {"t0": 2, "t1": 3, "t2": 2, "other": 14}
    assert values(shelf, "plan") == {"free": 20, "gold": 1}
    assert (overflow(file).values, overflow(file).rows, overflow(file).label) == (14, 0, "tenant")
    # What a client calls "other" is no value of its own, and takes nobody's place.
    table.count(WAY, {b"tenant": b"other", b"plan": b"free"}, most=3)
    assert values(shelf)["other"] == 15 and overflow(file).values == 14
    # More may come when more are allowed, and none when fewer are.
    table.count(WAY, {b"tenant": b"t9", b"plan": b"free"}, most=4)
    table.count(WAY, {b"tenant": b"t8", b"plan": b"free"}, most=1)
    assert values(shelf)["t9"] == 1 and values(shelf)["other"] == 16


def test_the_next_worker_counts_on(shelf: StatsShelf) -> None:
    file = shelf.take(0)
    first = Table(file.fd)
    rows = [first.count(WAY, {b"tenant": b"t%d" % i}, most=2) for i in range(4)]
    del first
    second = Table(file.fd)
    assert [second.count(WAY, {b"tenant": b"t%d" % i}, most=2) for i in range(4)] == rows
    assert values(shelf) == {"t0": 2, "t1": 2, "other": 4}


def test_other_labels_after_a_reload(shelf: StatsShelf) -> None:
    """Their rows stand beside the ones that were: no counter goes back."""
    table = Table(shelf.take(0).fd)
    table.count(WAY, {b"tenant": b"a"})
    table.count(WAY, {b"plan": b"a", b"tenant": b"a"})
    table.count(WAY, {b"plan": b"b"})
    of = 'listener="web",route="all",cluster="app"'
    assert {name for name in text_of(shelf) if "requests_total" in name} == {
        f'fastmesh_labelled_requests_total{{{of},{labels},code_class="2xx"}}'
        for labels in ('tenant="a"', 'plan="a",tenant="a"', 'plan="b"')}


def test_rows_are_bounded(shelf: StatsShelf) -> None:
    file = shelf.take(0)
    table = Table(file.fd)
    for i in range(100):
        for k in range(100):
            table.count(WAY, {b"a": b"%d" % i, b"b": b"%d" % k})
    assert table.rows == LAYOUT["label_rows"] == 4096
    # Row 0 is the one for the rest, and belongs to nobody until then.
    assert overflow(file).rows == 10_000 - 4_095 and overflow(file).values == 0
    rest = {dict(way)["listener"]: sum(row.requests) for way, row in labelled(shelf.files).items()
            if dict(way)["route"] == "other"}
    assert rest == {"other": 10_000 - 4_095}
    assert text_of(shelf)['fastmesh_labelled_overflow_total{reason="rows"}'] == "5905"
    again = Table(file.fd)
    assert again.count(WAY, {b"a": b"0", b"b": b"0"}) == 1 and again.count(WAY, {b"a": b"99", b"b": b"99"}) == 0


def test_names_that_are_too_long_are_cut(shelf: StatsShelf) -> None:
    table = Table(shelf.take(0).fd)
    table.count((b"l" * 255, b"r" * 255, b"c" * 255), {name * 64: b"v" * 256 for name in (b"a", b"b", b"c", b"d")})
    (way,) = labelled(shelf.files)
    assert [len(value) for _, value in way] == [127] * 3 + [64] * 4 and [len(name) for name, _ in way[3:]] == [64] * 4


@pytest.mark.parametrize(("text", "size"), [
    (b"", 1 << 63), (b"\xff", 1), (b"\3web", 4), (b"\3web\3all\3app\6tenant", 19), (b"\1a\1b\1c\2le\1x", 11),
    (b"\1a\1b\1c\5route\1x", 14), (b"\1a\1b\1c\3a-b\1x", 12), (b"\1a\1b\1c\1x\1y\1x\1y", 14),
    (b"\1a\1b\1c" + b"\1x\1y" * 5, 26), (b"\1a\1b\1c\0\1x", 9)])
def test_rows_that_were_spoilt_are_left_out(shelf: StatsShelf, text: bytes, size: int) -> None:
    """A filter may write anywhere in its worker; the next worker, and the text, must stand it."""
    file = shelf.take(0)
    table = Table(file.fd)
    table.count(WAY, {b"tenant": b"blue"})
    table.count(WAY, {b"tenant": b"red"})
    table.spoil(1, text, size)
    assert values(shelf) == {"red": 1}
    text_of(shelf)
    again = Table(file.fd)
    again.count(WAY, {b"tenant": b"red"})
    assert values(shelf) == {"red": 2}
