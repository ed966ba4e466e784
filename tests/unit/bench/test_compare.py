"""Ratios of two builds and what noise allows to say about them."""

import pytest

from bench.compare import checkout, ratio


def test_drift_that_hits_both_builds_cancels_out() -> None:
    found = ratio("parse", [1.1, 2.2, 4.4], [1.0, 2.0, 4.0])
    assert found.ratio == pytest.approx(1.1)
    assert not found.differs and "no difference" in str(found)


def test_a_difference_beyond_the_noise_is_said() -> None:
    slower = ratio("parse", [1.10, 1.11, 1.10], [1.0, 1.01, 1.0])
    assert slower.differs and "slower" in str(slower)
    faster = ratio("parse", [0.9, 0.9, 0.9], [1.0, 1.0, 1.0])
    assert faster.noise == 0 and "faster" in str(faster)


def test_what_is_no_commit_is_said() -> None:
    with pytest.raises(SystemExit, match="'no-such-commit' is no commit"):
        checkout("no-such-commit")
