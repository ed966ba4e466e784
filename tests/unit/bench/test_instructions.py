"""Figures kept, figures found, and what is said about the difference."""

import pytest

from bench.instructions import Figures, accept, compare, difference

KEPT: Figures = {"parse": {"instructions": 100.0}, "pick": {"instructions": 50.0, "why": "weights"}}


@pytest.mark.parametrize(("found", "rose", "words"), [(105.0, False, ""), (105.2, True, "ROSE"), (90.0, False, "fell")])
def test_only_more_than_five_percent_more_is_a_rise(found: float, rose: bool, words: str) -> None:
    (change,) = compare(KEPT, {"parse": found})
    assert change.rose is rose
    assert words in str(change)


def test_what_has_no_kept_figure_is_new_and_no_rise() -> None:
    (change,) = compare(KEPT, {"route": 10.0})
    assert not change.rose and "new" in str(change)


def test_a_rise_is_kept_with_its_reason_and_small_steps_are_not_kept_at_all() -> None:
    found = {"parse": 120.0, "pick": 51.0, "route": 10.0}
    assert accept(KEPT, found, "reads one field more") == {
        "parse": {"instructions": 120.0, "why": "reads one field more"},
        "pick": {"instructions": 50.0, "why": "weights"},
        "route": {"instructions": 10.0},
    }


def test_a_fall_is_kept_so_that_it_is_not_given_away_again() -> None:
    assert accept(KEPT, {"parse": 80.0}, "unused") == {"parse": {"instructions": 80.0}}


def test_what_the_interpreter_takes_does_not_count() -> None:
    assert difference(lambda asked: 1_000_000 + sum(asked.values()) * 7, {"parse": 100}) == {"parse": 700}
