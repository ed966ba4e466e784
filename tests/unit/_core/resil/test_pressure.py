"""Levels of overload: entered at once, left one by one and late."""

import pytest

from fastmesh._core.resil.pressure import ENTER_AT, LEVELS, PRESSURES
from probes.breaker_probe import Pressure

SECOND = 10**9
CALM, BUSY, SHED_LOW, SHED, FULL = range(5)


@pytest.mark.parametrize("name", ["memory", "descriptors", "connections"])
@pytest.mark.parametrize(("part", "level"), [(0.0, CALM), (0.84, CALM), (0.85, BUSY), (0.9, SHED_LOW), (0.96, SHED),
                                             (0.98, FULL), (7.0, FULL)])
def test_a_level_is_entered_at_once(name, part, level):
    pressure = Pressure()
    assert pressure.take({name: part}, SECOND) == (level != CALM)
    assert pressure.level == level
    if level:
        assert PRESSURES[pressure.reason] == name


def test_levels_have_names_and_thresholds_in_order():
    assert LEVELS == ("calm", "busy", "shed_low", "shed", "full")
    assert sorted(ENTER_AT) == list(ENTER_AT) and len(ENTER_AT) == len(LEVELS)


def test_it_is_left_late_and_step_by_step():
    pressure = Pressure()
    pressure.take({"memory": 1.0}, 0)
    seen = []
    for tenth in range(1, 120):
        if pressure.take({"memory": 0.5}, tenth * SECOND // 10):
            seen.append((tenth, pressure.level))
    # Two seconds for each.
    assert seen == [(21, SHED), (41, SHED_LOW), (61, BUSY), (81, CALM)]


def test_just_below_is_not_below():
    """What swings around a threshold does not let the level swing."""
    pressure = Pressure()
    pressure.take({"memory": 0.9}, 0)
    for tenth in range(1, 100):
        assert not pressure.take({"memory": 0.86 if tenth % 2 else 0.91}, tenth * SECOND // 10)
    assert pressure.level == SHED_LOW


def test_a_dip_does_not_count():
    pressure = Pressure()
    pressure.take({"memory": 0.96}, 0)
    for tenth in range(1, 100):
        assert not pressure.take({"memory": 0.95 if tenth % 15 == 0 else 0.1}, tenth * SECOND // 10)
    assert pressure.level == SHED


def test_one_long_turn_is_no_overload_and_many_are():
    pressure = Pressure()
    assert not pressure.take({"lag": 5.0}, 0)
    for tenth in range(1, 30):
        assert not pressure.take({"lag": 0.01}, tenth * SECOND // 10)
    took = 0
    while pressure.level < SHED:
        took += 1
        pressure.take({"lag": 1.0}, (30 + took) * SECOND // 10)
    assert 10 <= took <= 20 and PRESSURES[pressure.reason] == "lag"


@pytest.mark.parametrize(("part", "refused"), [
    (0.5, []), (0.86, []), (0.91, ["low"]), (0.96, ["low", "default"]), (1.0, ["low", "default"])])
def test_what_matters_least_is_refused_first(part, refused):
    pressure = Pressure()
    pressure.take({"memory": part}, 0)
    assert [name for name in ("low", "default", "high") if pressure.refuses(name)] == refused
