"""The arithmetic of the benchmark: ratios per round, bars, noise, and the file."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench import bars, noise, report
from bench.results import (
    FigureCard,
    PeerCard,
    Results,
    RoundNoise,
    Sample,
    ScenarioCard,
    difference,
    load,
    ratio,
    summarise,
)

CPU = FigureCard("cpu_us", "CPU", "µs", 1, less_is_better=True, ratio=True, above_floor=True)
RIVALS = ("nginx", "haproxy")
# CPU per request in three rounds; the machine got slower in the second.
ROUNDS = {
    "fastmesh-uring": (12.0, 24.0, 13.0),
    "nginx": (16.0, 30.0, 20.0),
    "haproxy": (15.0, 32.0, 18.0),
    "floor-uring": (10.0, 20.0, 10.0),
}


def run_of(figures: dict[str, tuple[float, ...]], foreign: float = 0.0) -> Results:
    results = Results("2026-01-01", {"cpu": "x", "cores": "2", "virtual": "no", "memory": "1 GiB", "kernel": "6.1",
                                     "system": "Debian", "tcp": "cubic"}, {"rounds": 3, "seconds": 1})  # fmt: skip
    results.scenarios = [ScenarioCard("h1-keepalive", "HTTP", "connections", [CPU])]
    for name, values in figures.items():
        results.peers.append(PeerCard(name, name, "1", name in RIVALS, name.startswith("floor")))
        for number, value in enumerate(values, 1):
            results.samples.append(
                Sample("h1-keepalive", 32, number, name, {"cpu_us": value}, 0, {"foreign": foreign, "steal": 0.0})
            )
    results.rounds = [RoundNoise("h1-keepalive", 32, number, 10.0, 10.0) for number in range(1, 6)]
    return results


def test_ratio_is_taken_within_each_round_against_the_better_rival() -> None:
    found = ratio(run_of(ROUNDS), "h1-keepalive", 32, "fastmesh-uring", CPU, RIVALS)
    assert found is not None
    assert (found.low, found.median, found.high) == pytest.approx((13 / 18, 24 / 30, 12 / 15))


def test_a_round_in_which_no_rival_was_measured_does_not_count() -> None:
    results = run_of({"fastmesh-uring": (12.0, 1.0), "nginx": (16.0,)})
    found = ratio(results, "h1-keepalive", 32, "fastmesh-uring", CPU, RIVALS)
    assert found is not None and found.median == found.low == pytest.approx(0.75)


def test_more_is_better_turns_the_choice_of_the_rival_round() -> None:
    card = FigureCard("cpu_us", "speed", "GiB", 1, less_is_better=False, ratio=True, above_floor=False)
    found = ratio(run_of({"fastmesh-uring": (3.0,), "nginx": (1.0,), "haproxy": (2.0,)}), "h1-keepalive", 32,
                  "fastmesh-uring", card, RIVALS)  # fmt: skip
    assert found is not None and found.median == pytest.approx(1.5)


def test_the_others_may_be_looked_at_elsewhere() -> None:
    """With a filter, against nginx without any."""
    results = run_of(ROUNDS)
    results.samples = [replace(one, point=1 if one.peer == "fastmesh-uring" else 0) for one in results.samples]
    assert ratio(results, "h1-keepalive", 1, "fastmesh-uring", CPU, ("nginx",)) is None
    found = ratio(results, "h1-keepalive", 1, "fastmesh-uring", CPU, ("nginx",), their_point=0)
    assert found is not None and found.median == pytest.approx(12 / 16)


def test_own_cost_is_the_distance_to_the_bare_loop() -> None:
    found = difference(run_of(ROUNDS), "h1-keepalive", 32, "fastmesh-uring", CPU, ("floor-uring",))
    assert found is not None
    assert (found.low, found.median, found.high) == pytest.approx((2.0, 3.0, 4.0))


def test_bars_are_judged_only_where_there_are_numbers() -> None:
    verdicts = {(one.bar.words, one.point): one.met for one in bars.judge(run_of(ROUNDS))}
    assert verdicts == {
        ("CPU, io_uring ÷ better of both (goal)", 32): True,
        ("CPU, io_uring ÷ better of both (least)", 32): True,
    }
    slower = run_of({**ROUNDS, "fastmesh-uring": (14.9, 29.9, 17.9)})
    assert not any(one.met for one in bars.judge(slower))


def test_results_survive_the_file(tmp_path: Path) -> None:
    results = run_of(ROUNDS)
    results.void.append("a request failed")
    path = tmp_path / "run.json"
    results.save(path)
    again = load(path)
    assert again == results
    assert list(summarise(again)) == list(summarise(results))
    assert "VOID" in report.markdown(again)


def test_the_report_names_what_another_does_better() -> None:
    own = {"fastmesh-uring": (20.0, 20.0), "fastmesh-epoll": (19.0, 19.0)}
    worse = report.markdown(run_of({**own, "nginx": (10.0, 12.0), "floor-uring": (1.0, 1.0)}))
    assert "- HTTP, 32 connections: CPU: nginx 11.0 µs, fastmesh-epoll 19.0 µs\n" in worse
    close = report.markdown(run_of({**own, "nginx": (10.0, 19.5, 10.0)}))
    assert "nginx 10.0 µs, fastmesh-epoll 19.0 µs (within the spread)" in close
    assert "Nowhere" in report.markdown(run_of({**own, "nginx": (19.01, 19.04)}))
    assert "another is better" not in report.markdown(run_of(own))


def test_a_figure_that_no_one_wants_small_or_large_is_not_compared() -> None:
    results = run_of({"fastmesh-uring": (2.0,), "nginx": (1.0,)})
    results.scenarios[0].figures[0] = FigureCard("cpu_us", "CPU", "µs", 1, True, False, False, judged=False)
    assert "Nowhere" in report.markdown(results)


@pytest.mark.parametrize(("key", "shown"), [("added_us", "not measurable (-9.0–4.0)"), ("moved_us", "-3.0 (-9.0–4.0)")])
def test_what_is_added_is_not_less_than_nothing(key: str, shown: str) -> None:
    results = run_of({"fastmesh-uring": (0.5, -0.2, 0.9), "nginx": (-3.0, 4.0, -9.0)})
    results.scenarios = [ScenarioCard("x", "X", "connections", [FigureCard(key, "X", "µs", 1, True, False, False)])]
    results.samples = [replace(one, scenario="x", figures={key: one.figures["cpu_us"]}) for one in results.samples]
    told = report.markdown(results)
    assert f"| nginx | {shown} |" in told and "| fastmesh-uring | 0.5 (-0.2–0.9) |" in told


def test_a_quiet_and_a_noisy_machine_are_told_apart() -> None:
    assert not noise.noisy(run_of(ROUNDS, foreign=0.01))
    assert noise.noisy(run_of(ROUNDS, foreign=0.2))
    unsteady = run_of(ROUNDS)
    unsteady.rounds = [RoundNoise("h1-keepalive", 32, n, ms, ms) for n, ms in enumerate((8.0, 9.0, 12.0, 14.0), 1)]
    assert noise.noisy(unsteady)
