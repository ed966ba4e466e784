"""Each example of docs/filters/reference.md, which is one of a docstring, does what it is there for."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import fastmesh
import fastmesh.testing
from fastmesh import Discovery, Filter, Healer, LoadBalancer
from fastmesh.filters.builtin.problem_details import ProblemDetails
from fastmesh.testing import Kit, Proxy, endpoint, take_sets, tell_healer

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/filters/reference.md").read_text()
# How something is called or made, or what may be written with it: nothing that could be run.
SHOWN = re.compile(r"(async )?def \w+\((?!self|\w+\):\n).*\) ->|[\w.]+\(([^)]*\w: |\)\n\Z)|"
                   r"\w+ = \w+(\[| \|)|(del )?\w+\[name\]|\w+ in \w+ ->|for each in \w+|len\(\w+\)|if \w+$", re.DOTALL)


def examples():
    """Of each section, in order."""
    found = {}
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        name = section.partition("\n")[0]
        blocks = re.findall(r"^```python\n(.*?)^```$", section.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
        for block in blocks:
            if not SHOWN.match(block) or "self" in block:
                found.setdefault(name, []).append(block)
    return found


EXAMPLES = examples()


def names(**known):
    """What an example may name without saying where it is from."""
    return {**{name: getattr(fastmesh, name) for name in fastmesh.__all__},
            **{name: getattr(fastmesh.testing, name) for name in fastmesh.testing.__all__},
            "__name__": "example", **known}


def run(text, **known):
    """The example, run as a module; what there is then."""
    space = names(**known)
    exec(compile("from __future__ import annotations\n" + text, "reference.md", "exec"), space)
    return SimpleNamespace(**space)


def test_each_example_has_a_test():
    text = Path(__file__).read_text()
    tested = {(name, int(number or 0)) for name, number in
              re.findall(r'EXAMPLES\["([\w.() ]+)"\]\[(\d)\]', text)}
    assert len(tested) > 15
    assert tested == {(name, i) for name, blocks in EXAMPLES.items() for i in range(len(blocks))}


def test_filter(filter_kit):
    kit = filter_kit(run(EXAMPLES["Filter"][0]).RequireTenant(header="x-team"))
    reply = kit.get()
    assert (reply.status, reply.text) == (400, "missing x-team\n")
    assert kit.get(headers={"x-team": "blue"}).status == 200


def test_split(filter_kit):
    class Split(Filter):
        def on_route(self, request):
            exec(EXAMPLES["Request"][0], {"request": request})

    kit = filter_kit(Split)
    kit.cluster("app"), kit.cluster("app-next")
    got = [kit.get(headers={"x-user": f"user-{i}"}) for i in range(200)]
    assert all(reply.cluster == reply.labels["version"] for reply in got)
    assert {reply.cluster for reply in got} == {"app", "app-next"}
    assert {kit.get(headers={"x-user": "user-7"}).cluster for _ in range(5)} == {got[7].cluster}


def test_retry(filter_kit):
    kit = filter_kit(run(EXAMPLES["Retry"][0]).RetryReads)
    kit.upstream.fails("reset", times=2)
    assert kit.get().status == 200 and len(kit.upstream.requests) == 3
    kit.upstream.answers(503, times=1)
    assert kit.post(body="x").status == 503 and len(kit.upstream.requests) == 4


def test_signal(filter_kit):
    kit = filter_kit(run(EXAMPLES["Signal"][0]).BehindTheFirst)
    kit.upstream.answers(after=1.0)
    first, second, third = kit.begin("GET", "/a"), kit.begin("GET", "/a"), kit.begin("GET", "/b")
    assert [asked.path for asked in kit.upstream.requests] == ["/a", "/b"]
    second.leave()
    fourth = kit.begin("GET", "/a")
    kit.pass_time(1.0)
    assert first.status == third.status == 200 and not fourth.is_complete
    kit.pass_time(1.0)
    assert fourth.status == 200 and len(kit.upstream.requests) == 3


def test_mesh(filter_kit):
    kit = filter_kit(run(EXAMPLES["Mesh"][0]).WithUser)
    users = kit.cluster("users")
    users.answers(json={"name": "eva"}, times=1)
    assert kit.get("/", headers={"cookie": "session=abc"}).upstream.headers["x-user"] == "eva"
    assert users.requests[0].path == "/by-session/abc"
    users.answers(404, times=1)
    assert kit.get().status == 401
    users.fails("silence")
    reply = kit.get()
    assert (reply.status, reply.text) == (503, "try again\n") and reply.log[0].text.startswith("users: ")


def test_metrics(filter_kit):
    kit = filter_kit(run(EXAMPLES["Metrics"][0]).Refusals)
    assert kit.get().status == 400 and kit.get(headers={"x-tenant": "blue"}).status == 200
    assert kit.metric("refused", method="GET") == 1
    assert "fastmesh_filter_Refusals_refused_total" in kit.filters[0].metrics._declared


def test_shared(filter_kit):
    kit = filter_kit(run(EXAMPLES["shared"][0]).PerTenant(rate=0.01))
    who = {"x-tenant": "of-the-reference"}
    replies = [kit.get(headers=who) for _ in range(202)]
    assert replies[199].status == 200 and replies[201].status == 429
    assert replies[201].headers["retry-after"] == "100"


def test_authorizer(filter_kit):
    kit = filter_kit(run(EXAMPLES["Authorizer"][0]).Staff)
    assert kit.get(headers={"x-team": "staff"}).status == 200 and kit.get().status == 403


def test_rate_limit_key(filter_kit):
    kit = filter_kit(run(EXAMPLES["RateLimitKey"][0]).PerTenant(rate=0.01, burst=2))
    assert [kit.get(headers={"x-tenant": "a"}).status for _ in range(3)] == [200, 200, 429]
    assert kit.get(headers={"x-tenant": "b"}).status == kit.get().status == 200


def test_access_logger(filter_kit):
    kit = filter_kit(run(EXAMPLES["AccessLogger"][0]).Slow)
    assert not kit.get("/fast").log
    kit.upstream.answers(after=1.5)
    kit.get("/slow")
    assert [line.text for line in kit.log] == ["/slow 1.500"]


def test_fallback(filter_kit):
    kit = filter_kit().fall_back(run(EXAMPLES["Fallback"][0]).LastKnownPrice(currency="CHF"))
    kit.cluster("catalogue").answers(json={"price": 12})
    kit.upstream.fails("reset")
    reply = kit.get("/a")
    assert (reply.status, reply.json()) == (200, {"price": 12, "currency": "CHF"})
    kit.cluster("catalogue").answers(404)
    assert kit.get("/a").status == 503


def test_load_balancer():
    balancer = run(EXAMPLES["LoadBalancer"][0]).FewestFailures(harm=9.0)
    assert balancer.weights([endpoint(weight=2), endpoint(requests=9, failures=5)]) == [2, pytest.approx(1 / 5.5)]


def test_discovery():
    import asyncio

    asked = []

    def ask_registry(service):
        asked.append(service)
        return [f"10.0.0.{len(asked)}:80"]

    policy = run(EXAMPLES["Discovery"][0], asyncio=asyncio, ask_registry=ask_registry).FromRegistry
    assert take_sets(policy(service="shop", interval=0.001), 2) == [["10.0.0.1:80"], ["10.0.0.2:80"]]
    assert asked == ["shop", "shop"]


def test_healer():
    import asyncio

    told = []
    policy = run(EXAMPLES["Healer"][0], asyncio=asyncio, restart=lambda *said: told.append(said)).Restart
    tell_healer(policy(url="http://ops"))
    assert told == [("http://ops", "10.0.0.1:80")]


def tenants():
    """The filter that the examples of tests name."""
    return run((ROOT / "examples/filters/require_tenant.py").read_text()).RequireTenant


def test_kit(filter_kit):
    run(EXAMPLES["Kit"][0], Kit=filter_kit, RequireTenant=tenants())


def test_kit_with_a_fallback(filter_kit):
    run(EXAMPLES["Kit"][1], Kit=filter_kit, ProblemDetails=ProblemDetails)


def test_proxy(tmp_path, monkeypatch):
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").touch()
    (tmp_path / "my_package" / "tenants.py").write_text((ROOT / "examples/filters/require_tenant.py").read_text())
    monkeypatch.syspath_prepend(tmp_path)
    run(EXAMPLES["Proxy"][0])


def test_made_up_endpoints():
    class Fastest(LoadBalancer):
        def weights(self, endpoints):
            slowest = max(each.latency for each in endpoints)
            return [round(slowest / each.latency) for each in endpoints]

    run(EXAMPLES["endpoint (of tests)"][0], Fastest=Fastest)


def test_sets_of_a_discovery():
    class FromRegistry(Discovery):
        url: str

        async def endpoints(self):
            yield ["10.0.0.2:80", "10.0.0.1:80"] if self.url == "http://registry" else []

    run(EXAMPLES["take_sets"][0], FromRegistry=FromRegistry).test_what_the_registry_has(
        SimpleNamespace(url="http://registry"))


def test_what_a_healer_is_told():
    restarted = []

    class Restart(Healer):
        url: str

        async def on_ejected(self, event):
            restarted.append(event.endpoint)

    run(EXAMPLES["tell_healer"][0], Restart=Restart).test_it_restarts_who_is_ejected(
        SimpleNamespace(url="http://ops", restarted=restarted))


def test_the_kit_is_the_fixtures_too(filter_kit, filter_proxy):
    assert issubclass(filter_kit, Kit) and issubclass(filter_proxy, Proxy)
