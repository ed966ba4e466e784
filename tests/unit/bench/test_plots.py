"""What the pictures show."""

from pathlib import Path

from bench import plots, report
from bench.peers import PEERS
from bench.results import FigureCard, PeerCard, Results, Row, Sample, ScenarioCard

CARDS = [
    FigureCard("cpu_us", "CPU", "µs", 1, less_is_better=True, ratio=True, above_floor=True),
    FigureCard("p99", "p99", "µs", 0, less_is_better=True, ratio=False, above_floor=False),
]
PEERS_THERE = [PeerCard("nginx", "nginx", "1", True, False), PeerCard("floor-epoll", "bare loop", "-", False, True)]


def found() -> Results:
    results = Results("2026-01-01", {}, {"rounds": 2, "seconds": 1})
    results.scenarios = [ScenarioCard("h1-rate", "At a rate", "requests/s", CARDS)]
    results.peers = list(PEERS_THERE)
    for number, (proxy, floor) in enumerate(((20.0, 8.0), (30.0, 10.0)), 1):
        longest = {"p99.99": 900.0} if number == 1 else {}
        figures = {"cpu_us": proxy, "p50": proxy * 2, "p99": proxy * 10, **longest}
        results.samples.append(Sample("h1-rate", 2000, number, "nginx", figures, 0, {}))
        results.samples.append(Sample("h1-rate", 2000, number, "floor-epoll", {"cpu_us": floor}, 0, {}))
    return results


def test_bars_are_those_of_proxies_and_the_bare_loop_is_a_line() -> None:
    (panel,) = plots.panels(found(), ("cpu_us",))
    assert [(peer.name, row.median, row.low, row.high) for peer, row in panel.rows] == [("nginx", 25.0, 20.0, 30.0)]
    assert panel.floor == 9.0
    assert panel.title == "At a rate, 2,000 requests/s\nCPU, µs"


def test_a_curve_has_medians_of_what_every_round_has() -> None:
    assert plots.curves(found(), "h1-rate", 2000) == {"nginx": [(50.0, 50.0), (99.0, 250.0)]}


def test_each_nine_is_as_wide_as_the_one_before() -> None:
    assert [round(plots.depth(share), 6) for share in (0, 90, 99, 99.9)] == [0, 1, 2, 3]


def test_every_peer_has_a_colour_of_its_own() -> None:
    colours = [plots.COLOURS[peer.name] for peer in PEERS]
    assert len(set(colours)) == len(PEERS) and plots.OTHER not in colours


def test_pictures_are_written_and_shown_and_the_same_each_time(tmp_path: Path) -> None:
    results = found()
    results.machine = dict.fromkeys(("cpu", "cores", "virtual", "memory", "kernel", "system", "tcp"), "x")
    pictures = plots.draw(results, tmp_path / "run.json")
    assert [path.name for _, path in pictures] == ["run-cpu.svg", "run-latency.svg"]
    first = [path.read_bytes() for _, path in pictures]
    assert all(b"<svg" in one for one in first)
    plots.draw(results, tmp_path / "run.json")
    assert [path.read_bytes() for _, path in pictures] == first
    text = report.markdown(results, pictures)
    assert "![CPU per request](run-cpu.svg)" in text


def panel(*medians: float, digits: int = 1) -> plots.Panel:
    rows = [(PEERS_THERE[0], Row("s", 1, "nginx", "cpu_us", median, median, median)) for median in medians]
    return plots.Panel("", "µs", digits, rows, None)


def test_a_bar_far_longer_than_others_leaves_them_room() -> None:
    assert plots.reach_of(panel(10, 20, 30)) == 30
    assert plots.reach_of(panel(10, 12, 14, 1400)) == 6 * 13
    assert plots.reach_of(panel(-0.2, 5, 6)) == 6


def test_bars_of_nothing_have_no_length() -> None:
    assert plots.reach_of(panel(0.0, 0.0001)) == 1.0
