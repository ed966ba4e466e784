"""Figures in docs/performance.md: written between marks, everything else left as it is."""

from pathlib import Path

import pytest

from bench import __main__, page
from tests.unit.bench.test_results import ROUNDS, run_of

TEXT = "# Page\n\nbefore\n\n<!-- bench: {} -->\nold\n<!-- end -->\n\nbehind\n"


def written(path: Path, part: str) -> str:
    path.write_text(TEXT.format(part))
    page.write(run_of(ROUNDS), run_of(ROUNDS), path)
    text = path.read_text()
    begin, end = TEXT.format(part).split("old\n")
    assert text.startswith(begin) and text.endswith(end)
    return text[len(begin) : -len(end)]


@pytest.mark.parametrize(("part", "line"), [
    ("ratios", "| HTTP, 32 connections | CPU | 0.80 |"),
    ("keepalive", "| nginx | 20.0 (16.0–30.0) |"),
    ("machine", "The machine was quiet."),
    ("bars", "| CPU, io_uring ÷ better of both (goal) | 32 connections | ≤ 0.8 | 0.80 | met |"),
    ("agreement", "4 of 4 figures were shown again"),
    ("behind", "Nowhere: in every figure one of fastmesh's engines has the best median."),
])
def test_each_part(tmp_path: Path, part: str, line: str) -> None:
    assert line in written(tmp_path / "page.md", part)


def test_what_a_run_has_not_measured_stays(tmp_path: Path) -> None:
    assert written(tmp_path / "page.md", "filters") == "old\n"


def test_an_unknown_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no part 'nothing'; there are machine, behind"):
        written(tmp_path / "page.md", "nothing")


def test_by_command() -> None:
    with pytest.raises(SystemExit, match="usage: python -m bench page"):
        __main__.main(["page"])
