"""Fixtures for tests with real processes. What they are made of is in harness.py."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Origin, Sidecar
from integration.mesh import _shared, engine, mesh, own_mesh  # noqa: F401  (fixtures)
from integration.service import services  # noqa: F401

from fastmesh._core.worker import probe_engines

ENGINES = probe_engines()


@pytest.fixture(params=["io_uring", "epoll"])
def reactor(request: pytest.FixtureRequest) -> str:
    """Each reactor engine in turn."""
    if ENGINES[request.param] != "ok":
        pytest.skip(f"{request.param}: {ENGINES[request.param]}")
    return str(request.param)


@pytest.fixture
def origin() -> Iterator[Origin]:
    """A small HTTP server that answers "origin"."""
    made = Origin()
    yield made
    made.close()


@pytest.fixture
def sidecar(tmp_path: Path, reactor: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., Sidecar]]:
    """Starts sidecars: `sidecar(config)`. Each must have drained with status 0 at the end of the test, unless the
    test has ended it itself. Tests that are marked `cold` start the command itself."""
    is_warm = request.node.get_closest_marker("cold") is None
    made: list[Sidecar] = []

    def start(config: dict[str, Any], wait: bool = True) -> Sidecar:
        directory = tmp_path / f"sidecar-{len(made)}"
        directory.mkdir()
        one = Sidecar(directory, config, reactor, is_warm)
        made.append(one)
        return one.start(wait)

    yield start
    statuses = [(one, one.process is not None and one.process.poll() is None, one.stop()) for one in made]
    for one, was_running, status in statuses:
        assert not was_running or status == 0, one.log
