"""Rate limits on the stream: what a client gets, what the log and the counters say, and who is asked before whom."""

from collections.abc import Callable, Iterator

import pytest
from filtering import make
from playbook.play import Play, SnapshotRefused

from fastmesh import Filter, RateLimitKey, Request, Response
from fastmesh._core.mem import shared
from probes import wire
from probes.wire import SECOND

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
START = 1000.0
FLAGS, DETAILS, LIMITED_BY = (6, ""), (7, ""), (28, "")


@pytest.fixture
def clock() -> Iterator[Callable[[float], None]]:
    """That of the buckets, which stands still until it is moved."""
    shared.detach()
    shared.segment().set_clock(START)
    yield shared.segment().set_clock
    shared.detach()


@pytest.fixture
def limited(clock: Callable[[float], None], play: Play) -> Play:
    return play.endpoints("a").logged(FLAGS, DETAILS, LIMITED_BY)


def passes(play: Play, request: bytes = GET, answer: bytes = b"") -> dict[str, str | None]:
    """The request is answered by the upstream; the fields that the client got."""
    play.first.sends(request)
    up = play.connect() if play.fresh() else play.asked()
    up.expect_request()
    up.answers(200, answer)
    got = play.first.expect_answer(200)
    return {name: got[name] for name, _ in got.fields}


def refused(play: Play, request: bytes = GET, status: int = 429) -> dict[str, str | None]:
    play.first.sends(request)
    got = play.first.expect_answer(status)
    play.expect_no_connect()
    return {**{name: got[name] for name, _ in got.fields}, ":body": got.body.decode()}


@pytest.mark.parametrize("at", ["listener", "route"])
def test_who_asks_too_often_is_told_when_to_come_again(limited: Play, clock: Callable[[float], None], at: str) -> None:
    limited.limit("api", token=10 * SECOND, burst=2, at=at)
    for _ in range(2):
        assert "ratelimit" not in passes(limited)
    got = refused(limited)
    assert got["retry-after"] == "10" and got["ratelimit"] == '"api";r=0;t=10'
    assert got["ratelimit-policy"] == '"api";q=2;w=20'
    assert got[":body"] == "the rate limit api allows no more"
    clock(START + 9.5)
    assert refused(limited)["retry-after"] == "1"
    clock(START + 10)
    passes(limited)
    assert limited.ended() == [(200, ""), (200, ""), (200, ""), (429, "RL"), (429, "RL")]
    assert limited.stage.log() == ["- via_upstream -"] * 2 + ["RL local_rate_limited{api} api"] * 2 + [
        "- via_upstream -"]
    limited.expect_counter("limit.api.checked", 5)
    limited.expect_counter("limit.api.limited", 2)
    limited.expect_counter("local_answers", 2)
    # A refusal leaves the connection as it was.
    limited.first.expect_open()
    assert len(limited.peers) == 1


def test_the_status_may_be_another_one(limited: Play) -> None:
    limited.limit(status=503)
    passes(limited)
    assert refused(limited, status=503)["retry-after"] == "1"


def test_a_request_whose_body_is_still_coming(limited: Play) -> None:
    limited.limit()
    passes(limited)
    limited.first.sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\nabc")
    got = limited.first.expect_answer(429)
    assert got["connection"] == "close"
    limited.first.expect_shut()


def test_to_head_there_is_no_body(limited: Play) -> None:
    limited.limit()
    passes(limited)
    limited.first.sends(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert limited.first.expect_answer(429, has_body=False)["retry-after"] == "1"


def test_requests_of_a_pipeline_are_asked_one_by_one(limited: Play) -> None:
    limited.route("/", status=200, body=b"here").limit(burst=2)
    limited.first.sends(GET * 4)
    assert [limited.first.expect_answer().status for _ in range(4)] == [200, 200, 429, 429]


# --- answers that pass ------------------------------------------------------------------------------------------

def test_answers_say_how_much_is_left(limited: Play, clock: Callable[[float], None]) -> None:
    limited.limit("all", at="listener", token=SECOND, burst=10, shown=True).limit("silent", burst=9)
    limited.limit("own", token=30 * SECOND, burst=2, shown=True, key=["header x-tenant"])
    got = passes(limited)
    assert got["ratelimit-policy"] == '"all";q=10;w=10, "own";q=2;w=60'
    assert got["ratelimit"] == '"all";r=9;t=1, "own";r=1;t=30'
    passes(limited)
    clock(START + 0.5)
    # Of a refusal, only the limit that refuses.
    assert refused(limited)["ratelimit"] == '"own";r=0;t=30'
    got = passes(limited, b"GET / HTTP/1.1\r\nhost: x\r\nx-tenant: b\r\n\r\n")
    assert got["ratelimit"] == '"all";r=7;t=3, "own";r=1;t=30'


def test_what_an_upstream_says_of_its_own_limits_stays(limited: Play) -> None:
    limited.limit("l", burst=2, shown=True)
    limited.first.sends(GET)
    limited.connect().answers(200, fields=['RateLimit: "theirs";r=1;t=1'])
    assert limited.first.expect_answer(200).all("ratelimit") == ['"theirs";r=1;t=1', '"l";r=1;t=1']


def test_a_fixed_answer_says_it_too(limited: Play) -> None:
    limited.route("/", status=204).limit("l", burst=2, shown=True)
    limited.first.sends(GET)
    got = limited.first.expect_answer(204)
    assert got["ratelimit"] == '"l";r=1;t=1' and got["retry-after"] is None
    assert refused(limited, GET, 204)["ratelimit"] == '"l";r=0;t=2'
    assert refused(limited)["retry-after"] == "1"


# --- several limits ---------------------------------------------------------------------------------------------

def test_a_refused_request_takes_nothing_from_any_limit(limited: Play) -> None:
    limited.limit("all", at="listener", burst=3, shown=True).limit("mine", at="listener", burst=9)
    limited.limit("odd", burst=9, shown=True).limit("few", burst=1, match=wire.route("/few", status=200))
    few = b"GET /few HTTP/1.1\r\nhost: x\r\n\r\n"
    passes(limited, few)
    for _ in range(20):
        assert refused(limited, few)["ratelimit"] == '"few";r=0;t=1'
    assert passes(limited)["ratelimit"] == '"all";r=1;t=2, "odd";r=7;t=2'
    passes(limited)
    assert refused(limited)["ratelimit"] == '"all";r=0;t=1'
    # The first that refuses answers: those behind it are not asked.
    limited.expect_counter("limit.odd.checked", 23)
    limited.expect_counter("limit.few.checked", 21)
    limited.expect_counter("limit.all.limited", 1)


def test_a_dry_run_refuses_nobody(limited: Play) -> None:
    limited.limit("dry", at="listener", dry_run=True).limit("too", dry_run=True).limit("real", burst=2)
    assert "ratelimit" not in passes(limited)
    passes(limited)
    refused(limited)
    assert limited.stage.log() == ["- via_upstream -", "- via_upstream dry=dry_run,too=dry_run",
                                   "RL local_rate_limited{real} dry=dry_run,too=dry_run,real"]
    limited.expect_counter("limit.dry.would", 2)
    limited.expect_counter("limit.dry.limited", 0)
    limited.expect_counter("limit.real.limited", 1)


# --- whose ------------------------------------------------------------------------------------------------------

def forwarded(*values: str) -> bytes:
    return b"".join([b"GET / HTTP/1.1\r\nhost: x\r\n", *(f"x-forwarded-for: {v}\r\n".encode() for v in values),
                     b"\r\n"])


def test_a_trusted_client_speaks_for_others(limited: Play) -> None:
    limited.route("/", status=200, body=b"here").limit(key=["client_address"])
    limited.start()

    def asks(*values: str) -> int:
        limited.first.sends(forwarded(*values))
        return limited.first.expect_answer().status

    assert [asks("10.1.1.1"), asks("10.1.1.1"), asks("10.1.1.2")] == [200, 429, 200]
    # The last is the one that the neighbour has seen; the others are hearsay.
    assert [asks("10.9.9.9, 10.1.1.1"), asks("10.9.9.9", "10.1.1.2"), asks("10.1.1.1, 10.1.1.3")] == [429, 429, 200]
    assert [asks("10.1.1.3:4711"), asks("[::ffff:10.1.1.3]:80")] == [429, 429]
    # What is no address stands for nobody: it is the neighbour itself who asks.
    assert [asks("unknown"), asks(""), asks()] == [200, 429, 429]


def test_nobody_else_does(limited: Play) -> None:
    limited.route("/", status=200, body=b"here").limit(key=["client_address"])
    limited.start()
    stranger = limited.client("10.7.7.7:1")
    statuses = []
    for value in ("10.1.1.1", "10.1.1.2"):
        stranger.sends(forwarded(value))
        statuses.append(stranger.expect_answer().status)
    assert statuses == [200, 429]
    other = limited.client("10.7.7.8:1")
    other.sends(forwarded("10.1.1.1"))
    assert other.expect_answer().status == 200


def test_a_head_that_is_nearly_all_key(limited: Play) -> None:
    limited.route("/", status=200, body=b"here").limit(key=["header x-tenant"])
    for letter, status in ((b"a", 200), (b"b", 429)):
        limited.first.sends(b"GET / HTTP/1.1\r\nhost: x\r\nx-tenant: " + letter * 60_000 + b"\r\n\r\n")
        assert limited.first.expect_answer().status == status
    limited.expect_counter("limit.l.odd_keys", 2)


# --- gRPC -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc-web+proto", "Application/gRPC"])
def test_a_caller_of_grpc_gets_a_status_of_its_own(limited: Play, kind: str) -> None:
    limited.limit("l", token=3 * SECOND)
    call = f"POST /s/m HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: 0\r\n\r\n".encode()
    passes(limited, call)
    got = refused(limited, call, 200)
    assert (got["grpc-status"], got["grpc-message"], got["content-type"]) == ("8", "rate limited", kind)
    assert got[":body"] == "" and "retry-after" not in got and got["ratelimit"] == '"l";r=0;t=3'
    assert limited.ended() == [(200, ""), (200, "RL")]
    assert "grpc-status" not in refused(limited, call.replace(kind.encode(), b"application/json"))


# --- filters ----------------------------------------------------------------------------------------------------

class Trail(Filter):
    def __init__(self, name: str, trail: list[str]) -> None:
        self.me, self.trail = name, trail

    def on_request(self, request: Request) -> None:
        self.trail.append(f"{self.me} request")

    def on_route(self, request: Request) -> None:
        self.trail.append(f"{self.me} route")

    def on_response(self, request: Request, response: Response) -> None:
        self.trail.append(f"{self.me} response {response.status}")


def test_a_listener_s_limits_come_before_all_filters(limited: Play) -> None:
    trail: list[str] = []
    limited.limit(at="listener").filter(Trail("one", trail), at="listener")
    passes(limited)
    trail.clear()
    refused(limited)
    assert trail == []


def test_a_route_s_limits_come_between_the_filters_of_listener_and_route(limited: Play) -> None:
    trail: list[str] = []
    limited.limit().filter(Trail("one", trail), at="listener").filter(Trail("two", trail))
    passes(limited)
    assert trail == ["one request", "two request", "one route", "two route", "two response 200", "one response 200"]
    trail.clear()
    refused(limited)
    assert trail == ["one request", "one response 429"]


def test_what_a_filter_says_of_a_request_may_be_the_key(limited: Play) -> None:
    class Plan(Filter):
        def on_request(self, request: Request) -> None:
            request.labels["plan"] = request.headers["x-token"][:1]

    limited.limit(key=["label plan"]).filter(Plan(), at="listener")

    def token(text: bytes) -> bytes:
        return b"GET / HTTP/1.1\r\nhost: x\r\nx-token: " + text + b"\r\n\r\n"

    passes(limited, token(b"a1"))
    refused(limited, token(b"a2"))
    passes(limited, token(b"b1"))


def test_a_filter_may_put_another_answer_in_place_of_a_refusal(limited: Play) -> None:
    class Kind(Filter):
        def on_response(self, request: Request, response: Response) -> Response | None:
            return Response(503, text="come back later") if response.status == 429 else None

    limited.limit("l", token=7 * SECOND).filter(Kind(), at="listener")
    passes(limited)
    got = refused(limited, status=503)
    assert got[":body"] == "come back later" and got["retry-after"] == "7"


def test_a_limit_and_the_filter_say_the_same(limited: Play) -> None:
    class OneForAll(RateLimitKey):
        def key(self, request: Request) -> str:
            return "k"

    limit = make(OneForAll, name="l", rate=0.1, burst=1)
    limited.filter(limit).limit("l", token=10 * SECOND, match=wire.route("/limit", status=200))
    told = []
    for path in (b"/limit", b"/filter"):
        request = b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n"
        if path == b"/limit":
            passes(limited, request)
        told.append({name: value for name, value in refused(limited, request).items()
                     if name in ("retry-after", "ratelimit", "ratelimit-policy")})
    assert told[0] == told[1] and len(told[0]) == 3


# --- another snapshot -------------------------------------------------------------------------------------------

def test_buckets_survive_a_reload(limited: Play) -> None:
    limited.limit("l", token=3600 * SECOND, burst=2)
    passes(limited)
    limited.apply()
    passes(limited)
    refused(limited)
    limited.limits_at["route"] = [wire.limit("l", 9, token=3600 * SECOND, burst=2, status=503)]
    limited.apply()
    refused(limited, status=503)
    limited.limits_at["route"] = [wire.limit("m", 9, token=3600 * SECOND, burst=2)]
    limited.apply()
    passes(limited)
    limited.limits_at.clear()
    limited.apply()
    passes(limited)


def test_a_request_under_way_keeps_the_limits_it_came_by(limited: Play) -> None:
    limited.limit("l", burst=5, shown=True)
    limited.first.sends(GET)
    up = limited.connect()
    limited.limits_at.clear()
    limited.apply()
    up.answers()
    assert limited.first.expect_answer(200)["ratelimit"] == '"l";r=4;t=1'


def test_limits_that_find_no_room_are_refused_with_the_snapshot(limited: Play) -> None:
    limited.limit("l", burst=2)
    passes(limited)
    limited.limit("huge", keys=16_000_000, key=["client_address"])
    with pytest.raises(SnapshotRefused, match=r"rate limit 'huge': 16,000,000 keys take 707,\d{3},\d{3} bytes, and "
                                              r"\d\d,\d{3},\d{3} are left of the 67,108,864"):
        limited.apply()
    passes(limited)
    refused(limited)


def test_the_name_of_a_filter_s_object_is_no_limit_s(limited: Play) -> None:
    passes(limited)
    shared.Counter("limit l 1")
    limited.limit("l")
    with pytest.raises(SnapshotRefused, match="rate limit 'l': the name of its buckets is taken by a shared object"):
        limited.apply()
    passes(limited)
