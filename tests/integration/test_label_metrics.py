"""Requests counted by labels that filters set, inline and isolated, summed over workers."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Origin, Sidecar, ask, cluster, free_port, http_listener, until

Start = Callable[..., Sidecar]

FILTER = """
import asyncio
from fastmesh import Filter, Response


class Tenant(Filter):
    def on_request(self, request):
        tenant = request.headers.get("x-tenant")
        if tenant is None:
            return Response(400)
        request.labels["tenant"] = request.headers.raw("x-tenant").decode("utf-8", "replace")


class Elsewhere(Tenant):
    isolated = True

    async def on_complete(self, request, outcome):
        await asyncio.sleep(0.01)
        request.labels["outcome"] = str(outcome.status)
"""


def start(sidecar: Start, origin: Origin, tmp_path: Path, use: str, **more: Any) -> tuple[Sidecar, int]:
    path = tmp_path / "tenant.py"
    path.write_text(FILTER)
    port = free_port()
    listener = http_listener(port, "app", filters=[{"use": f"{path}:{use}"}])
    return sidecar({"listeners": [listener], "clusters": [cluster("app", origin.address)], **more}), port


def requests(proxy: Sidecar, name: str = "tenant") -> dict[str, float]:
    found: dict[str, float] = {}
    for line, value in proxy.metrics().items():
        if line.startswith("fastmesh_labelled_requests_total{") and (
                said := re.search(rf'{name}="((?:[^"\\]|\\.)*)"', line)):
            found[said[1]] = found.get(said[1], 0) + value
    return found


@pytest.mark.parametrize("use", ["Tenant", "Elsewhere"])
def test_requests_by_tenant(sidecar: Start, origin: Origin, tmp_path: Path, use: str) -> None:
    proxy, port = start(sidecar, origin, tmp_path, use, workers=2, metrics={"labels": ["tenant", "outcome"]})
    for _ in range(20):
        assert ask(port, "/", headers={"x-tenant": "blue"}).status == 200
    assert ask(port, "/", headers={"x-tenant": 'a"b\\c'}).status == 200
    assert ask(port, "/").status == 400
    until(lambda: sum(requests(proxy).values()) == 22, "all are counted")
    assert requests(proxy) == {"blue": 20, 'a\\"b\\\\c': 1, "": 1}
    assert requests(proxy, "outcome") == ({"": 22} if use == "Tenant" else {"200": 21, "400": 1})
    assert requests(proxy, "code_class") == {"2xx": 21, "4xx": 1}
    (count,) = [value for name, value in proxy.metrics().items()
                if name.startswith("fastmesh_labelled_request_duration_seconds_count{") and 'tenant="blue"' in name]
    assert count == 20


def test_too_many_values_are_told_once(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    proxy, port = start(sidecar, origin, tmp_path, "Tenant", metrics={"labels": ["tenant"], "values": 3})
    for i in range(10):
        assert ask(port, "/", headers={"x-tenant": f"t{i}"}).status == 200
    assert requests(proxy) == {"t0": 1, "t1": 1, "t2": 1, "other": 7}
    assert proxy.metrics()['fastmesh_labelled_overflow_total{reason="values"}'] == 7
    proxy.wait_log("the label tenant of metrics has more values than metrics.values allows")
    for i in range(10):
        assert ask(port, "/", headers={"x-tenant": f"u{i}"}).status == 200
    proxy.reload()
    told = [event for event in proxy.admin("/events").json if event["what"] == "labels_overflow"]
    assert len(told) == 1 and told[0]["label"] == "tenant" and told[0]["level"] == "warn"


def test_a_reload_asks_for_other_labels_and_none(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    proxy, port = start(sidecar, origin, tmp_path, "Tenant")
    assert ask(port, "/", headers={"x-tenant": "blue"}).status == 200
    assert requests(proxy) == {}
    config = {"listeners": [http_listener(port, "app", filters=[{"use": f"{tmp_path}/tenant.py:Tenant"}])],
              "clusters": [cluster("app", origin.address)]}
    proxy.reload({**config, "metrics": {"labels": ["tenant"]}})
    assert ask(port, "/", headers={"x-tenant": "blue"}).status == 200
    assert requests(proxy) == {"blue": 1}
    proxy.reload(config)
    assert ask(port, "/", headers={"x-tenant": "blue"}).status == 200
    assert requests(proxy) == {"blue": 1}       # what was counted stays


def test_what_explain_says(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "tenant.py").write_text(FILTER)
    (tmp_path / "mesh.yaml").write_text(
        "metrics: {labels: [tenant, plan], values: 50}\n"
        "listeners: [{name: web, address: '127.0.0.1:1', filters: [{use: './tenant.py:Tenant'}],\n"
        "  routes: [{match: {prefix: /}, cluster: app}]}]\n"
        f"clusters: [{{name: app, endpoints: ['{origin.address}']}}]\n")
    done = subprocess.run([sys.executable, "-m", "fastmesh", "explain", str(tmp_path / "mesh.yaml"), "GET",
                           "http://x/"], capture_output=True, text=True, check=True, timeout=60)
    place = f"{tmp_path}/mesh.yaml:1"
    assert f"counted by tenant, plan, as filters label it ({place}), at most 50 values of each" in done.stdout
