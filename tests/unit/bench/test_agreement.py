"""Two runs beside each other: what counts as shown again."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench import __main__, agreement
from tests.unit.bench.test_results import ROUNDS, run_of


def test_drift_of_the_whole_machine_does_not_part_two_runs() -> None:
    slower = {name: tuple(3 * value for value in values) for name, values in ROUNDS.items()}
    found = list(agreement.pairs(run_of(ROUNDS), run_of(slower)))
    assert [one.peer.name for one in found] == list(ROUNDS)
    assert all(one.is_ratio and one.agrees and one.apart == pytest.approx(0.0) for one in found)


def test_ranges_that_do_not_meet_are_named_with_both_values() -> None:
    other = {**ROUNDS, "fastmesh-uring": (6.0, 12.0, 7.0)}
    text = agreement.markdown(run_of(ROUNDS), run_of(other))
    assert "3 of 4 figures were shown again" in text
    row = next(line for line in text.splitlines() if line.startswith("| HTTP, 32 connections |"))
    assert row == (
        "| HTTP, 32 connections | CPU, ÷ better of both | fastmesh-uring | 0.80 (0.72–0.80) | 0.40 (0.39–0.40) |"
    )


def test_without_rivals_the_figures_themselves_are_compared() -> None:
    first, second = ({"fastmesh-uring": values} for values in ((10.0, 12.0), (11.0, 15.0)))
    (pair,) = agreement.pairs(run_of(first), run_of(second))
    assert not pair.is_ratio and pair.agrees and pair.apart == pytest.approx(13 / 11 - 1)


def test_within_the_noise_that_a_run_has_stated_is_agreement() -> None:
    first, second = (run_of({"fastmesh-uring": values}) for values in ((10.0,), (10.9,)))
    (pair,) = agreement.pairs(first, second)
    assert not pair.agrees
    second.rounds = [replace(one, spin_cpu_ms=10.0 + number % 2) for number, one in enumerate(second.rounds)]
    (pair,) = agreement.pairs(first, second)
    assert pair.noise == pytest.approx(0.1) and pair.agrees


def test_runs_of_different_machines_are_not_compared() -> None:
    other = run_of(ROUNDS)
    other.machine["kernel"] = "6.2"
    with pytest.raises(SystemExit, match=r"different machines: kernel is 6\.1 in the first, 6\.2 in the second"):
        agreement.markdown(run_of(ROUNDS), other)


def test_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.json"
    run_of(ROUNDS).save(path)
    assert __main__.main(["agree", str(path), str(path)]) == 0
    assert "4 of 4 figures were shown again" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="usage: python -m bench agree"):
        __main__.main(["agree", str(path)])
