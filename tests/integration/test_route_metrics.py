"""Requests by the route that took them, summed over workers."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.harness import FASTMESH, Origin, Sidecar, ask, cluster, free_port, until

Start = Callable[..., Sidecar]

STOPS = """
from fastmesh import Filter, Response


class Stops(Filter):
    def on_request(self, request):
        return Response(401) if "x-stop" in request.headers else None
"""


def config(port: int, origin: Origin, **metrics: Any) -> dict[str, Any]:
    return {
        "workers": 2,
        "listeners": [{"name": "web", "address": f"127.0.0.1:{port}", "routes": [
            {"name": "api", "match": {"prefix": "/api"}, "cluster": "app"},
            {"name": "api", "match": {"prefix": "/v2/api"}, "cluster": "app"},
            {"name": "gone", "match": {"prefix": "/gone"}, "response": {"status": 410}},
            {"name": "moved", "match": {"prefix": "/moved"}, "redirect": {"path": "/api"}},
            {"match": {"prefix": "/other"}, "cluster": "app"}]}],
        "clusters": [cluster("app", origin.address)], **({"metrics": metrics} if metrics else {})}


def counted(proxy: Sidecar) -> dict[tuple[str, str], float]:
    """(route, class) → requests."""
    found = {}
    for line, value in proxy.metrics().items():
        if line.startswith("fastmesh_route_requests_total{"):
            listener, route, how = (part.split('"')[1] for part in line.partition("{")[2].split(","))
            assert listener == "web"
            found[route, how] = value
    return found


def test_each_request_counts_for_its_route(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    proxy = sidecar(config(port, origin))
    assert counted(proxy) == {}
    # Each on a connection of its own, so by either worker.
    for path, times in (("/api/a", 20), ("/v2/api", 12), ("/gone", 3), ("/moved", 2), ("/other", 4), ("/nowhere", 5)):
        for _ in range(times):
            ask(port, path)
    assert counted(proxy) == {("api", "2xx"): 32, ("gone", "4xx"): 3, ("moved", "3xx"): 2}


def test_a_client_that_leaves_has_no_class(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = config(port, origin)
    one["listeners"][0]["routes"][0]["rewrite"] = {"prefix": "/slow"}
    proxy = sidecar(one)
    with pytest.raises(TimeoutError):
        ask(port, "/api", timeout=0.2)
    until(lambda: counted(proxy) == {("api", "none"): 1})
    origin.release.set()


def test_all_of_them_or_none(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    proxy = sidecar(config(port, origin, routes="all"))
    for path in ("/api", "/other", "/other"):
        ask(port, path)
    assert counted(proxy) == {("api", "2xx"): 1, ("route-4", "2xx"): 2}
    proxy.reload(config(port, origin, routes="none"))
    ask(port, "/api")
    assert counted(proxy) == {}
    proxy.reload(config(port, origin))
    ask(port, "/api")
    assert counted(proxy) == {("api", "2xx"): 2}        # what it had, and this one


def test_counts_outlive_reloads_and_workers(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    proxy = sidecar(config(port, origin))
    for _ in range(6):
        ask(port, "/api")
    turned = config(port, origin)
    turned["listeners"][0]["routes"].reverse()
    proxy.reload(turned)
    for slot in (0, 1):
        assert proxy.admin(f"/workers/{slot}/replace", "POST").status == 200
    for _ in range(6):
        ask(port, "/api")
    assert counted(proxy) == {("api", "2xx"): 12}


def test_who_is_stopped_before_a_route_has_none(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "stops.py").write_text(STOPS)
    one = config(port, origin)
    one["listeners"][0]["filters"] = [{"use": f"{tmp_path}/stops.py:Stops"}]
    proxy = sidecar(one)
    assert ask(port, "/api", headers={"x-stop": "1"}).status == 401 and counted(proxy) == {}
    del one["listeners"][0]["filters"]
    one["listeners"][0]["routes"][0]["filters"] = [{"use": f"{tmp_path}/stops.py:Stops"}]
    proxy.reload(one)
    assert ask(port, "/api", headers={"x-stop": "1"}).status == 401 and counted(proxy) == {("api", "4xx"): 1}


def test_explain_says_so(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    proxy = sidecar(config(port, origin, routes="all"))

    def said(path: str) -> str:
        return subprocess.run([FASTMESH, "explain", proxy.path, "GET", f"http://127.0.0.1:{port}{path}"], check=True,
                              capture_output=True, text=True).stdout
    assert '\ncounted as fastmesh_route_requests_total{listener="web",route="api"} (' in said("/api")
    assert '\ncounted as fastmesh_route_requests_total{listener="web",route="route-4"} (' in said("/other")
    proxy.reload(config(port, origin))      # which by default it is
    assert "counted as" not in said("/api")
