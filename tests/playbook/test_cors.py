"""Pages of other origins: who is told what, and how preflights are answered."""

from typing import Any

import pytest
from playbook.play import Message, Play

from fastmesh import Filter, Request, Response
from probes import wire

APP = "https://app.example.com"
EXACT, BELOW = 0, 1
SAID = ("access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers",
        "access-control-allow-methods", "access-control-allow-headers", "access-control-max-age")


def rule(*origins: list[Any], any_: bool = False, methods: str = "GET, PUT", headers: str = "", expose: str = "",
         max_age: int = 600, credentials: bool = False, private: bool = False) -> list[Any]:
    return [any_, list(origins), methods, headers, expose, max_age, credentials, private]


def ask(play: Play, method: str = "GET", path: str = "/", *fields: str) -> None:
    play.client_sends("\r\n".join([f"{method} {path} HTTP/1.1", "host: x", *fields, "", ""]).encode())


def preflight(play: Play, method: str, *fields: str, origin: str = APP, path: str = "/") -> None:
    ask(play, "OPTIONS", path, f"origin: {origin}", f"access-control-request-method: {method}", *fields)


def said(answer: Message) -> dict[str, str]:
    """What it says of origins."""
    return {name.removeprefix("access-control-"): value for name in SAID if (value := answer[name]) is not None}


@pytest.fixture
def page(play: Play) -> Play:
    """One route, with a rule for the origin APP and those below example.org."""
    play.endpoints("a").cors(rule([EXACT, APP, "", -1], [BELOW, "https://", ".example.org", -1], headers="content-type",
                                  expose="x-id", credentials=True))
    return play


@pytest.mark.parametrize("origin", [APP, "https://a.example.org", "https://a.b.example.org"])
def test_who_may_read_is_told(page: Play, origin: str) -> None:
    ask(page, "GET", "/", f"origin: {origin}")
    page.connect("a").expect_request()
    page.answers("a", 200, b"hi", ["access-control-allow-origin: https://evil.test", "Access-Control-Max-Age: 1"])
    answer = page.expect_answer(200, b"hi")
    assert said(answer) == {"allow-origin": origin, "allow-credentials": "true", "expose-headers": "x-id"}
    assert answer.all("vary") == ["Origin"]


@pytest.mark.parametrize("fields", [
    (), ("origin: https://other.test",), ("origin: https://APP.example.com",), ("origin: http://app.example.com",),
    ("origin: https://app.example.com:8443",), ("origin: https://app.example.com.evil.test",), ("origin: null",),
    ("origin:",), ("origin: https://example.org",), ("origin: https://.example.org",),
    ("origin: https://evil.test/.example.org",), ("origin: https://evil.test:1@a.example.org",),
    ("origin: https://a.example.org:444",), (f"origin: {APP}", f"origin: {APP}"),
    (f"origin: https://{'a' * 1100}.example.org",)])
def test_others_are_told_nothing(page: Play, fields: tuple[str, ...]) -> None:
    ask(page, "GET", "/", *fields)
    page.connect("a").expect_request()
    page.answers("a", 200, b"hi", ["access-control-allow-origin: *", "vary: accept"])
    answer = page.expect_answer(200)
    assert said(answer) == {} and answer.all("vary") == ["accept", "Origin"]
    page.expect_counter("cors_other_origin", int(bool(fields)) if len(fields) < 2 else 0)


@pytest.mark.parametrize("vary", ["Origin", "accept , ORIGIN", "*"])
def test_what_varies_already_is_not_told_twice(page: Play, vary: str) -> None:
    ask(page, "GET", "/", f"origin: {APP}")
    page.connect("a")
    page.answers("a", 200, b"", [f"vary: {vary}"])
    assert page.expect_answer(200).all("vary") == [vary]


def test_anybody(play: Play) -> None:
    play.endpoints("a").cors(rule(any_=True))
    for fields in ((), ("origin: https://any.test",)):
        ask(play, "GET", "/", *fields)
        (play.connect("a") if not fields else play.up("a")).expect_request()
        play.answers("a", 200, b"", ["access-control-allow-credentials: true"])
        answer = play.expect_answer(200)
        assert said(answer) == {"allow-origin": "*"} and answer["vary"] is None


def test_a_preflight_is_answered_here(page: Play) -> None:
    preflight(page, "PUT", "access-control-request-headers: content-type, x-other")
    answer = page.expect_answer(204)
    assert said(answer) == {"allow-origin": APP, "allow-credentials": "true", "allow-methods": "GET, PUT",
                            "allow-headers": "content-type", "max-age": "600"}
    assert answer["vary"] == "Origin" and answer["content-length"] is None
    page.expect_no_connect()
    page.expect_counter("cors_preflight", 1)
    # The connection goes on.
    preflight(page, "GET", origin="https://b.example.org")
    assert page.expect_answer(204)["access-control-allow-origin"] == "https://b.example.org"


def test_a_preflight_of_another_origin_is_refused(page: Play) -> None:
    page.logged((5, ""), (6, ""), (7, ""))
    preflight(page, "PUT", origin="https://other.test")
    answer = page.expect_answer(403)
    assert said(answer) == {} and answer["vary"] == "Origin"
    page.expect_counter("cors_refused", 1)
    preflight(page, "PUT")
    page.expect_answer(204)
    assert page.stage.log() == ["403 - cors_origin_refused", "204 - cors_preflight"]


@pytest.mark.parametrize("fields", [
    (), (f"origin: {APP}",), ("access-control-request-method: PUT",),
    (f"origin: {APP}", f"origin: {APP}", "access-control-request-method: PUT"),
    (f"origin: {APP}", "access-control-request-method: P\x80T"), (f"origin: {APP}", "access-control-request-method:"),
    (f"origin: {APP}", f"access-control-request-method: {'P' * 257}")])
def test_what_is_no_preflight_goes_on(page: Play, fields: tuple[str, ...]) -> None:
    ask(page, "OPTIONS", "/", *fields)
    assert page.connect("a").expect_request().line == "OPTIONS / HTTP/1.1"


def test_whatever_is_asked_for(play: Play) -> None:
    play.cors(rule([EXACT, APP, "", -1], methods="*", headers="*", credentials=True))
    preflight(play, "PURGE", "access-control-request-headers: x-a,authorization")
    answer = said(play.expect_answer(204))
    assert (answer["allow-methods"], answer["allow-headers"]) == ("PURGE", "x-a,authorization")
    # Not what is no list of names, nor one without an end.
    for asked in ("x-a: <b>", "é", "x" * 5000):
        preflight(play, "PUT", f"access-control-request-headers: {asked}")
        assert "allow-headers" not in said(play.expect_answer(204))


PRIVATE = "access-control-allow-private-network"


@pytest.mark.parametrize(("allows", "fields", "told"), [
    (True, ("access-control-request-private-network: true",), "true"), (True, (), None),
    (True, ("Access-Control-Request-Private-Network: false",), None),
    (True, ("access-control-request-private-network:",), None),
    (False, ("access-control-request-private-network: true",), None)])
def test_a_page_of_the_open_network(play: Play, allows: bool, fields: tuple[str, ...], told: str | None) -> None:
    play.cors(rule([EXACT, APP, "", -1], headers="x-a", private=allows))
    preflight(play, "PUT", *fields)
    answer = play.expect_answer(204)
    assert answer[PRIVATE] == told and said(answer)["allow-headers"] == "x-a"
    preflight(play, "PUT", *fields, origin="https://other.test")
    assert play.expect_answer(403)[PRIVATE] is None


def test_what_an_upstream_says_of_private_networks_is_taken_away(page: Play) -> None:
    ask(page, "GET", "/", f"origin: {APP}")
    page.connect("a").expect_request()
    page.answers("a", 200, b"hi", ["access-control-allow-private-network: true"])
    assert page.expect_answer(200, b"hi")[PRIVATE] is None


def test_it_is_matched_as_what_it_asks_about(play: Play) -> None:
    """A route for PUT has no OPTIONS, and none is needed."""
    play.endpoints("a").route("/", methods=["PUT"]).route("/", methods=["POST"]).route("/")
    play.cors(rule([EXACT, APP, "", -1], methods="PUT"), routes=[0])
    play.cors(rule([EXACT, APP, "", -1], methods="POST"), routes=[1])
    for method in ("PUT", "POST"):
        preflight(play, method)
        assert said(play.expect_answer(204))["allow-methods"] == method
    # That of GET has no rule: its service answers.
    preflight(play, "GET")
    assert play.connect("a").expect_request().line == "OPTIONS / HTTP/1.1"


def test_limits_and_filters_of_the_route_do_not_see_it(play: Play) -> None:
    class Guard(Filter):
        def on_request(self, request: Request) -> Response:
            return Response(401, text="who?", headers={"access-control-allow-origin": "*"})

    class Sees(Filter):
        def on_response(self, request: Request, response: Response) -> None:
            response.headers["x-seen"] = str(response.status)

    play.endpoints("a").cors(rule([EXACT, APP, "", -1])).filter(Sees(), at="listener").filter(Guard())
    preflight(play, "PUT")
    answer = play.expect_answer(204)
    assert answer["x-seen"] == "204" and said(answer)["allow-methods"] == "GET, PUT"
    # Its request is seen, and what the filter says of origins is taken away.
    ask(play, "PUT", "/", f"origin: {APP}", "content-length: 0")
    answer = play.expect_answer(401, b"who?")
    assert said(answer) == {"allow-origin": APP} and answer["x-seen"] == "401"


def test_answers_of_the_proxy_say_it_too(page: Play) -> None:
    ask(page, "GET", "/", f"origin: {APP}")
    page.expect_connect("a").refused()
    answer = page.expect_answer(503)
    assert said(answer)["allow-origin"] == APP and answer["vary"] == "Origin"


def test_so_does_an_answer_of_the_route(play: Play) -> None:
    play.route("/", status=200, body=b"fixed").cors(rule([EXACT, APP, "", -1]))
    ask(play, "GET", "/", f"origin: {APP}")
    assert said(play.expect_answer(200, b"fixed"))["allow-origin"] == APP


def test_edits_of_the_route_stand_beside_it(play: Play) -> None:
    edits = [None, "", [0, "", 0, [], []], [], [[1, "x-a", [[0, "b"]]]]]
    play.endpoints("a").route("/", acts=edits).cors(rule([EXACT, APP, "", -1]))
    ask(play, "GET", "/", f"origin: {APP}")
    play.connect("a")
    play.answers("a", 200, b"", ["access-control-allow-origin: *"])
    answer = play.expect_answer(200)
    assert (answer["x-a"], said(answer)) == ("b", {"allow-origin": APP})
    preflight(play, "PUT")
    answer = play.expect_answer(204)
    assert (answer["x-a"], said(answer)["allow-methods"]) == ("b", "GET, PUT")


def test_without_a_rule_what_the_upstream_says_is_passed_on(play: Play) -> None:
    play.endpoints("a")
    preflight(play, "PUT")
    play.connect("a").expect_request("OPTIONS")
    play.answers("a", 204, b"", ["access-control-allow-origin: *"])
    assert said(play.expect_answer(204)) == {"allow-origin": "*"}


def test_rules_are_read_as_they_were_written() -> None:
    two = [wire.route("/"), wire.route("/b")]
    rules = [rule([EXACT, APP, "", -1], [BELOW, "https://", ".example.org:81", -1], methods="*"),
             rule(any_=True, headers="*")]
    with wire.decoded(wire.snapshot([wire.listener(two)], cors=[rules, [[0, 1, 0], [0, 0, 1]]])) as s:
        got = s.dump()
        assert got["cors"] == [(0, 0, 1), (0, 1, 0)]
        assert got["cors_rules"][0]["origins"] == [(0, APP.encode(), b""), (1, b"https://", b".example.org:81")]
        assert (got["cors_rules"][0]["any_method"], got["cors_rules"][1]["any_header"]) == (True, True)
        for origin, found in ((APP, True), ("https://a.example.org:81", True), ("https://a.example.org", False)):
            assert s.finds_origin(0, origin.encode()) == found


@pytest.mark.parametrize(("rules", "uses", "why"), [
    ([rule(any_=True, credentials=True)], [], "cors.rules[0].credentials: must not be, as any origin may read"),
    ([rule([3, "x", "", -1])], [], "cors.rules[0].origins[0].kind: found 3, must be at most 2"),
    ([rule([EXACT, "", "", -1])], [], "cors.rules[0].origins[0].text"),
    ([rule([BELOW, "https://", "", -1])], [], "cors.rules[0].origins[0].domain"),
    ([rule([2, "", "", 0])], [], "cors.rules[0].origins[0].pattern: must be the place of a pattern"),
    ([rule([EXACT, "x", "", 0])], [], "cors.rules[0].origins[0].pattern: must be -1, as the origin is none"),
    ([rule(methods="a\r\nb")], [], "cors.rules[0].methods"), ([rule(max_age=86401)], [], "cors.rules[0].max_age"),
    ([rule()], [[1, 0, 0]], "cors.uses[0].listener: found 1, but there are 1 listeners"),
    ([rule()], [[0, 1, 0]], "cors.uses[0].route: found 1, but there are 1 routes"),
    ([rule()], [[0, 0, 1]], "cors.uses[0].rule: found 1, but there are 1 rules"),
    ([rule()], [[0, 0, 0], [0, 0, 0]], "cors.uses[1]: this route has its rule already")])
def test_what_is_refused(rules: list[Any], uses: list[Any], why: str) -> None:
    packed = wire.pack(wire.snapshot([wire.listener([wire.route("/")])], cors=[rules, uses]))
    with wire.registry() as r, pytest.raises(ValueError, match="cors") as caught:
        wire.Snapshot(packed, r)
    assert str(caught.value).startswith(why), caught.value
