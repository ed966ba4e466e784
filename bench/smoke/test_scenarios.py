"""Every scenario once, as short as it can be: nothing fails, and each figure is there.  `make bench-smoke`.

BENCH_PEERS names the proxies, as `--peer` does.  No figure is judged: the machine may be busy.
"""

import math
import os
import shutil
from pathlib import Path

import pytest

from bench import machine
from bench.build import build
from bench.peers import PEERS, Peer
from bench.scenarios import SCENARIOS, Options, Scenario
from bench.stage import Stage

CHOSEN = tuple(os.environ.get("BENCH_PEERS", "fastmesh-uring").split(","))
OPTIONS = Options(rounds=1, seconds=1, connections=(32,), quick=True, requests=5_000)
PLAYS = [
    pytest.param(scenario, peer, id=f"{scenario.name}-{peer.name}")
    for scenario in SCENARIOS
    for peer in PEERS
    if peer.name.startswith(CHOSEN) and scenario.protocol in peer.protocols and scenario.takes(peer)
]


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    missing = [program for program in ("wrk", "h2load", "nginx") if not shutil.which(program)]
    if missing:
        pytest.fail(f"not installed: {', '.join(missing)}; run `make .venv/.bench`")
    build()


@pytest.mark.parametrize(("scenario", "peer"), PLAYS)
def test_nothing_fails_and_every_figure_is_there(scenario: Scenario, peer: Peer, tmp_path: Path) -> None:
    why = peer.missing(scenario.protocol)
    assert why is None, why
    # A proxy that drops its privileges must get at what is its own.
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    stage = Stage(tmp_path, machine.choose_cores())
    try:
        points = [point for point in scenario.points(OPTIONS) if scenario.has(peer, point)]
        found: set[str] = set()
        for point in points if scenario.points_together else points[:1]:
            measured = scenario.measure(stage, peer, point, OPTIONS)
            assert measured.failed == 0
            assert all(math.isfinite(value) for value in measured.figures.values())
            found.update(measured.figures)
        # One that can only play without filters has nothing to compare it with.
        assert {figure.key for figure in scenario.figures if points[1:] or "added" not in figure.key} <= found
    finally:
        stage.close()
