"""Which endpoint a request goes to, with real answers and real connections."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from integration.mesh import Mesh, until
from integration.service import Reply, Service


def shares(mesh: Mesh, count: int, *fields: str, path: str = "/") -> dict[str, int]:
    """How often each service answered, one request after the other."""
    client = mesh.connect()
    counts: dict[str, int] = {}
    for _ in range(count):
        name = client.ask(path, "GET", *fields).text
        counts[name] = counts.get(name, 0) + 1
    return counts


def use(mesh: Mesh, *services: Service | dict[str, Any], **cluster: Any) -> None:
    endpoints = [{"address": s.address} if isinstance(s, Service) else s for s in services]
    mesh.configure({
        "listeners": [{"name": "web", "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]}],
        # What an algorithm does by itself.
        "clusters": [{"name": "app", "endpoints": endpoints, "outlier": {"enabled": False}, **cluster}]})


# --- peak_ewma, failure_aware_ewma ---

@pytest.mark.parametrize("balancer", ["peak_ewma", "failure_aware_ewma"])
def test_a_slow_service_is_left_alone(mesh: Mesh, services: Callable[..., list[Service]], balancer: str) -> None:
    quick, slow, other = services("quick", "slow", "other")
    hold = threading.Event()

    def slowly(_: BaseHTTPRequestHandler) -> Reply:
        hold.wait(1)
        return 200, {}
    slow.reply = slowly
    use(mesh, quick, slow, other, load_balancer=balancer)
    counts = shares(mesh, 60)
    # Measured once, as nobody knew it.
    assert counts["slow"] == 1
    assert quick.requests + other.requests == 59


@pytest.mark.parametrize(("balancer", "most"), [("failure_aware_ewma", 1), ("round_robin", 20)])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_one_that_fails_at_once_is_left_alone(mesh: Mesh, services: Callable[..., list[Service]], balancer: str,
                                              most: int, status: int) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = lambda _: (status, {})
    use(mesh, good, bad, other, load_balancer=balancer)
    assert shares(mesh, 60)["bad"] == most


def test_retry_after_says_for_how_long(mesh: Mesh, services: Callable[..., list[Service]]) -> None:
    """A penalty of nothing and a wait of a minute: only the one that asked for it is spared."""
    asks, says_nothing, good = services("asks", "says_nothing", "good")
    asks.reply = lambda _: (503, {"retry-after": "60"})
    says_nothing.reply = lambda _: (503, {})

    def take_a_while(_: BaseHTTPRequestHandler) -> Reply:
        threading.Event().wait(0.02)
        return 200, {}
    good.reply = take_a_while
    use(mesh, asks, says_nothing, good, load_balancer="failure_aware_ewma", balancing={"ewma": {"penalty": "0"}})
    counts = shares(mesh, 40)
    assert counts["asks"] == 1
    assert counts["says_nothing"] > 30


@pytest.mark.parametrize("balancer", ["peak_ewma", "failure_aware_ewma"])
def test_one_that_never_answers_is_left_alone(mesh: Mesh, services: Callable[..., list[Service]],
                                              balancer: str) -> None:
    dead, one, two = services("dead", "one", "two")
    hold = threading.Event()

    def never(_: BaseHTTPRequestHandler) -> Reply:
        hold.wait(10)
        return 200, {}
    dead.reply = never
    mesh.configure({
        "listeners": [{"name": "web", "timeouts": {"request": "300ms"},
                       "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]}],
        "clusters": [{"name": "app", "load_balancer": balancer,
                      "endpoints": [s.address for s in (dead, one, two)]}]})
    client = mesh.connect()
    statuses = [client.ask("/").status for _ in range(40)]
    hold.set()
    assert statuses.count(504) == 1 and statuses.count(200) == 39


def test_one_that_breaks_off_is_left_alone(mesh: Mesh, services: Callable[..., list[Service]]) -> None:
    good, broken, other = services("good", "broken", "other")

    def breaks(_: BaseHTTPRequestHandler) -> Reply:
        raise ConnectionError
    broken.reply = breaks
    use(mesh, good, broken, other, load_balancer="failure_aware_ewma")
    # Each was repeated elsewhere; the first was enough.
    assert set(shares(mesh, 60)) == {"good", "other"}
    assert broken.requests == 1


def test_one_that_clients_do_not_wait_for_is_left_alone(mesh: Mesh,
                                                        services: Callable[..., list[Service]]) -> None:
    slow, one, two = services("slow", "one", "two")
    hold, asked = threading.Event(), threading.Event()

    def slowly(_: BaseHTTPRequestHandler) -> Reply:
        asked.set()
        hold.wait(10)
        return 200, {}
    slow.reply = slowly
    use(mesh, slow, one, two, load_balancer="peak_ewma")
    while not asked.is_set():
        client = mesh.connect().send_request("/")
        if client.becomes_readable(2):
            assert client.read_answer().text in ("one", "two")
        else:
            client.reset()
    until(lambda: mesh.count("downstream_reset") >= 1)
    assert "slow" not in shares(mesh, 60)
    hold.set()


# --- ring_hash, maglev ---

HASHING = pytest.mark.parametrize("balancer", ["ring_hash", "maglev"])


def hashing(balancer: str, *keys: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"load_balancer": balancer, "balancing": {"hash": {"keys": list(keys), **more}}}


@HASHING
def test_a_header_decides(mesh: Mesh, services: Callable[..., list[Service]], balancer: str) -> None:
    use(mesh, *services(*"abcde"), **hashing(balancer, {"header": "X-User"}))
    homes = {user: shares(mesh, 3, f"x-user: {user}") for user in range(40)}
    assert all(len(home) == 1 for home in homes.values())
    assert len({name for home in homes.values() for name in home}) > 3
    # Who says nothing goes anywhere.
    assert len(shares(mesh, 40)) > 3


@HASHING
def test_the_first_key_that_is_there_decides(mesh: Mesh, services: Callable[..., list[Service]],
                                             balancer: str) -> None:
    use(mesh, *services(*"abcdefgh"), **hashing(balancer, {"header": "x-a"}, {"query": "user"}, {"cookie": "c"}))
    client = mesh.connect()

    def of(path: str, *fields: str) -> str:
        return client.ask(path, "GET", *fields).text
    for n in range(12):
        by_header = of("/", f"x-a: {n}")
        assert of(f"/?user=x&user={n}", f"x-a: {n}", "cookie: c=1") == by_header
        # What is told apart by is the value, wherever it stands.
        assert of(f"/p?a=b&user={n}&user=z", "cookie: c=9") == by_header
        assert of("/", f"cookie: b=c; d=1;c={n} ; e=2") == by_header
        assert of("/?user=", "cookie: cc=1", f"cookie: c={n}", "x-a:") == by_header


@HASHING
def test_the_source_decides(mesh: Mesh, services: Callable[..., list[Service]], balancer: str) -> None:
    use(mesh, *services(*"abcde"), **hashing(balancer, {"source": True}))
    homes = set()
    for n in range(2, 22):
        names = {mesh.connect(source=f"127.0.0.{n}").ask("/").text for _ in range(3)}
        assert len(names) == 1
        homes |= names
    assert len(homes) > 2


@HASHING
def test_a_cookie_is_made_for_who_has_none(mesh: Mesh, services: Callable[..., list[Service]],
                                           balancer: str) -> None:
    use(mesh, *services(*"abcde"), **hashing(balancer, {"cookie": "home", "ttl": "1.5h", "path": "/app"}))
    client = mesh.connect()
    names = set()
    for _ in range(20):
        answer = client.ask("/app")
        cookie, *attributes = (answer.get("set-cookie") or "").split("; ")
        assert attributes == ["Path=/app", "Max-Age=5400", "HttpOnly"]
        key, value = cookie.split("=")
        assert key == "home" and len(value) == 16
        names.add(answer.text)
        for _ in range(3):
            again = client.ask("/app", "GET", f"cookie: {cookie}")
            assert again.text == answer.text and again.get("set-cookie") is None
    assert len(names) > 2


@HASHING
def test_a_cookie_for_the_session_has_no_age(mesh: Mesh, services: Callable[..., list[Service]],
                                             balancer: str) -> None:
    use(mesh, *services("a", "b"), **hashing(balancer, {"cookie": "home", "ttl": "0"}))
    assert (mesh.connect().ask("/").get("set-cookie") or "").endswith("; Path=/; HttpOnly")


@HASHING
def test_a_key_moves_on_when_its_endpoint_is_gone(mesh: Mesh, services: Callable[..., list[Service]],
                                                  balancer: str) -> None:
    made = {service.name: service for service in services(*"abcd")}
    use(mesh, *made.values(), **hashing(balancer, {"header": "x-user"}))
    before = {user: next(iter(shares(mesh, 1, f"x-user: {user}"))) for user in range(30)}
    dead = before[0]
    made[dead].close()
    client = mesh.connect()
    for user, home in before.items():
        answer = client.ask("/", "GET", f"x-user: {user}")
        assert answer.status == 200
        assert (answer.text == home) == (home != dead)
    use(mesh, *[s for s in made.values() if s.name != dead], **hashing(balancer, {"header": "x-user"}))
    stayed = [next(iter(shares(mesh, 1, f"x-user: {user}"))) == home for user, home in before.items() if home != dead]
    assert all(stayed) or (balancer == "maglev" and stayed.count(False) <= 3)


def test_connections_have_a_source_too(mesh: Mesh, services: Callable[..., list[Service]]) -> None:
    made = services(*"abcde")
    mesh.configure({
        "listeners": [{"name": "web", "protocol": "tcp", "cluster": "app"}],
        "clusters": [{"name": "app", "endpoints": [s.address for s in made],
                      **hashing("maglev", {"header": "x-user"}, {"source": True})}]})
    assert len({mesh.connect(source="127.0.0.9").ask("/").text for _ in range(8)}) == 1


@HASHING
@pytest.mark.parametrize("field", [
    "cookie: ", "cookie: ;;;;=;= ;home", "cookie: home", "cookie: home=", "cookie: " + "a=b; " * 5000,
    "cookie: " + "home=" * 5000, "x-user: " + "y" * 30_000])
def test_odd_keys_are_answered(mesh: Mesh, services: Callable[..., list[Service]], balancer: str, field: str) -> None:
    use(mesh, *services("a", "b", "c"), **hashing(balancer, {"cookie": "home"}, {"header": "x-user"}, {"query": "q"}))
    client = mesh.connect()
    for path in ("/", "/?", "/?q", "/?q=", "/?&&=&q=%00", "/?" + "q&" * 3000):
        assert client.ask(path, "GET", field).status == 200


@HASHING
@pytest.mark.parametrize(("bound", "most"), [({}, 6), ({"load_bound": "150%"}, 3)])
def test_a_bound_on_load_sends_the_rest_elsewhere(mesh: Mesh, services: Callable[..., list[Service]], balancer: str,
                                                  bound: dict[str, str], most: int) -> None:
    """Six at once with the same key, that nobody answers meanwhile."""
    made = services("a", "b", "c")
    hold = threading.Event()

    def waits(_: BaseHTTPRequestHandler) -> Reply:
        hold.wait(10)
        return 200, {}
    for service in made:
        service.reply = waits
    use(mesh, *made, **hashing(balancer, {"header": "x-user"}, **bound))
    clients = []
    for n in range(1, 7):
        clients.append(mesh.connect().send_request("/", "GET", "x-user: 1"))
        until(lambda n=n: sum(service.requests for service in made) == n)
    assert max(service.requests for service in made) == most
    hold.set()
    assert {client.read_answer().status for client in clients} == {200}


# --- slow start, panic, priorities, zones, subsets ---

def test_a_new_endpoint_begins_with_little(mesh: Mesh, services: Callable[..., list[Service]]) -> None:
    old, new = services("old", "new")
    slowly = {"load_balancer": "round_robin", "balancing": {"slow_start": {"window": "1h"}}}
    use(mesh, old, **slowly)
    assert shares(mesh, 10) == {"old": 10}
    use(mesh, old, new, **slowly)
    # A tenth of its half, not a half.
    assert shares(mesh, 300).get("new", 0) < 60
    use(mesh, old, new, load_balancer="round_robin")
    assert shares(mesh, 100) == {"old": 50, "new": 50}


@pytest.mark.parametrize("balancer", ["round_robin", "random", "least_request", "peak_ewma"])
def test_the_lightest_beside_the_heaviest(mesh: Mesh, services: Callable[..., list[Service]], balancer: str) -> None:
    """By the weights one request of two thousand millions is for the lighter one, and it is there when it is alone."""
    light, heavy = services("light", "heavy")
    weights = [{"address": light.address, "weight": 1}, {"address": heavy.address, "weight": 2**31}]
    use(mesh, *weights, load_balancer=balancer)
    assert shares(mesh, 200) == {"heavy": 200}
    use(mesh, weights[0], load_balancer=balancer)
    assert shares(mesh, 5) == {"light": 5}


def test_a_lower_priority_waits_until_the_higher_is_gone(mesh: Mesh, services: Callable[..., list[Service]]) -> None:
    one, two, spare = services("one", "two", "spare")
    use(mesh, {"address": spare.address, "priority": 1}, one, two)
    assert set(shares(mesh, 60)) == {"one", "two"}
    two.close()
    client = mesh.connect()
    # The first that notices is repeated; from then on half of the first group is missing.
    assert {client.ask("/").status for _ in range(200)} == {200}
    one.close()
    assert {client.ask("/").text for _ in range(100)} == {"spare"}


@pytest.mark.parametrize(("below", "least", "most"), [("50%", 0, 0), ("100%", 60, 140)])
def test_when_a_group_spills(mesh: Mesh, services: Callable[..., list[Service]], below: str, least: int,
                             most: int) -> None:
    """Half of the first group is gone: it keeps all requests, or half of them."""
    one, two, spare = services("one", "two", "spare")
    two.close()
    use(mesh, {"address": spare.address, "priority": 1}, one, two, balancing={"spill_below": below},
        avoid={"base": "1h", "max": "1h"})
    client = mesh.connect()
    # Until it is known that one of them is gone.
    until(lambda: client.ask("/").status and mesh.count("connect_failed") > 0)
    if least != 0:
        # Who can be used is counted every few milliseconds.
        until(lambda: client.ask("/").text == "spare")
    assert least <= shares(mesh, 200).get("spare", 0) <= most


def test_the_own_zone_is_preferred_and_others_take_over(mesh: Mesh, services: Callable[..., list[Service]]) -> None:
    near, far, nowhere = services("near", "far", "nowhere")
    mesh.configure({
        "node": {"zone": "a"},
        "listeners": [{"name": "web", "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]}],
        "clusters": [{"name": "app", "balancing": {"prefer_zone": True}, "endpoints": [
            {"address": far.address, "zone": "b"}, {"address": near.address, "zone": "a"},
            {"address": nowhere.address}]}]})
    assert shares(mesh, 50) == {"near": 50}
    near.close()
    client = mesh.connect()
    answers = [client.ask("/") for _ in range(60)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.text for answer in answers} == {"far", "nowhere"}


def test_a_subset_is_all_that_is_used(mesh: Mesh, services: Callable[..., list[Service]]) -> None:
    made = services(*"abcdefghij")
    use(mesh, *made, balancing={"subset": 3})
    used = set(shares(mesh, 100))
    assert len(used) == 3
    use(mesh, *made[::-1], balancing={"subset": 3})
    assert set(shares(mesh, 100)) == used


def test_in_panic_those_that_were_avoided_are_tried_again(mesh: Mesh, services: Callable[..., list[Service]]) -> None:
    one, *dead = services("one", "two", "three")
    for service in dead:
        service.close()
    calm = {"load_balancer": "round_robin", "avoid": {"base": "1h", "max": "1h"}}
    use(mesh, one, *dead, **calm)
    assert shares(mesh, 60) == {"one": 60}
    assert mesh.count("connect_failed") == 2
    use(mesh, one, *dead, **calm, balancing={"panic_threshold": "50%"})
    # A third can be used: each is tried in its turn, and the request moves on.
    assert shares(mesh, 60) == {"one": 60}
    assert mesh.count("connect_failed") > 20


def test_keys_are_what_was_asked_for_and_not_what_the_route_writes(mesh: Mesh,
                                                                   services: Callable[..., list[Service]]) -> None:
    mesh.configure({
        "listeners": [{"name": "web", "routes": [
            {"match": {"prefix": "/"}, "cluster": "app", "request_headers": {"set": {"x-user": "all"}}}]}],
        "clusters": [{"name": "app", "endpoints": [{"address": s.address} for s in services(*"abcde")],
                      "load_balancer": "maglev", "balancing": {"hash": {"keys": [{"header": "x-user"}]}}}]})
    assert len({name for user in range(40) for name in shares(mesh, 1, f"x-user: {user}")}) > 1
    assert len(shares(mesh, 20, "x-user: 1")) == 1


# --- sessions ---

SECRET = "0123456789abcdef"


@pytest.mark.parametrize("balancer", ["round_robin", "failure_aware_ewma"])
def test_a_session_stays_where_it_began(mesh: Mesh, services: Callable[..., list[Service]], balancer: str) -> None:
    use(mesh, *services(*"abcde"), load_balancer=balancer,
        balancing={"sticky": {"cookie": "home", "ttl": "1h", "path": "/app", "secret": SECRET}})
    client = mesh.connect()
    homes = set()
    for _ in range(10):
        first = client.ask("/app")
        cookie, *attributes = (first.get("set-cookie") or "").split("; ")
        assert attributes == ["Path=/app", "Max-Age=3600", "HttpOnly"]
        homes.add(first.text)
        for _ in range(5):
            again = client.ask("/app", "GET", f"cookie: a=b; {cookie}")
            assert (again.text, again.get("set-cookie")) == (first.text, None)
    assert len(homes) > 1


def test_a_session_may_stand_in_a_header(mesh: Mesh, services: Callable[..., list[Service]]) -> None:
    use(mesh, *services("a", "b", "c"), load_balancer="round_robin",
        balancing={"sticky": {"header": "x-home", "secret": SECRET}})
    client = mesh.connect()
    first = client.ask("/")
    for _ in range(6):
        again = client.ask("/", "GET", f"x-home: {first.get('x-home')}")
        assert (again.text, again.get("x-home")) == (first.text, first.get("x-home"))


def test_a_session_moves_on_when_its_endpoint_is_gone(mesh: Mesh, services: Callable[..., list[Service]]) -> None:
    made = {service.name: service for service in services("a", "b", "c")}
    session = {"load_balancer": "round_robin", "balancing": {"sticky": {"cookie": "home", "secret": SECRET}}}
    use(mesh, *made.values(), **session)
    client = mesh.connect()
    first = client.ask("/")
    cookie = (first.get("set-cookie") or "").split(";")[0]
    made[first.text].close()
    moved = client.ask("/", "GET", f"cookie: {cookie}")
    assert moved.status == 200 and moved.text != first.text
    assert (moved.get("set-cookie") or "").split(";")[0] not in ("", cookie)
    # Likewise when it has left the list, and the name means nothing any more.
    use(mesh, *[s for s in made.values() if s.name != first.text], **session)
    assert client.ask("/", "GET", f"cookie: {cookie}").get("set-cookie") is not None


@pytest.mark.parametrize("cookie", ["home=", "home=" + "0" * 32, "home=127.0.0.1:80", "home=" + "f" * 30_000, "home"])
def test_a_session_cannot_be_made_up(mesh: Mesh, services: Callable[..., list[Service]], cookie: str) -> None:
    use(mesh, *services("a", "b"), balancing={"sticky": {"cookie": "home", "secret": SECRET}})
    answer = mesh.connect().ask("/", "GET", f"cookie: {cookie}")
    assert answer.status == 200 and answer.get("set-cookie") is not None
