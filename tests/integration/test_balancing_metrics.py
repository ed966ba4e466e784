"""How endpoints were chosen, as /metrics tells it."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from integration.harness import Sidecar, ask, free_port, until
from integration.service import Reply, Service

Make = Callable[..., list[Service]]


def config(port: int, *endpoints: Any, **cluster: Any) -> dict[str, Any]:
    return {"listeners": [{"name": "web", "address": f"127.0.0.1:{port}",
                           "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]}],
            "clusters": [{"name": "app", "endpoints": list(endpoints), "outlier": {"enabled": False}, **cluster}]}


def metric(proxy: Sidecar, name: str, **labels: str) -> float:
    text = ",".join(f'{key}="{value}"' for key, value in {"cluster": "app", **labels}.items())
    return proxy.metrics().get(f"fastmesh_cluster_{name}{{{text}}}", 0)


def test_panic(sidecar: Callable[..., Sidecar], services: Make) -> None:
    port, gone = free_port(), free_port()
    (a,) = services("a")
    both = config(port, a.address, f"127.0.0.1:{gone}", balancing={"panic_threshold": "60%"},
                  avoid={"base": "1h", "max": "1h"})
    proxy = sidecar(both)
    assert metric(proxy, "panics_total") == metric(proxy, "panic_groups") == 0
    # One of two cannot be connected to: below 60 %, that is looked at again within 10 ms.
    until(lambda: ask(port, "/").status == 200 and metric(proxy, "panic_groups") == 1)
    assert metric(proxy, "panics_total") == 1
    before = metric(proxy, "panic_picks_total")
    assert {ask(port, "/").text for _ in range(5)} == {"a"}
    assert metric(proxy, "panic_picks_total") >= before + 5
    # With only the one that is well there is no panic, and it is counted no more.
    proxy.reload(config(port, a.address, balancing={"panic_threshold": "60%"}))
    assert ask(port, "/").text == "a"
    assert metric(proxy, "panic_groups") == 0 and metric(proxy, "panics_total") == 1


def test_groups(sidecar: Callable[..., Sidecar], services: Make) -> None:
    port = free_port()
    a, b = services("a", "b")
    proxy = sidecar(config(port, {"address": a.address}, {"address": b.address, "priority": 1},
                           avoid={"base": "1h", "max": "1h"}, idle_timeout="1ms"))
    assert {ask(port, "/").text for _ in range(10)} == {"a"}
    assert metric(proxy, "group_picks_total", group="1") == 10
    assert metric(proxy, "group_picks_total", group="2") == 0
    a.close()
    # What is tried after the failed connect is of the second group.
    assert ask(port, "/").text == "b"
    assert metric(proxy, "group_picks_total", group="2") == 1
    until(lambda: ask(port, "/").text == "b" and metric(proxy, "group_picks_total", group="2") > 5,
          drives=True)


def test_sessions(sidecar: Callable[..., Sidecar], services: Make) -> None:
    port = free_port()
    a, b = services("a", "b")
    sticky = {"sticky": {"header": "x-home", "secret": "0123456789abcdef"}}
    proxy = sidecar(config(port, a.address, b.address, balancing=sticky))
    first = ask(port, "/")
    home = first.headers["x-home"]
    assert {ask(port, "/", headers={"x-home": home}).text for _ in range(4)} == {first.text}
    assert metric(proxy, "sticky_requests_total", result="kept") == 4
    assert metric(proxy, "sticky_requests_total", result="moved") == 0
    # Its endpoint leaves; and a name that nobody ever had.
    other = b if first.text == "a" else a
    proxy.reload(config(port, other.address, balancing=sticky))
    assert ask(port, "/", headers={"x-home": home}).text == other.name
    assert ask(port, "/", headers={"x-home": "0" * 32}).status == 200
    assert metric(proxy, "sticky_requests_total", result="moved") == 2
    assert metric(proxy, "sticky_requests_total", result="kept") == 4


@pytest.mark.parametrize("balancer", ["ring_hash", "maglev"])
def test_keys(sidecar: Callable[..., Sidecar], services: Make, balancer: str) -> None:
    port = free_port()
    a, b = made = services("a", "b")
    proxy = sidecar(config(port, a.address, b.address, load_balancer=balancer, balancing={
        "hash": {"keys": [{"header": "x-user"}], "load_bound": "100%"}}))
    for _ in range(3):
        ask(port, "/")
    assert metric(proxy, "keyless_requests_total") == 3
    home = ask(port, "/", headers={"x-user": "ada"}).text
    assert metric(proxy, "load_bound_skips_total") == 0
    hold, begun = threading.Event(), threading.Event()

    def slowly(_: BaseHTTPRequestHandler) -> Reply:
        begun.set()
        hold.wait(10)
        return 200, {}
    busy = next(service for service in made if service.name == home)
    busy.reply = slowly
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, port, "/", headers={"x-user": "ada"})
        assert begun.wait(10)
        # Of two requests in flight one is a half: the key's second endpoint takes the other.
        assert ask(port, "/", headers={"x-user": "ada"}).text != home
        hold.set()
        assert slow.result().text == home
    assert metric(proxy, "load_bound_skips_total") >= 1
    assert metric(proxy, "keyless_requests_total") == 3
