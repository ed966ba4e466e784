"""Each piece of code of docs/filters/how-to.md does what its section says."""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from filtering import FakeMesh, Reply, asked_again, finished, make, run

from fastmesh import Filter, LoadBalancer, Response, shared

PAGE = (Path(__file__).parents[3] / "docs" / "filters" / "how-to.md").read_text()


def classes():
    """Of the page, by name: each block is a module of its own."""
    found = {}
    for n, block in enumerate(re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)):
        module = ModuleType(f"how_to_{n}")
        exec(compile(block, f"how-to.md, block {n}", "exec"), module.__dict__)
        here = [each for each in vars(module).values()
                if isinstance(each, type) and issubclass(each, (Filter, LoadBalancer))
                and each.__module__ == module.__name__]
        assert len(here) == 1, block
        found[here[0].__name__] = here[0]
    return found


CLASSES = classes()


def test_each_class_has_a_test():
    tested = set(re.findall(r"CLASSES\[\"(\w+)\"\]", Path(__file__).read_text()))
    assert tested == set(CLASSES)


def test_label_tenant():
    assert run(make(CLASSES["LabelTenant"]), headers={"x-tenant": "blue"}).labels == {"tenant": "blue"}
    assert run(make(CLASSES["LabelTenant"])).labels == {"tenant": "nobody"}


def test_insiders(filter_kit):
    kit = filter_kit(CLASSES["Insiders"](users=("ada",)))
    kit.cluster("upstream", subsets=[{"version": "v1"}, {"version": "v2"}])
    found = [kit.get("/", headers={"x-user": "ada"}).upstream.metadata["version"] for _ in range(4)]
    assert found == ["v2"] * 4 and kit.get("/", headers={"x-user": "bob"}).subset is None


def test_timing(filter_kit):
    said = re.search(r"-H '([\w-]+): 1' .*\n(server-timing): HeaderRules;dur=", PAGE)
    timing = filter_kit(CLASSES["HeaderRules"]).get("/", headers={said[1]: "1"}).headers[said[2]]
    assert re.search(r"(^|, )HeaderRules;dur=\d+\.\d{3}(,|$)", timing)


def test_maintenance():
    door = make(CLASSES["Maintenance"], testers=("10.0.0.7",))
    assert run(door).status == 200
    shared.Flag("maintenance").set()
    try:
        got = run(door)
        assert got.status == 503 and not got.upstream and got.headers["retry-after"] == "60"
        assert run(door, peer="10.0.0.7").status == 200
    finally:
        shared.Flag("maintenance").clear()


def test_one_host():
    one = make(CLASSES["OneHost"], host="shop.example")
    got = run(one, target="/a?b=c", headers={"host": "www.shop.example"})
    assert (got.status, got.headers["location"]) == (308, "https://shop.example/a?b=c")
    assert run(one, headers={"host": "shop.example"}).status == 200


def test_header_rules():
    got = run(make(CLASSES["HeaderRules"]), headers={"host": "a.example", "X-Internal": "1"},
              answer=Response(200, text="x", headers={"set-cookie": "mine=1"}))
    assert got.request.headers["x-forwarded-host"] == "a.example" and "x-internal" not in got.request.headers
    assert got.headers.get_all("set-cookie") == ["mine=1", "seen=1; Path=/; HttpOnly"]


@pytest.mark.parametrize(("target", "path", "version"), [
    ("/v1/users", "/users", "v1"), ("/v2/", "/", "v2"), ("/v3/users", "/v3/users", None), ("/v1", "/v1", None)])
def test_strip_version(target, path, version):
    got = run(make(CLASSES["StripVersion"]), target=target)
    assert got.line == f"GET {path} HTTP/1.1" and got.request.headers.get("x-api-version") == version


def test_by_tenant():
    by = make(CLASSES["ByTenant"], clusters={"big": "own"})
    assert run(by, headers={"x-tenant": "big"}, clusters=("own",)).cluster == "own"
    assert run(by, headers={"x-tenant": "small"}, clusters=("own",)).cluster != "own"


def test_by_user(filter_kit):
    kit = filter_kit().balance(CLASSES["ByUser"], endpoints=4)
    users = [f"user-{i}" for i in range(40)]

    def homes():
        return {user: kit.get(headers={"x-user": user}).upstream.endpoint for user in users}

    before = homes()
    assert homes() == before and len(set(before.values())) == 4
    assert len({kit.get().upstream.endpoint for _ in range(8)}) == 4
    kit.pretend(0, is_avoided=True)
    moved = {user for user, home in homes().items() if home != before[user]}
    assert moved == {user for user, home in before.items() if home == kit.upstream.endpoints[0]}
def test_next_version(filter_kit):
    kit = filter_kit(CLASSES["NextVersion"](to="next", share=0.3))
    kit.cluster("next")
    found = {}
    for i in range(200):
        reply = kit.get(headers={"x-user": f"user-{i}"})
        found[i] = reply.cluster
        assert reply.labels == {"version": reply.cluster} and reply.upstream.cluster == reply.cluster
    assert all(kit.get(headers={"x-user": f"user-{i}"}).cluster == found[i] for i in range(20))
    assert 30 <= sum(name == "next" for name in found.values()) <= 90
    nobody = filter_kit(CLASSES["NextVersion"](to="next", share=0.0))
    nobody.cluster("next")
    assert {nobody.get().cluster for _ in range(20)} == {"upstream"}


@pytest.mark.parametrize(("target", "told", "timeout"), [
    ("/reports/1", None, 60.0), ("/reports/1", "1500", 1.5), ("/", "1500", 1.5), ("/", None, None), ("/", "x", None)])
def test_reports(target, told, timeout):
    got = run(make(CLASSES["Reports"]), target=target, headers={"x-timeout-ms": told} if told else {})
    assert got.timeout == timeout


@pytest.mark.parametrize(("body", "status"), [
    (b'{"a": 1}', 200), (b"[1]", 400), (b"{", 400), (b"\xff", 400), (b"[" * 100_000, 400)])
def test_json_only(body, status):
    got = run(make(CLASSES["JsonOnly"]), "POST", headers={"content-type": "application/json"}, body=body)
    assert (got.status, got.upstream) == (status, status == 200)
    assert run(make(CLASSES["JsonOnly"]), "POST", headers={"content-type": "text/plain"}, body=body).status == 200


def test_hide_prices():
    def answer():
        return Response(200, json={"name": "tea", "price": 3})

    got = run(make(CLASSES["HidePrices"]), answer=answer())
    assert json.loads(got.body) == {"name": "tea"} and got.request.headers["accept-encoding"] == "identity"
    got = run(make(CLASSES["HidePrices"]), headers={"authorization": "x"}, answer=answer())
    assert json.loads(got.body)["price"] == 3


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/hal+json"])
def test_prices_are_hidden_in_whatever_is_json(kind):
    answer = Response(200, body=b'[{"price": 3, "of": [{"price": 4, "name": "tea"}]}]', headers={"content-type": kind})
    assert json.loads(run(make(CLASSES["HidePrices"]), answer=answer).body) == [{"of": [{"name": "tea"}]}]


def test_prices_in_json_that_cannot_be_read_are_not_told():
    answer = Response(200, body=b'{"price": 3', headers={"content-type": "application/json"})
    got = run(make(CLASSES["HidePrices"]), answer=answer, fails=True)
    assert got.status == 503 and b"price" not in got.body


def test_count_lines():
    counting = make(CLASSES["CountLines"])
    got = run(counting, answer=Response(200, body=b"a\nb\nc"))
    assert got.body == b"a\nb\nc" and counting.lines.labels().value == 2 and got.length == "5"


def test_first_byte():
    first = make(CLASSES["FirstByte"])
    assert float(run(first).headers["x-upstream-ms"]) >= 0
    finished(first, duration=2.0, target="/slow")
    finished(first, duration=0.5)
    assert len(first.log.lines) == 1 and "/slow took 2.0 s" in first.log.lines[0]


def test_once_per_key():
    once = make(CLASSES["OncePerKey"])
    statuses = [run(once, "POST", headers={"idempotency-key": key}).status for key in ("a", "b", "a")]
    assert statuses == [200, 200, 409]
    assert [run(once, headers={"idempotency-key": "a"}).status for _ in range(2)] == [200, 200]


def test_profile():
    profile = make(CLASSES["Profile"], mesh=FakeMesh(Reply(200, {"plan": "gold"}), Reply(404, {})))
    assert run(profile, headers={"x-user": "7"}).request.headers["x-plan"] == "gold"
    assert profile.mesh.asked == [("profiles", "/users/7")]
    assert run(profile, headers={"x-user": "8"}).status == 502
    assert run(profile).status == 200


def test_slow_down():
    got = run(make(CLASSES["SlowDown"], seconds=0.2), pause="250ms")
    assert got.status == 200 and got.waited


def test_safe_retries(filter_kit):
    kit = filter_kit(CLASSES["SafeRetries"])
    kit.upstream.answers(503, times=2)
    reply = kit.get("/users")
    assert reply.status == 200 and len(reply.requests) == 3 and reply.retry.attempts == 3
    kit.upstream.fails("silence", times=1)
    reply = kit.get("/users")
    assert reply.status == 200 and 1.0 <= reply.elapsed < 1.5
    for method, path in (("GET", "/payments/1"), ("POST", "/users")):
        kit.upstream.answers(503, times=1)
        reply = kit.request(method, path)
        assert reply.status == 503 and len(reply.requests) == 1
    assert kit.get("/payments/1").retry is None


def test_no_second_order():
    never = make(CLASSES["NoSecondOrder"])
    assert asked_again(never, target="/orders/1") is False and asked_again(never, target="/") is None


def test_sizes():
    sizes = make(CLASSES["Sizes"])
    finished(sizes, status=404, sent=1234)
    assert sizes.sizes.labels(**{"class": "4xx"}).sum == 1234


def test_everything():
    everything = make(CLASSES["Everything"], upstream_key="s3cret")
    assert run(everything).request.headers["x-upstream-key"] == "s3cret"
    assert (everything.limit, everything.patience, everything.sample, everything.quota) == (1 << 20, 1.5, 0.1, None)
    with pytest.raises(ValueError, match="quota is 0 or more"):
        make(CLASSES["Everything"], upstream_key="x", quota=-1)


def test_reverse_name(monkeypatch, filter_kit):
    monkeypatch.setattr("socket.gethostbyaddr", lambda address: (f"host-of-{address}", [], []))
    assert CLASSES["ReverseName"].isolated
    kit = filter_kit(CLASSES["ReverseName"])
    assert kit.get("/").upstream.headers["x-client-name"] == "host-of-127.0.0.1"

    def fail(address):
        raise OSError("no name")

    monkeypatch.setattr("socket.gethostbyaddr", fail)
    reply = kit.get("/")
    assert reply.status == 200 and "x-client-name" not in reply.upstream.headers


def test_office_hours():
    assert run(make(CLASSES["OfficeHours"], first=0, last=24), "DELETE").status == 200
    closed = make(CLASSES["OfficeHours"], first=0, last=0)
    assert [run(closed, method).status for method in ("DELETE", "GET")] == [403, 200]


def test_slow(tmp_path):
    slow = make(CLASSES["Slow"], path=str(tmp_path / "log"))
    finished(slow, duration=0.5)
    finished(slow, duration=2.0, target="/slow", status=200)
    assert re.fullmatch(r"2\.000 s  GET /slow  200  \S+\n", (tmp_path / "log").read_text())


def test_per_token():
    limit = make(CLASSES["PerToken"], rate=0.01, burst=1)
    asked = [{"authorization": "a"}, {"authorization": "b"}, {"authorization": "a"}, {}, {}]
    statuses = [run(limit, headers=headers).status for headers in asked]
    assert statuses == [200, 200, 429, 200, 429]
