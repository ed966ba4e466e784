"""Endpoints that come and go, or are well and ill, again and again: callers notice nothing, and what is said of it is
bounded by how often that happens."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Callers, Origin, Sidecar, free_port, origins, until
from integration.service import Service
from integration.test_discovery import Mesh
from integration.test_healing import events
from integration.test_health_checks import config, is_well, wait_health

Start = Callable[..., Sidecar]
FLAPS = 8


@pytest.fixture
def services() -> Iterator[list[Service]]:
    made = [Service(name) for name in ("good", "flaps", "other")]
    yield made
    for service in made:
        service.close()


def fails(_: Any) -> tuple[int, dict[str, str]]:
    """All that it is asked, its health check included."""
    return 503, {}


def test_one_that_is_well_and_ill_in_turn(sidecar: Start, services: list[Service]) -> None:
    _, flaps, _ = services
    port = free_port()
    whole = config(port, [service.address for service in services], workers=2, healthy=1,
                   cluster={"retry_budget": {"share": "100%", "per_second": 1000}})
    whole["listeners"][0]["retry"] = {"on": [503, "connect-failure", "reset"], "attempts": 3}
    one = sidecar(whole)
    with Callers(port) as callers:
        for _ in range(FLAPS):
            flaps.reply = fails
            wait_health(one, flaps.address, "unhealthy")
            callers.more(10)
            flaps.reply = is_well
            wait_health(one, flaps.address, "healthy")
            callers.more(10)
    assert callers.failures == [] and callers.bodies == {b"good", b"flaps", b"other"}
    told = [event for event in events(one, "unhealthy", "healthy") if event["endpoint"] == flaps.address]
    assert [event["what"] for event in told[:2]] in (["unhealthy", "healthy"], ["healthy", "unhealthy"])
    # One line and one event for each change. On a machine that is very busy it may also have been late at another time.
    changes = one.metrics()['fastmesh_health_checks_total{cluster="app",result="status"}']
    assert 2 * FLAPS <= len(told) <= 2 * changes + 2
    lines = re.findall(rf"^.*endpoint={re.escape(flaps.address)} .*$", one.log, re.M)
    assert 2 * FLAPS <= len(lines) <= len(told) + changes
    assert {worker["state"] for worker in one.workers()} == {"serving"}


@pytest.fixture
def some() -> Iterator[list[Origin]]:
    with origins("a", "b", "c") as made:
        yield made


def test_one_that_discovery_finds_and_loses_in_turn(tmp_path: Path, some: list[Origin], reactor: str) -> None:
    """As fast as its policy can say it: what comes within the debounce is one update."""
    mesh = Mesh(tmp_path, reactor, *some, workers=2)
    a, b, c = some
    with mesh.sidecar, Callers(mesh.port) as callers:
        flips = 0
        while mesh.cluster()["discovery"]["updates"] < 2 * FLAPS:
            mesh.tell(*((a, b, c) if flips % 2 else (a, c)))
            flips += 1
            callers.more(1)
        mesh.tell(a, b, c)
        until(lambda: mesh.addresses() == sorted(one.address for one in some))
        callers.more(20)
        assert callers.failures == [] and callers.bodies == {b"a", b"b", b"c"}
        updates = mesh.cluster()["discovery"]["updates"]
        assert updates <= flips + 2
        said = [event for event in mesh.sidecar.admin("/events").json if event["what"] == "discovery_update"]
        assert len(said) <= updates
        # A line for each update at the most, and none for a request.
        lines = re.findall(r"^.*discovery.*$", mesh.sidecar.log, re.M)
        assert len(lines) <= updates + 10
        assert mesh.sidecar.metrics()['fastmesh_reloads_total{result="good"}'] == 0
        until(lambda: {worker["snapshot"] for worker in mesh.sidecar.workers()} == {updates})
    assert "error" not in mesh.sidecar.log
