"""The pages of docs/ name functions, counters, keys and flags: each must exist."""

import re
from pathlib import Path

import pytest

from fastmesh._core.mem.counter import FLAGS, GLOBALS
from fastmesh.config.listener import Limits, Timeouts
from fastmesh.units import parse_duration, parse_size

ROOT = Path(__file__).parents[3]
CORE = ROOT / "src" / "fastmesh" / "_core"
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/decisions/*.md")])

FUNCTION = re.compile(r"`([\w/]+\.(?:pyx|pxd)): (\w+)`")
METRIC = re.compile(r"`(fastmesh_\w+)`")
KEY = re.compile(r"`(limits|timeouts)\.(\w+)`")


def functions_of(name: str) -> set[str]:
    text = (CORE / name).read_text()
    return set(re.findall(r"^ *(?:cdef|cpdef|def)\b[^=\n(]*?(\w+)\(", text, re.M))


def named(pattern: re.Pattern[str]) -> list[tuple[str, ...]]:
    return sorted({(path.name, *found) for path in PAGES for match in pattern.finditer(path.read_text())
                   for found in [match.groups()]})


@pytest.mark.parametrize(("page", "file", "function"), named(FUNCTION))
def test_functions_exist(page: str, file: str, function: str) -> None:
    assert (CORE / file).exists(), f"{page}: there is no {file}"
    assert function in functions_of(file), f"{page}: {file} has no function {function}"


def test_a_function_that_is_not_there_would_be_noticed() -> None:
    assert "stream_end" in functions_of("proxy/stream.pyx")
    assert "stream_start" not in functions_of("proxy/stream.pyx")
    assert len(named(FUNCTION)) > 50


@pytest.mark.parametrize(("page", "metric"), named(METRIC))
def test_metrics_exist(page: str, metric: str) -> None:
    assert metric.removeprefix("fastmesh_").removesuffix("_total") in GLOBALS or \
        f"| `{metric}` |" in (ROOT / "docs" / "metrics.md").read_text(), f"{page}: no such metric"


@pytest.mark.parametrize(("page", "section", "key"), named(KEY))
def test_keys_exist(page: str, section: str, key: str) -> None:
    assert key in (Limits if section == "limits" else Timeouts).model_fields, page


def rows(page: str) -> list[list[str]]:
    lines = (ROOT / "docs" / page).read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def test_defaults_in_limits_are_those_of_the_models() -> None:
    seen = 0
    for cells in rows("limits.md"):
        key = KEY.fullmatch(cells[1]) if len(cells) > 2 else None
        value = re.match(r"(\d+) ?(\w*)", cells[2]) if key else None
        if key is None or value is None:
            continue
        default = (Limits if key[1] == "limits" else Timeouts).model_fields[key[2]].default
        unit = value[2]
        told = (parse_size(value[1] + unit) if unit.endswith("B") else
                parse_duration(value[1] + unit) if unit else int(value[1]))
        assert told == default, cells[:3]
        seen += 1
    assert seen >= 10


def test_response_flags_are_those_that_the_proxy_sets() -> None:
    set_in_code = {flag for path in (*(CORE / "proxy").glob("*.pyx"), CORE / "worker.pyx")
                   for flag in re.findall(r"\bFLAG_(\w+)", path.read_text())}
    told = {name for cells in rows("response-flags.md") if (name := cells[0].strip("`")).isupper()}
    assert told == set_in_code
    assert told <= set(FLAGS)
