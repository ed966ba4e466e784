"""Parts of a cluster by the metadata of its endpoints, with real processes, connections and failures."""

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from integration.harness import FASTMESH, Sidecar, ask, free_port, until
from integration.mesh import Mesh
from integration.service import Reply, Service

Make = Callable[..., list[Service]]
V1, V2 = {"version": "v1"}, {"version": "v2"}


def one(service: Service, metadata: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"address": service.address, "metadata": metadata, **more}


def use(mesh: Mesh, endpoints: list[dict[str, Any]], route: dict[str, Any], subsets: dict[str, Any] | None = None,
        **cluster: Any) -> None:
    mesh.configure({
        "listeners": [{"name": "web", "plain_answers": True,
                       "routes": [{"match": {"prefix": "/"}, "cluster": "app", **route}]}],
        "clusters": [{"name": "app", "endpoints": endpoints, "load_balancer": "round_robin",
                      "subsets": {"selectors": [{"keys": ["version"]}], **(subsets or {})}, **cluster}]})


def texts(mesh: Mesh, count: int, *fields: str) -> Counter[str]:
    client = mesh.connect()
    return Counter(client.ask("/", "GET", *fields).text for _ in range(count))


BY_HEADER = {"subset": {"version": {"header": "x-version"}}}


def test_a_header_says_which(mesh: Mesh, services: Make) -> None:
    a, b, c = services("a", "b", "c")
    use(mesh, [one(a, V1), one(b, V2), one(c, V1)], BY_HEADER)
    assert texts(mesh, 40, "x-version: v1") == {"a": 20, "c": 20}
    assert texts(mesh, 9, "X-Version: v2") == {"b": 9}
    # It says nothing, or nothing that there is.
    assert texts(mesh, 30) == {"a": 10, "b": 10, "c": 10}
    assert texts(mesh, 30, "x-version:") == {"a": 10, "b": 10, "c": 10}
    assert texts(mesh, 30, "x-version: v3") == {"a": 10, "b": 10, "c": 10}


def test_where_there_is_none(mesh: Mesh, services: Make) -> None:
    a, b = services("a", "b")
    use(mesh, [one(a, V1), one(b, V2)], BY_HEADER, {"fallback": "none"})
    answer = mesh.connect().ask("/", "GET", "x-version: v3")
    assert answer.status == 503 and "in the subset that was asked for" in answer.text
    assert mesh.count("no_endpoint") == 1
    use(mesh, [one(a, V1), one(b, V2)], BY_HEADER, {"fallback": "default", "default": V2})
    assert texts(mesh, 5, "x-version: v3") == {"b": 5} and texts(mesh, 5) == {"b": 5}
    assert texts(mesh, 5, "x-version: v1") == {"a": 5}


def test_a_retry_stays_within(mesh: Mesh, services: Make) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = lambda _: (503, {})
    retry = {"retry": {"on": ["5xx", "connect-failure"], "attempts": 3, "backoff": {"base": "1ms", "max": "1ms"}},
             "subset": V2}
    gone = f"127.0.0.1:{free_port()}"
    more = {"retry_budget": {"share": "100%", "per_second": 100}, "outlier": {"enabled": False}}
    use(mesh, [one(bad, V2), one(good, V2), one(other, V1)], retry, **more)
    assert texts(mesh, 20) == {"good": 20} and bad.requests > 0
    # Nobody of the subset is well: others are not asked for it.
    use(mesh, [one(bad, V2), {"address": gone, "metadata": V2}, one(other, V1)], retry, **more)
    assert {mesh.connect().ask("/").status for _ in range(6)} == {503}
    assert other.requests == 0


def test_a_hedge_stays_within(mesh: Mesh, services: Make) -> None:
    slow, quick, *others = services("slow", "quick", "x", "y", "z")
    hold = threading.Event()

    def slowly(_: BaseHTTPRequestHandler) -> Reply:
        hold.wait(10)
        return 200, {}
    slow.reply = slowly
    use(mesh, [one(slow, V2), *(one(service, V1) for service in others), one(quick, V2)],
        {"subset": V2, "hedge": {"delay": "20ms", "budget": {"share": "100%", "per_second": 100}}})
    assert texts(mesh, 10) == {"quick": 10}
    assert mesh.cluster()["hedges"] == slow.requests > 0
    assert sum(service.requests for service in others) == 0
    hold.set()


def test_who_is_ejected_is_out_of_all(mesh: Mesh, services: Make) -> None:
    """Requests of the subset find it, and those of the whole know it; the third that may be out is of the whole."""
    bad, good, *others = services("bad", "good", "x", "y", "z", "w")
    bad.reply = lambda _: (503, {})
    mesh.configure({
        "listeners": [{"name": "web", "routes": [
            {"match": {"prefix": "/v2"}, "cluster": "app", "subset": V2},
            {"match": {"prefix": "/"}, "cluster": "app"}]}],
        "clusters": [{"name": "app", "load_balancer": "round_robin", "subsets": {"selectors": [{"keys": ["version"]}]},
                      "outlier": {"gateway_errors": 2, "base": "60s", "jitter": "0%"},
                      "endpoints": [one(bad, V2), one(good, V2), *(one(service, V1) for service in others)]}]})
    client = mesh.connect()
    for _ in range(4):
        client.ask("/v2")
    assert bad.requests == 2
    assert [client.ask("/").text for _ in range(20)].count("bad") == 0
    assert {client.ask("/v2").text for _ in range(10)} == {"good"}
    # Alone in its subset, it would be out as well: a request takes whoever is left.
    good.reply = lambda _: (503, {})
    assert {client.ask("/v2").status for _ in range(4)} == {503}
    assert {client.ask("/").status for _ in range(10)} == {200}
    assert client.ask("/v2").status == 503 and {client.ask("/").text for _ in range(10)} == {"x", "y", "z", "w"}


def test_a_session_moves_into_its_subset(mesh: Mesh, services: Make) -> None:
    a, b, c = services("a", "b", "c")
    use(mesh, [one(a, V1), one(b, V1), one(c, V2)], BY_HEADER,
        balancing={"sticky": {"header": "x-home", "secret": "0123456789abcdef"}})
    client = mesh.connect()
    first = client.ask("/", "GET", "x-version: v1")
    home = first.get("x-home")
    assert {client.ask("/", "GET", "x-version: v1", f"x-home: {home}").text for _ in range(6)} == {first.text}
    # Of the whole it is an endpoint like any other.
    assert client.ask("/", "GET", f"x-home: {home}").text == first.text
    assert {client.ask("/", "GET", "x-version: v2", f"x-home: {home}").text for _ in range(6)} == {"c"}


def test_limits_are_of_the_whole(mesh: Mesh, services: Make) -> None:
    a, b = services("a", "b")
    hold, begun = threading.Event(), threading.Event()

    def slowly(_: BaseHTTPRequestHandler) -> Reply:
        begun.set()
        hold.wait(10)
        return 200, {}
    a.reply = slowly
    use(mesh, [one(a, V1), one(b, V2)], BY_HEADER, max_requests=1)
    slow = mesh.connect().send("GET / HTTP/1.1\r\nhost: x\r\nx-version: v1\r\n\r\n")
    assert begun.wait(10)
    assert mesh.connect().ask("/", "GET", "x-version: v2").status == 503
    hold.set()
    assert slow.read_answer().text == "a"
    assert mesh.connect().ask("/", "GET", "x-version: v2").text == "b"


def test_who_cannot_ask_has_the_default(mesh: Mesh, services: Make) -> None:
    """A step of a fallback, a copy, and a TCP connection."""
    a, b, plain = services("a", "b", "plain")
    mesh.configure({
        "listeners": [
            {"name": "web", "routes": [
                {"match": {"prefix": "/copied"}, "cluster": "plain", "mirrors": [{"cluster": "app"}]},
                {"match": {"prefix": "/"}, "cluster": "gone", "fallback": [{"cluster": "app"}]}]},
            {"name": "raw", "protocol": "tcp", "cluster": "app"}],
        "clusters": [
            {"name": "gone", "endpoints": [f"127.0.0.1:{free_port()}"]},
            {"name": "plain", "endpoints": [plain.address]},
            {"name": "app", "endpoints": [one(a, V1), one(b, V2)], "load_balancer": "round_robin",
             "subsets": {"selectors": [{"keys": ["version"]}], "fallback": "default", "default": V2}}]})
    assert texts(mesh, 4) == {"b": 4}
    assert {mesh.connect("raw").ask("/").text for _ in range(4)} == {"b"}
    client = mesh.connect()
    assert {client.ask("/copied").text for _ in range(4)} == {"plain"}
    until(lambda: b.requests == 12)
    assert a.requests == 0


# --- a canary, and what is found ---

def canary(port: int, endpoints: Any) -> dict[str, Any]:
    return {
        "workers": 2,
        "listeners": [{"name": "web", "address": f"127.0.0.1:{port}", "routes": [
            {"name": "chosen", "match": {"prefix": "/", "headers": {"x-version": {"present": True}}}, "cluster": "app",
             "subset": {"version": {"header": "x-version"}}},
            {"name": "shared", "match": {"prefix": "/"}, "clusters": [
                {"cluster": "app", "weight": 80, "subset": V1}, {"cluster": "app", "weight": 20, "subset": V2}]}]}],
        "clusters": [{"name": "app", "endpoints": endpoints,
                      "subsets": {"selectors": [{"keys": ["version"]}], "fallback": "default", "default": V1}}]}


def asked(port: int, count: int, version: str = "") -> Counter[str]:
    headers = {"x-version": version} if version else {}
    return Counter(ask(port, "/", headers=headers).text for _ in range(count))


def metric(sidecar: Sidecar, name: str, **labels: str) -> float:
    text = ",".join(f'{key}="{value}"' for key, value in {"cluster": "app", **labels}.items())
    return sidecar.metrics().get(f"fastmesh_cluster_{name}{{{text}}}", 0)


def test_a_canary_by_version(sidecar: Callable[..., Sidecar], services: Make) -> None:
    port = free_port()
    a, b, c = services("a", "b", "c")
    proxy = sidecar(canary(port, [one(a, V1), one(b, V1), one(c, V2)]))
    assert set(asked(port, 20, "v1")) == {"a", "b"} and asked(port, 5, "v2") == {"c": 5}
    assert set(asked(port, 7, "v9")) <= {"a", "b"}
    # By chance: of 400 a fifth is 80, and one in a million lots is further than 40 from that.
    assert 40 <= asked(port, 400)["c"] <= 120
    assert metric(proxy, "subset_requests_total", chosen="subset") == 425
    assert metric(proxy, "subset_requests_total", chosen="default") == 7
    assert metric(proxy, "subsets") == 2 and metric(proxy, "subset_endpoints_left_out") == 0

    def explained(*more: str) -> str:
        return subprocess.run([FASTMESH, "explain", proxy.path, "GET", f"http://127.0.0.1:{port}/", *more], check=True,
                              capture_output=True, text=True).stdout
    said = explained("-H", "x-version: v2")
    assert "  subset: version=v2: 1 endpoint\n" in said and f"    {c.address}\n" in said
    assert "subsets[" not in said and "the route asks for" in said
    assert "no endpoint is in version=v7: the default instead, version=v1: 2 endpoints" in explained(
        "-H", "x-version: v7")
    assert "app (version=v1) 80 %, app (version=v2) 20 %" in explained()
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(proxy.admin, "/explain?path=/&seconds=10", "POST")
        until(lambda: not asked(port, 1, "v2") or seen.done())
        assert seen.result().json["subset"] == {"chosen": "subset", "has": V2}


def test_what_is_found_has_subsets_too(sidecar: Callable[..., Sidecar], services: Make, tmp_path: Path) -> None:
    port, found = free_port(), tmp_path / "found.json"
    # In the order of their addresses, as found endpoints stand: beyond a limit are the last.
    a, b, c = sorted(services("x", "y", "z"), key=lambda service: int(service.address.rpartition(":")[2]))
    a.name, b.name, c.name = "a", "b", "c"

    def tell(*endpoints: dict[str, Any]) -> None:
        fresh = found.with_suffix(".new")
        fresh.write_text(json.dumps(endpoints))
        fresh.replace(found)

    tell(one(a, V1), one(b, V1))
    config = canary(port, {"use": "file", "path": str(found), "interval": "10ms", "debounce": "10ms"})
    config["clusters"][0]["subsets"]["max"] = 2
    # What one answer shows to be there is there for the next: two workers learn of it one after the other.
    config["workers"] = 1
    proxy = sidecar(config)
    assert set(asked(port, 20, "v2")) == {"a", "b"}
    tell(one(a, V1), one(b, V1), one(c, V2))
    until(lambda: asked(port, 1, "v2") == {"c": 1})
    assert set(asked(port, 20, "v1")) == {"a", "b"}
    # Another version of an endpoint that stays.
    tell(one(a, V1), one(b, V2), one(c, V2))
    until(lambda: set(asked(port, 10, "v2")) == {"b", "c"})
    assert asked(port, 10, "v1") == {"a": 10}
    # A third is beyond the limit: who is asked for it is found by the fallback.
    tell(one(a, V1), one(b, V2), one(c, {"version": "v3"}))
    until(lambda: metric(proxy, "subset_endpoints_left_out") == 1)
    assert metric(proxy, "subsets") == 2 and asked(port, 10, "v3") == {"a": 10}
    tell(one(c, {"version": "v3"}))
    until(lambda: asked(port, 1, "v3") == {"c": 1})
    assert ask(port, "/", headers={"x-version": "v1"}).status == 503


CHOOSER = '''
from fastmesh import Filter


class Chooser(Filter):
    """The version by the name of a user."""

    def on_request(self, request):
        request.headers["x-version"] = "v2" if request.headers.get("x-user") == "ada" else "v1"
'''


SENDERS = '''
from fastmesh import Filter


class Sends(Filter):
    """Ada to the second version, and whoever is lost to one that there is not."""

    def on_route(self, request):
        user = request.headers.get("x-user")
        if user is not None:
            request.subset = {"version": {"ada": "v2", "lost": "v9"}.get(user, "v1")}
            request.labels["asked"] = request.subset["version"]

    def on_response(self, request, response):
        response.headers["x-subset"] = repr(request.subset)


class Isolated(Sends):
    isolated = True
'''


@pytest.mark.parametrize("use", ["Sends", "Isolated"])
def test_a_filter_says_which(sidecar: Callable[..., Sidecar], services: Make, tmp_path: Path, use: str) -> None:
    port = free_port()
    a, b = services("a", "b")
    (tmp_path / "send.py").write_text(SENDERS)
    config = canary(port, [one(a, V1), one(b, V2)])
    config["filters"] = [{"name": "send", "use": f"{tmp_path}/send.py:{use}"}]
    config["listeners"][0]["filters"] = ["send"]
    proxy = sidecar(config)

    def asked_as(user: str, **more: str) -> set[tuple[str, str | None]]:
        answers = [ask(port, "/", headers={"x-user": user, **more}) for _ in range(5)]
        return {(answer.text, answer.headers.get("x-subset")) for answer in answers}

    assert asked_as("ada") == {("b", repr(V2))} and asked_as("bob") == {("a", repr(V1))}
    # It says so behind the route, which asks for what a header says; and the cluster has a default.
    assert asked_as("ada", **{"x-version": "v1"}) == {("b", repr(V2))}
    assert asked_as("lost") == {("a", repr(V1))}
    assert metric(proxy, "subset_requests_total", chosen="subset") == 15
    assert metric(proxy, "subset_requests_total", chosen="default") == 5


def test_a_filter_chooses_by_the_header(sidecar: Callable[..., Sidecar], services: Make, tmp_path: Path) -> None:
    port = free_port()
    a, b = services("a", "b")
    (tmp_path / "choose.py").write_text(CHOOSER)
    config = canary(port, [one(a, V1), one(b, V2)])
    config["filters"] = [{"name": "choose", "use": f"{tmp_path}/choose.py:Chooser"}]
    config["listeners"][0]["filters"] = ["choose"]
    sidecar(config)
    found = {user: {ask(port, "/", headers={"x-user": user}).text for _ in range(5)} for user in ("ada", "bob")}
    assert found == {"ada": {"b"}, "bob": {"a"}}


def test_copies_go_to_the_subset_that_their_mirror_names(mesh: Mesh, services: Make) -> None:
    """The new version is tried on the traffic of the old one, in the same cluster."""
    old, new, other = services("old", "new", "other")
    use(mesh, [one(old, V1), one(new, V2), one(other, {"version": "v3"})],
        {"subset": V1, "mirrors": [{"cluster": "app", "subset": V2}]})
    before = mesh.count("mirrored")
    assert texts(mesh, 10) == {"old": 10}
    until(lambda: new.requests == 10)
    assert (other.requests, mesh.count("mirrored") - before) == (0, 10)
    # By what the request says, as upstreams get it; who says nothing is copied to any of them.
    use(mesh, [one(old, V1), one(new, V2), one(other, {"version": "v3"})],
        {"subset": V1, "mirrors": [{"cluster": "app", "subset": {"version": {"header": "x-try"}}}]},
        {"fallback": "none"})
    assert texts(mesh, 8, "x-try: v3") == {"old": 8}
    until(lambda: other.requests == 8)
    # One that asks for a version that there is not is copied to nobody, and the request itself is as it was.
    assert texts(mesh, 8, "x-try: v7") == {"old": 8}
    until(lambda: mesh.count("no_endpoint") == 8)
    assert (new.requests, other.requests) == (10, 8)


def test_what_the_new_version_fails_on_goes_to_the_old_one(mesh: Mesh, services: Make) -> None:
    old, new, other = services("old", "new", "other")
    new.reply = lambda _: (503, {})
    endpoints = [one(old, V1), one(new, V2), one(other, {"version": "v3"})]
    quiet = {"outlier": {"enabled": False}}
    use(mesh, endpoints, {"subset": V2, "fallback": [{"cluster": "app", "subset": V1}]}, **quiet)
    client = mesh.connect()
    answers = [client.ask("/") for _ in range(10)]
    assert {(answer.status, answer.text) for answer in answers} == {(200, "old")}
    assert {answer.get("x-fastmesh-degraded") for answer in answers} == {
        "cluster; reason=503; name=app"}
    assert (new.requests, old.requests, other.requests) == (10, 10, 0)
    # Without endpoints of its own it is no other than one whose endpoints fail.
    use(mesh, [endpoints[0], endpoints[2]], {"subset": V2, "fallback": [{"cluster": "app", "subset": V1}]},
        {"fallback": "none"})
    assert texts(mesh, 10) == {"old": 10}
    # A header says which; one that it takes away on the way is not there any more.
    use(mesh, endpoints, {"subset": V2, "fallback": [
        {"cluster": "app", "subset": {"version": {"header": "x-else", "default": "v1"}}}]}, **quiet)
    assert texts(mesh, 4, "x-else: v3") == {"other": 4} and texts(mesh, 4) == {"old": 4}


def test_a_step_to_where_it_has_just_failed_is_passed_over(mesh: Mesh, services: Make) -> None:
    old, new = services("old", "new")
    old.reply = new.reply = lambda _: (503, {})
    use(mesh, [one(old, V1), one(new, V2)], {
        "subset": {"version": {"header": "x-version"}},
        "fallback": [{"cluster": "app", "subset": V1}, {"response": {"status": 200, "body": "none is well"}}]},
        outlier={"enabled": False})
    assert texts(mesh, 5, "x-version: v1") == {"none is well": 5}
    assert (old.requests, new.requests) == (5, 0)
    assert texts(mesh, 5, "x-version: v2") == {"none is well": 5}
    assert (old.requests, new.requests) == (10, 5)


def test_a_step_that_names_no_subset_has_all_endpoints_of_its_cluster(mesh: Mesh, services: Make) -> None:
    bad, *others = services("bad", "a", "b")
    bad.reply = lambda _: (503, {})
    mesh.configure({
        "listeners": [{"name": "web", "routes": [
            {"match": {"prefix": "/"}, "cluster": "app", "subset": V2, "fallback": [{"cluster": "next"}]}]}],
        "clusters": [{"name": "app", "subsets": {"selectors": [{"keys": ["version"]}]}, "outlier": {"enabled": False},
                      "endpoints": [one(bad, V2)]},
                     {"name": "next", "subsets": {"selectors": [{"keys": ["version"]}]},
                      "load_balancer": "round_robin",
                      "endpoints": [one(others[0], V1), one(others[1], V2)]}]})
    assert texts(mesh, 10) == {"a": 5, "b": 5}
