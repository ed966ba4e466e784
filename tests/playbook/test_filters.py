"""Filters on the stream, with no sockets: what they see, what they change, and what a client and an upstream get."""

import re
from collections.abc import Callable

import pytest
from playbook.play import Play

from fastmesh import Connection, Filter, HeaderError, Outcome, Request, Response, UpstreamError, ViewClosed
from probes import wire

GET = b"GET /a?b=c HTTP/1.1\r\nhost: x\r\nx-one: 1\r\nX-Two: 2\r\nx-list: a\r\nX-List: b\r\n\r\n"


class Mark(Filter):
    def on_request(self, request: Request) -> None:
        request.headers["x-seen"] = request.headers["x-one"] + request.headers["x-two"]


class Stage(Filter):
    """Runs one function in one phase."""

    def __init__(self, call: Callable[[Request], Response | None]) -> None:
        self.call = call


class OnRequest(Stage):
    def on_request(self, request: Request) -> Response | None:
        return self.call(request)


class OnRoute(Stage):
    def on_route(self, request: Request) -> Response | None:
        return self.call(request)


class Trail(Filter):
    """Writes down what is called, in order."""

    def __init__(self, name: str, trail: list[str]) -> None:
        self.me, self.trail = name, trail

    def on_request(self, request: Request) -> None:
        self.trail.append(f"{self.me} request")

    def on_route(self, request: Request) -> None:
        self.trail.append(f"{self.me} route")

    def on_response(self, request: Request, response: Response) -> None:
        self.trail.append(f"{self.me} response {response.status}")

    def on_complete(self, request: Request, outcome: Outcome) -> None:
        self.trail.append(f"{self.me} complete {outcome.status}")


def asked(play: Play, request: bytes = GET) -> dict[str, list[str]]:
    """The request is sent, and answered; the fields that the upstream got."""
    play.first.sends(request)
    up = play.connect() if play.fresh() else play.asked()
    got = up.expect_request()
    up.answers()
    play.first.expect_answer(200)
    assert play.reports == []
    return {name: got.all(name) for name, _ in got.fields} | {":line": [got.line]}


def test_a_filter_reads_two_headers_and_sets_one(play: Play) -> None:
    play.endpoints("a").filter(Mark())
    got = asked(play)
    assert got["x-seen"] == ["12"] and got["x-one"] == ["1"] and got[":line"] == ["GET /a?b=c HTTP/1.1"]


@pytest.mark.parametrize("at", ["listener", "route", "cluster"])
def test_a_filter_answers(play: Play, at: str) -> None:
    def gate(request: Request) -> Response:
        return Response(403, text="no team\n", headers={"x-why": "team"})

    play.endpoints("a").filter(OnRequest(gate), at=at)
    play.client_sends(GET)
    answer = play.first.expect_answer(403)
    assert answer.body == b"no team\n" and answer["x-why"] == "team"
    assert answer["content-type"] == "text/plain; charset=utf-8" and answer["content-length"] == "8"
    play.expect_no_connect()
    play.client_sends(GET)      # the connection stays in use
    play.first.expect_answer(403)


def test_the_order_of_a_chain(play: Play) -> None:
    trail: list[str] = []
    play.endpoints("a")
    play.filter(Trail("l", trail), at="listener").filter(Trail("r1", trail)).filter(Trail("r2", trail))
    play.filter(Trail("c", trail), at="cluster")
    asked(play)
    assert trail == [
        "l request", "r1 request", "r2 request", "l route", "r1 route", "r2 route", "c request",
        "c response 200", "r2 response 200", "r1 response 200", "l response 200",
        "c complete 200", "r2 complete 200", "r1 complete 200", "l complete 200"]


def test_who_stood_in_front_sees_the_answer_of_one_behind(play: Play) -> None:
    trail: list[str] = []
    play.endpoints("a").filter(Trail("first", trail)).filter(OnRequest(lambda request: Response(418)))
    play.filter(Trail("last", trail))
    play.client_sends(GET)
    play.first.expect_answer(418)
    assert trail == ["first request", "first response 418", "first complete 418"]


def test_answers_of_the_proxy_pass_through_filters(play: Play) -> None:
    class Dress(Filter):
        def on_response(self, request: Request, response: Response) -> None:
            assert response.is_local and response.status == 503
            response.headers["access-control-allow-origin"] = "*"

    play.filter(Dress())          # a cluster without endpoints
    play.client_sends(GET)
    answer = play.first.expect_answer(503)
    assert answer["access-control-allow-origin"] == "*" and play.reports == []


def test_a_filter_replaces_the_answer(play: Play) -> None:
    class Replace(Filter):
        def on_response(self, request: Request, response: Response) -> Response | None:
            return Response(451, json={"was": response.status}) if response.status == 200 else None

    play.endpoints("a").filter(Replace())
    play.client_sends(GET)
    play.connect().answers(200, b"secret")
    answer = play.first.expect_answer(451, b'{"was":200}')
    assert answer["content-type"] == "application/json"
    assert play.reports == []


def test_a_filter_changes_the_answers_head(play: Play) -> None:
    class Change(Filter):
        def on_response(self, request: Request, response: Response) -> None:
            response.status = 203
            response.headers.discard("server")
            response.headers["x-was"] = response.headers.get("x-from", "?")
            response.headers.add("set-cookie", "a=1")
            response.headers.add("set-cookie", "b=2")

    play.endpoints("a").filter(Change())
    play.client_sends(GET)
    play.connect().answers(200, b"body", ["server: x", "x-from: y"])
    answer = play.first.expect_answer(203, b"body")
    assert answer.line == "HTTP/1.1 203 Non-Authoritative Information"
    assert answer["server"] is None and answer["x-was"] == "y" and answer.all("set-cookie") == ["a=1", "b=2"]


# --- headers --------------------------------------------------------------------------------------

def test_headers_are_a_dictionary_without_case(play: Play) -> None:
    def look(request: Request) -> None:
        headers = request.headers
        assert headers["X-ONE"] == "1" and headers.get("nothing") is None and headers.get("nothing", 7) == 7
        assert headers.get_all("x-list") == ["a", "b"] and headers["x-list"] == "a" and headers.raw("X-two") == b"2"
        assert headers.raw_all("X-LIST") == [b"a", b"b"] and headers.raw_all("x-none") == []
        assert "x-Two" in headers and "no" not in headers and 3 not in headers
        assert list(headers) == ["host", "x-one", "x-two", "x-list"] == list(headers.keys()) and len(headers) == 4
        assert headers.fields()[-1] == ("X-List", "b") and headers.copy()["x-list"] == "a, b"
        with pytest.raises(KeyError):
            headers["none"]
        with pytest.raises(KeyError):
            del headers["none"]
        headers.add("X-List", "c")
        headers["x-one"] = "9"
        headers["x-number"] = 5
        headers["x-bytes"] = b"\xff"
        del headers["x-two"]
        assert headers.pop("x-none", "d") == "d" and headers.setdefault("x-one", "0") == "9"
        assert headers.get_all("x-list") == ["a", "b", "c"] and "x-two" not in headers
        for name in headers:
            headers[name + "-copy"] = "1"
        assert dict(headers)["x-one-copy"] == "1"

    play.endpoints("a").filter(OnRequest(look))
    got = asked(play)
    assert got["x-list"] == ["a", "b", "c"] and got["x-one"] == ["9"] and "x-two" not in got
    assert got["x-number"] == ["5"] and got["x-bytes"] == ["\xff"]


@pytest.mark.parametrize(("name", "value", "says"), [
    ("x-a", "a\r\nx-evil: 1", "line breaks"),
    ("x-a", "a\0b", "NUL"),
    ("x-a\r\nb", "1", "no header name"),
    ("x a", "1", "no header name"),
    ("", "1", "no header name"),
    ("héader", "1", "no header name"),
    ("Content-Length", "5", "the proxy's own"),
    ("transfer-encoding", "chunked", "the proxy's own"),
    ("Connection", "close", "the proxy's own"),
    ("x-long", "v" * 70_000, "does not fit"),
    ("x-object", object(), "str, bytes and numbers"),
])
def test_what_cannot_be_a_header(play: Play, name: str, value: str, says: str) -> None:
    seen = []

    def try_it(request: Request) -> None:
        for change in (request.headers.add, request.headers.__setitem__):
            with pytest.raises(HeaderError, match=says) as caught:
                change(name, value)
            seen.append(str(caught.value))

    play.endpoints("a").filter(OnRequest(try_it))
    got = asked(play)
    assert len(seen) == 2 and "x-evil" not in got and "x-a" not in got


def test_headers_without_end_are_refused_not_sent(play: Play) -> None:
    def fill(request: Request) -> None:
        with pytest.raises(HeaderError):
            for i in range(10_000):
                request.headers.add(f"x-{i}", "v" * 100)

    play.endpoints("a").filter(OnRequest(fill))
    assert len(asked(play)) > 200


def test_the_proxys_fields_may_be_set_by_a_filter(play: Play) -> None:
    def forge(request: Request) -> None:
        request.headers["x-request-id"] = "mine"
        request.headers["x-forwarded-proto"] = "https"
        request.headers["x-forwarded-for"] = "203.0.113.9"
        assert request.id == "mine"

    play.trusted = []
    play.endpoints("a").filter(OnRequest(forge))
    got = asked(play, b"GET / HTTP/1.1\r\nhost: x\r\nx-request-id: theirs\r\nx-forwarded-for: 6.6.6.6\r\n\r\n")
    assert got["x-request-id"] == ["mine"] and got["x-forwarded-proto"] == ["https"]
    assert got["x-forwarded-for"] == ["203.0.113.9, 127.0.0.1"]


def test_the_id_that_a_filter_sees_is_the_one_that_goes_on(play: Play) -> None:
    seen: list[str] = []
    play.endpoints("a").filter(OnRequest(lambda request: seen.append(request.id)))
    assert asked(play)["x-request-id"] == seen and len(seen[0]) == 36


def test_a_response_is_made_of_what_it_should(play: Play) -> None:
    made = Response(201, body=b"x", headers=[("a", "1"), ("A", "2")])
    assert made.headers.get_all("a") == ["1", "2"] and made.headers["content-type"] == "application/octet-stream"
    assert Response(204).body == b"" and Response(json=[]).status == 200
    for wrong, error in [((99,), ValueError), ((600,), ValueError), (("200",), ValueError), ((True,), ValueError)]:
        with pytest.raises(error):
            Response(*wrong)
    with pytest.raises(TypeError, match="one body"):
        Response(200, text="a", body=b"b")
    with pytest.raises(ValueError, match="has no body"):
        Response(304, text="a")


# --- steering -------------------------------------------------------------------------------------

def test_the_path_decides_about_the_route_before_routing(play: Play) -> None:
    def move(request: Request) -> None:
        assert request.path == "/a" and request.query == "b=c" and request.target == "/a?b=c"
        request.path = "/private/b"

    play.endpoints("a").route("/private", status=403).route("/").filter(OnRequest(move), at="listener")
    play.client_sends(GET)
    play.first.expect_answer(403)


@pytest.mark.parametrize("at", ["listener", "route"])
def test_path_and_query_go_upstream_as_set(play: Play, at: str) -> None:
    def move(request: Request) -> None:
        request.path = "/new%20path"
        request.query = "x=y"
        request.host = "other.test"
        assert (request.path, request.query, request.host) == ("/new%20path", "x=y", "other.test")

    play.endpoints("a").filter(OnRequest(move), at=at)
    got = asked(play)
    assert got[":line"] == ["GET /new%20path?x=y HTTP/1.1"] and got["host"] == ["other.test"]


@pytest.mark.parametrize("path", ["", "a", "/a b", "/a?b", "/a#b", "/a\r\nx: y", "/é", "*x"])
def test_what_cannot_be_a_path(play: Play, path: str) -> None:
    def move(request: Request) -> None:
        with pytest.raises(ValueError, match="request line"):
            request.path = path

    play.endpoints("a").filter(OnRequest(move))
    assert asked(play)[":line"] == ["GET /a?b=c HTTP/1.1"]


def test_filters_see_the_path_that_rules_are_matched_against(play: Play) -> None:
    seen = []
    play.endpoints("a").filter(OnRequest(lambda request: seen.append(request.path)), at="listener")
    play.filter(OnRequest(lambda request: seen.append(request.path)))
    got = asked(play, b"GET //x/../%61dmin HTTP/1.1\r\nhost: x\r\n\r\n")
    assert seen == ["/admin", "/admin"] and got[":line"] == ["GET /admin HTTP/1.1"]


def test_the_cluster_can_be_changed_in_on_route(play: Play) -> None:
    def choose(request: Request) -> None:
        assert request.cluster == "x" and request.route == "r"
        request.cluster = "y"
        request.timeout = 2.5
        assert request.timeout == 2.5

    play.cluster("y").endpoints("a").endpoints("b", cluster="y").filter(OnRoute(choose))
    play.client_sends(GET)
    play.connect("b")
    play.pass_time("3s")
    play.first.expect_answer(504)


def test_a_cluster_that_is_not_there(play: Play) -> None:
    def choose(request: Request) -> None:
        with pytest.raises(ValueError, match="no cluster 'z'"):
            request.cluster = "z"

    def early(request: Request) -> None:
        with pytest.raises(RuntimeError, match="no route is chosen yet"):
            request.cluster = "x"

    play.endpoints("a").filter(OnRoute(choose)).filter(OnRequest(early), at="listener")
    asked(play)


# --- match, share ---------------------------------------------------------------------------------

def test_a_match_is_decided_without_the_filter(play: Play) -> None:
    match = wire.route("/in", methods=["POST"], headers=[("x-a", "1")], status=200)
    seen: list[str] = []
    play.endpoints("a").filter(OnRequest(lambda request: seen.append(request.target)), match=match)
    for request in (b"GET /in HTTP/1.1\r\nhost: x\r\nx-a: 1\r\n\r\n",
                    b"POST /out HTTP/1.1\r\nhost: x\r\nx-a: 1\r\n\r\n",
                    b"POST /in HTTP/1.1\r\nhost: x\r\n\r\n", b"POST /./in/2 HTTP/1.1\r\nhost: x\r\nx-a: 1\r\n\r\n"):
        asked(play, request)
    assert seen == ["/./in/2"]


def test_a_share_of_requests(play: Play) -> None:
    seen: list[int] = []
    play.endpoints("a").filter(OnRequest(lambda request: seen.append(1)), share=250_000)
    for _ in range(400):
        asked(play)
    assert 60 < len(seen) < 140


@pytest.mark.parametrize(("change", "status"), [
    (lambda request: request.headers.__setitem__("x-role", "user"), 200),
    (lambda request: request.headers.pop("x-role"), 200),
    (lambda request: None, 403),
])
def test_routes_see_what_a_filter_of_the_listener_has_made(play: Play, change: Callable[[Request], object],
                                                           status: int) -> None:
    """Neither the field that is gone nor that two of the name were there."""
    play.endpoints("a").route("/", headers=[("x-role", "admin")], status=403)
    play.route("/", headers=[("x-role", "user")], status=200).route("/", status=200)
    play.filter(OnRequest(lambda request: change(request) and None), at="listener")
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nx-role: admin\r\n\r\n")
    play.expect_answer(status)


class OnResponse(Filter):
    def __init__(self) -> None:
        self.seen: list[tuple[int, str | None]] = []

    def on_response(self, request: Request, response: Response) -> None:
        self.seen.append((response.status, response.headers.get("location")))
        response.headers["x-seen"] = "1"


def test_a_filter_sees_a_redirect_with_its_place(play: Play) -> None:
    stays = [0, b"", 0, [], []]
    acts = [[307, "https", "", 0, stays, False], "", stays, [], [[1, "x-route", [[0, "r"]]]]]
    made = OnResponse()
    play.endpoints("a").route("/", status=307, acts=acts).filter(made)
    play.client_sends(GET)
    answer = play.expect_answer(307)
    assert made.seen == [(307, "https://x/a?b=c")]
    assert [answer.all(name) for name in ("location", "x-seen", "x-route")] == [["https://x/a?b=c"], ["1"], ["r"]]


# --- errors ---------------------------------------------------------------------------------------

class Broken(Filter):
    def on_request(self, request: Request) -> None:
        raise ValueError("broken")


def test_an_error_is_told_once_and_counted(play: Play) -> None:
    play.endpoints("a").filter(Broken(), on_error="open")
    for _ in range(3):
        play.client_sends(GET)
        up = play.connect() if play.fresh() else play.asked()
        up.answers()
        play.first.expect_answer(200)
    assert [what for what, _, _ in play.reports] == ["error"]
    assert "ValueError: broken" in play.reports[0][2] and "test_filters.py" in play.reports[0][2]


def test_a_filter_that_fails_closed(play: Play) -> None:
    trail: list[str] = []
    play.endpoints("a").filter(Trail("t", trail)).filter(Broken(), on_error="closed")
    play.client_sends(GET)
    play.first.expect_answer(503)
    play.expect_no_connect()
    assert trail == ["t request", "t response 503", "t complete 503"]


def test_a_filter_that_is_skipped_after_its_error(play: Play) -> None:
    class Later(Broken):
        def on_response(self, request: Request, response: Response) -> None:
            raise AssertionError("not to be asked")

    play.endpoints("a").filter(Later(), on_error="skip")
    play.client_sends(GET)
    play.connect().answers()
    play.first.expect_answer(200)
    assert len(play.reports) == 1


@pytest.mark.parametrize("returned", [1, "text", b"bytes", [], object(), Response])
def test_a_wrong_return_value_is_an_error(play: Play, returned: object) -> None:
    play.endpoints("a").filter(OnRequest(lambda request: returned), on_error="closed")
    play.client_sends(GET)
    play.first.expect_answer(503)
    assert "None or a Response is allowed" in play.reports[0][2]


def leave(request: Request) -> None:
    raise SystemExit(3)


def interrupt(request: Request) -> None:
    raise KeyboardInterrupt


def recurse(request: Request) -> None:
    recurse(request)


def exhaust(request: Request) -> None:
    raise MemoryError


@pytest.mark.parametrize("call", [leave, interrupt, recurse, exhaust])
def test_whatever_is_raised_the_proxy_goes_on(play: Play, call: Callable[[Request], None]) -> None:
    play.endpoints("a").filter(OnRequest(call), on_error="open")
    play.client_sends(GET)
    play.connect().answers()
    play.first.expect_answer(200)
    assert [what for what, _, _ in play.reports] == ["error"]


def test_an_error_that_cannot_be_told(play: Play) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def fail(request: Request) -> None:
        raise Mute

    play.endpoints("a").filter(OnRequest(fail), on_error="closed")
    play.client_sends(GET)
    play.first.expect_answer(503)


def test_quarantine_and_return(play: Play) -> None:
    calls: list[int] = []

    class Sick(Filter):
        def on_request(self, request: Request) -> None:
            calls.append(1)
            raise ValueError

    second = 10**9
    play.endpoints("a").filter(Sick(), on_error="open", quarantine=(3, 10 * second, 5 * second, 20 * second))

    def ask(n: int) -> None:
        for _ in range(n):
            play.client_sends(GET)
            up = play.connect() if play.fresh() else play.asked()
            up.answers()
            play.first.expect_answer(200)

    ask(5)
    assert len(calls) == 3 and [what for what, _, _ in play.reports] == ["error", "quarantine"]
    assert "3 failures within 10 s" in play.reports[1][2]
    play.pass_time("5s")
    ask(2)
    assert len(calls) == 5 and [what for what, _, _ in play.reports][2:] == ["back"]
    ask(3)
    assert len(calls) == 6
    play.pass_time("5s")            # twice as long the second time
    ask(1)
    assert len(calls) == 6
    play.pass_time("5s")
    ask(1)
    assert len(calls) == 7


def test_a_quarantined_filter_that_fails_closed_refuses(play: Play) -> None:
    second = 10**9
    play.endpoints("a").filter(Broken(), on_error="closed", quarantine=(2, second, second, second))
    for _ in range(4):
        play.client_sends(GET)
        play.first.expect_answer(503)
    assert [what for what, _, _ in play.reports] == ["error", "quarantine"]


def test_an_overrun_is_told_with_advice(play: Play) -> None:
    def compute(request: Request) -> None:
        sum(range(100_000))

    play.endpoints("a").filter(OnRequest(compute), budget_ns=1000)
    play.client_sends(GET)
    play.connect().answers()
    play.first.expect_answer(200)
    assert play.reports[0][:2] == ("overrun", "on_request") and "isolated" in play.reports[0][2]


def test_a_filter_that_takes_too_much_of_a_second_is_left_alone(play: Play) -> None:
    """None of its goes is too long; all together are."""
    seen: list[str] = []

    def compute(request: Request) -> None:
        seen.append(request.path)
        sum(range(20_000))

    play.endpoints("a").filter(OnRequest(compute), budget_ns=10**9, second_ns=1_000_000)
    client = play.client()
    client.sends(GET)
    up = play.connect()
    up.answers()
    client.expect_answer(200)
    while not play.reports:
        assert len(seen) < 100
        client.sends(GET)
        up.answers()
        client.expect_answer(200)
    ((what, _, text),) = play.reports
    assert what == "quarantine" and "within a second, its `budget_per_second` is 1 ms" in text
    assert "It is bypassed for" in text and "go on without it" in text
    before = len(seen)
    client.sends(GET)
    up.answers()
    client.expect_answer(200)
    assert len(seen) == before


# --- views ----------------------------------------------------------------------------------------

def test_views_kept_beyond_their_phase_say_so(play: Play) -> None:
    kept: list[Request] = []
    play.endpoints("a").filter(OnRequest(kept.append))
    play.client_sends(GET)
    play.connect()
    request = kept[0]
    headers = request
    for use in (lambda: request.path, lambda: request.headers, lambda: request.state, lambda: request.peer,
                lambda: request.labels, lambda: request.cluster):
        with pytest.raises(ViewClosed, match="between them"):
            use()
    play.up().answers()
    play.first.expect_answer(200)
    for use in (lambda: request.path, lambda: headers.headers, lambda: request.connection):
        with pytest.raises(ViewClosed, match="exchange is over"):
            use()
    assert repr(request) == "<Request, closed>"


def test_headers_kept_beyond_the_exchange(play: Play) -> None:
    kept = []
    play.endpoints("a").filter(OnRequest(lambda request: kept.append(request.headers)))
    asked(play)
    with pytest.raises(ViewClosed):
        kept[0]["host"]
    with pytest.raises(ViewClosed):
        kept[0]["x"] = "1"
    assert repr(kept[0]) == "<Headers, closed>"


def test_a_head_that_is_sent_cannot_be_changed(play: Play) -> None:
    class Late(Filter):
        def on_response(self, request: Request, response: Response) -> None:
            assert request.headers["x-one"] == "1" and request.path == "/a"
            with pytest.raises(RuntimeError, match="on its way already"):
                request.headers["x"] = "1"
            with pytest.raises(RuntimeError, match="on its way already"):
                request.cluster = "x"

        def on_complete(self, request: Request, outcome: Outcome) -> None:
            assert request.headers["x-two"] == "2"

    play.endpoints("a").filter(Late())
    asked(play)


def test_state_and_labels_of_an_exchange(play: Play) -> None:
    class Note(Filter):
        def on_request(self, request: Request) -> None:
            request.state["began"] = 1
            request.labels["tenant"] = "a\"b"
            request.labels["tier"] = "gold"
            assert dict(request.labels) == {"tenant": 'a"b', "tier": "gold"}

        def on_complete(self, request: Request, outcome: Outcome) -> None:
            assert request.state == {"began": 1}
            request.labels["late"] = "yes"

    play.endpoints("a").filter(Note()).logged((26, "tenant"), (27, ""), (26, "none"))
    asked(play)
    assert play.stage.log() == ['a\\"b tenant=a\\"b,tier=gold,late=yes -']


def test_requests_are_counted_by_labels(play: Play) -> None:
    class Note(Filter):
        def on_request(self, request: Request) -> Response | None:
            tenant = request.headers.get("x-tenant")
            if tenant is not None:
                request.labels["tenant"] = tenant
            return Response(402) if tenant == "poor" else None

        def on_complete(self, request: Request, outcome: Outcome) -> None:
            request.labels["status"] = str(outcome.status)

    play.endpoints("a").filter(Note())
    play.metric_labels = [["tenant", "status"], 2]
    client = play.client()
    for tenant, status in (("rich", 200), ("rich", 503), ("poor", 402), ("third", 200)):
        client.sends(b"GET / HTTP/1.1\r\nhost: x\r\nx-tenant: " + tenant.encode() + b"\r\n\r\n")
        if tenant != "poor":
            (play.connect("a") if play.fresh() else play.up("a")).answers(status)
        client.expect_answer(status)
    client.sends(GET)
    play.up("a").answers(200)
    client.expect_answer(200)
    found = {parts[4::2]: row for parts, row in play.stage.labelled().items()}
    # Two values each: what comes third, of the one or the other, is not told apart.
    assert found == {("rich", "200"): [0, 0, 1, 0, 0, 0], ("rich", "503"): [0, 0, 0, 0, 0, 1],
                     ("poor", "other"): [0, 0, 0, 0, 1, 0], ("other", "200"): [0, 0, 1, 0, 0, 0],
                     ("", "200"): [0, 0, 1, 0, 0, 0]}
    assert {parts[:4] for parts in play.stage.labelled()} == {("l0", "r", "x", "tenant")}


def test_without_labels_to_count_by_nothing_is_counted(play: Play) -> None:
    play.endpoints("a").filter(OnRequest(lambda request: request.labels.update(tenant="a")))
    asked(play)
    assert play.stage.labelled() == {}


def test_labels_are_bounded(play: Play) -> None:
    def label(request: Request) -> None:
        for i in range(16):
            request.labels[f"l{i}"] = "v" * 1000
        with pytest.raises(ValueError, match="at most 16"):
            request.labels["more"] = "1"
        with pytest.raises(ValueError, match="1 to 64"):
            request.labels["n" * 65] = "1"
        with pytest.raises(TypeError):
            request.labels["l1"] = 1  # type: ignore[assignment]

    play.endpoints("a").filter(OnRequest(label))
    asked(play)


def test_what_a_request_tells(play: Play) -> None:
    def look(request: Request) -> None:
        assert request.method == "GET" and request.scheme == "http" and request.http_version == "1.1"
        assert request.peer == "127.0.0.1" and request.connection.peer == "127.0.0.1" and request.listener == "l0"
        assert request.cookies == {"a": "1", "b": "x y"} and request.params == {"p": "1 2", "q": ""}
        assert request.content_length == 0 and not request.is_upgrade and request.attempts == 0
        assert request.route is None and request.cluster is None and request.endpoint is None
        assert request.elapsed >= 0 and request.host == "x.test:80"

    play.endpoints("a").filter(OnRequest(look), at="listener")
    asked(play, b'GET /?p=1%202&q= HTTP/1.1\r\nhost: x.test:80\r\ncookie: a=1; b="x y"; a=2\r\n\r\n')


def test_the_outcome_of_a_request(play: Play) -> None:
    seen: list[Outcome] = []

    class End(Filter):
        def on_complete(self, request: Request, outcome: Outcome) -> None:
            seen.append(outcome)

    play.endpoints("a").filter(End())
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")
    play.connect().answers(200, b"four")
    play.first.expect_answer(200)
    play.client_sends(GET)
    play.asked()
    play.client_resets()
    ok, left = seen
    assert (ok.status, ok.flags, ok.received, ok.sent, ok.endpoint) == (200, "", 3, 4, "a")
    assert (left.status, left.flags, left.details) == (0, "DC", "downstream_remote_disconnect")


# --- failed attempts ------------------------------------------------------------------------------

class Decide(Filter):
    def __init__(self, again: bool | None) -> None:
        self.again = again
        self.seen: list[tuple[str, str, bool]] = []
        self.tries: list[int] = []

    def on_upstream_error(self, request: Request, error: UpstreamError) -> bool | None:
        self.seen.append((error.reason, error.endpoint, error.may_repeat))
        return self.again

    def on_retry(self, request: Request, attempt: int) -> None:
        self.tries.append(attempt)


def test_a_filter_gives_up_where_the_proxy_would_try_again(play: Play) -> None:
    decide = Decide(False)
    play.endpoints("a", "b").filter(decide)
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.first.expect_answer(503)
    assert decide.seen == [("connect_failure", "a", True)] and decide.tries == []


def test_a_filter_tries_again_on_a_server_error(play: Play) -> None:
    decide = Decide(True)
    play.endpoints("a", "b").filter(decide)
    play.client_sends(GET)
    play.connect("a").answers(500, b"sorry")
    play.connect("b").answers(200, b"fine")
    play.first.expect_answer(200, b"fine")
    assert decide.seen == [("status", "a", True)] and decide.tries == [2]


def test_what_may_not_be_repeated_is_not(play: Play) -> None:
    decide = Decide(True)
    play.endpoints("a", "b").filter(decide)
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx")
    play.connect("a").answers(500, b"sorry")
    play.first.expect_answer(500, b"sorry")
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx")
    play.connect("b").closes()
    play.first.expect_answer(503)
    assert decide.seen == [("status", "a", False), ("reset", "b", False)]


def test_attempts_are_bounded_however_often_a_filter_wants_more(play: Play) -> None:
    decide = Decide(True)
    play.endpoints("a").filter(decide)
    play.client_sends(GET)
    n = 0
    while play.fresh():
        play.expect_connect("a").refused()
        n += 1
        assert n < 20
    play.first.expect_answer(503)
    assert n == 8


# --- connections ----------------------------------------------------------------------------------

class Door(Filter):
    def __init__(self, answer: bool | None) -> None:
        self.answer = answer
        self.seen: list[Connection] = []

    def on_connection(self, connection: Connection) -> bool | None:
        self.seen.append(connection)
        return self.answer


@pytest.mark.parametrize("is_tcp", [False, True])
def test_a_connection_is_turned_away(play: Play, is_tcp: bool) -> None:
    door = Door(False)
    play.endpoints("a").filter(door, at="listener")
    if is_tcp:
        play.tcp()
    client = play.client("192.0.2.7:1234")
    client.expect_closed()
    play.expect_no_connect()
    assert (door.seen[0].peer, door.seen[0].port, door.seen[0].listener) == ("192.0.2.7", 1234, "l0")


def test_a_connection_is_let_in(play: Play) -> None:
    play.endpoints("a").filter(Door(None), at="listener").filter(Door(True), at="listener")
    asked(play)


def test_tcp_has_an_end_too(play: Play) -> None:
    seen: list[Outcome] = []

    class End(Filter):
        def on_complete(self, request: Request, outcome: Outcome) -> None:
            seen.append(outcome)
            assert request.cluster == "x"
            with pytest.raises(ViewClosed, match="TCP"):
                assert request.path

    play.endpoints("a").tcp().filter(End(), at="listener")
    client = play.client()
    play.connect("a")
    client.closes()
    play.up("a").closes()
    assert len(seen) == 1 and play.reports == []


# --- shadow ---------------------------------------------------------------------------------------

def test_a_shadow_changes_nothing_and_tells_what_it_would_have(play: Play) -> None:
    class Eager(Filter):
        def on_request(self, request: Request) -> Response | None:
            request.headers["x-shadow"] = "1"
            request.state["mine"] = 1
            request.labels["mine"] = "1"
            return Response(403)

        def on_route(self, request: Request) -> None:
            request.cluster = "y"
            request.path = "/elsewhere"

        def on_response(self, request: Request, response: Response) -> None:
            response.headers["x-shadow"] = "1"
            response.status = 500

    play.cluster("y").endpoints("a").filter(Eager(), shadow=True).logged((27, ""))
    play.filter(OnRequest(lambda request: request.state.update(theirs=1)))
    play.client_sends(GET)
    up = play.connect("a")
    assert up.expect_request("GET /a?b=c")["x-shadow"] is None
    up.answers()
    assert play.first.expect_answer(200)["x-shadow"] is None
    assert [(what, phase) for what, phase, _ in play.reports] == [
        ("shadow", "on_request"), ("shadow", "on_route"), ("shadow", "on_response")]
    assert "answer 403" in play.reports[0][2] and "route it in another way" in play.reports[1][2]
    assert play.stage.log() == ["-"]


# --- what it took ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("local", [False, True])
def test_a_trusted_client_is_told_what_filters_took(play: Play, local: bool) -> None:
    play.endpoints("a").filter(Mark(), name="mark@web/r 0")
    play.filter(OnRequest(lambda request: Response(204) if local else None), name="second")
    asking = GET.replace(b"x-one", b"X-FastMesh-Timing: 1\r\nx-one")
    play.client_sends(asking)
    if not local:
        play.connect().answers(200, b"body")
    timing = play.first.expect_answer(204 if local else 200)["server-timing"]
    assert timing is not None and re.fullmatch(r"mark-web-r-0;dur=\d+\.\d{3}, second;dur=\d+\.\d{3}", timing)
    play.client_sends(GET)
    if not local:
        play.asked().answers()
    assert play.first.expect_answer(204 if local else 200)["server-timing"] is None


def test_others_are_not_told(play: Play) -> None:
    play.trusted = []
    play.endpoints("a").filter(Mark())
    play.client_sends(GET.replace(b"x-one", b"x-fastmesh-timing: 1\r\nx-one"))
    play.connect().answers()
    assert play.first.expect_answer(200)["server-timing"] is None
