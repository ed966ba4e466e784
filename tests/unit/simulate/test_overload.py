"""What adaptive concurrency and admission control make of too much, with the compiled code and a clock that jumps."""

from typing import Any

import pytest

from fastmesh.simulate.result import Result
from fastmesh.simulate.scenario import Scenario
from fastmesh.simulate.simulation import Simulation

CAPACITY = 2000         # 20 slots of 10 ms
SECONDS = 50


def run(rate: int, *, callers: int = 1, group: dict[str, Any] | None = None, seconds: int = SECONDS,
        **cluster: Any) -> tuple[Result, Simulation]:
    one = Simulation(Scenario.model_validate({
        "duration": f"{seconds + 10}s", "warm_up": "10s", "rate": rate, "callers": callers, "timeout": "100ms",
        "cluster": cluster, "endpoints": [{"slots": 20, "time": {"mean": "10ms"}, **(group or {})}]}))
    return one.run(), one


def good(result: Result, seconds: int = SECONDS) -> float:
    """Answers in time, a second."""
    return len(result.whole.answered) / seconds


def test_three_times_too_much_is_the_end_of_all_answers_without_a_limit():
    """Everybody waits in line for longer than anybody waits."""
    result, _ = run(3 * CAPACITY)
    assert good(result) < 0.01 * CAPACITY


@pytest.mark.parametrize("callers", [1, 4])
def test_with_a_limit_that_is_found_nine_tenths_of_the_capacity_are_left(callers: int):
    result, one = run(3 * CAPACITY, callers=callers, adaptive={})
    assert good(result) > 0.9 * CAPACITY
    # Those that were let in were answered in time.
    assert result.whole.failed - result.refused < 0.02 * result.whole.count
    assert all(10 <= caller.balancer.limit < 150 for caller in one._callers)


@pytest.mark.parametrize("percent", [10, 50, 70])
def test_nobody_is_refused_at_a_constant_load_below_the_capacity(percent: int):
    """For minutes: measuring what an idle service would take refuses nobody."""
    result, _ = run(CAPACITY * percent // 100, seconds=290, adaptive={})
    assert result.refused == 0


def test_near_the_capacity_only_a_chance_crowd_meets_the_limit():
    result, _ = run(CAPACITY * 80 // 100, seconds=290, adaptive={})
    assert result.refused < 1e-4 * result.whole.count


def test_a_service_that_becomes_slower_is_learned_anew():
    """Three times as slow for good: what it took before is no measure any more."""
    result, _ = run(500, seconds=110, adaptive={}, group={"slow": {"begin": "20s", "factor": 3}})
    # 667 a second are still possible, and asked for are 500.
    assert good(result, 110) > 0.9 * 500


def test_the_limit_stays_within_its_bounds():
    _, one = run(3 * CAPACITY, adaptive={"min_concurrency": 40, "initial_concurrency": 45, "max_concurrency": 50})
    assert 40 <= one._callers[0].balancer.limit <= 50


# --- admission control ---

def test_nobody_is_turned_away_while_enough_is_good():
    result, _ = run(1000, admission={}, group={"failing": {"share": "4%"}})
    assert result.refused == 0
    assert result.whole.failed_share == pytest.approx(0.04, abs=0.005)


@pytest.mark.parametrize(("failing", "refused"), [("20%", 0.158), ("50%", 0.474), ("100%", 0.8)])
def test_as_much_is_turned_away_as_fails(failing: str, refused: float):
    """(n - good / 0.95) / (n + 1), and four fifths at most."""
    result, _ = run(1000, admission={}, group={"failing": {"share": failing}})
    assert result.refused / result.whole.count == pytest.approx(refused, abs=0.02)


def test_it_ends_half_a_minute_after_the_failures():
    result, _ = run(1000, seconds=90, admission={}, group={"failing": {"end": "30s"}})
    # 20 s of failures after the warm-up, and the window.
    assert result.refused / 1000 < 0.8 * (20 + 30)
    late, _ = run(1000, seconds=20, admission={}, group={"failing": {"end": "1ms"}})
    assert late.refused == 0


def test_few_answers_say_nothing():
    result, _ = run(3, admission={}, group={"failing": {}})
    assert result.refused == 0
