"""Load balancers in Python, in a worker without sockets: what they are asked, what becomes of their answers, and of
wrong ones."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh import Endpoint, Filter, LoadBalancer, Request, Response, ViewClosed
from fastmesh.testing import Kit, endpoint


class Given(LoadBalancer):
    """Weights as they are said."""

    def start(self) -> None:
        self.asked = 0
        self.say: Any = None

    def weights(self, endpoints: Sequence[Endpoint]) -> Any:
        self.asked += 1
        return self.say(endpoints) if callable(self.say) else self.say


class Picks(LoadBalancer):
    """The endpoint that a header names by its place, or what is said."""

    def start(self) -> None:
        self.say: Any = None
        self.seen: list[Any] = []

    def pick(self, request: Request, endpoints: Sequence[Endpoint]) -> Any:
        if self.say is not None:
            return self.say(request, endpoints)
        at = request.headers.get("x-at")
        return None if at is None else endpoints[int(at)]


def balanced(kit_class: type[Kit], policy: LoadBalancer, *, raises: bool = True, filters: Sequence[Any] = (),
             **settings: Any) -> Kit:
    return kit_class(*filters, raises=raises).balance(policy, **{"endpoints": 3, **settings})


def places(kit: Kit, n: int) -> list[int]:
    """Where so many requests went."""
    return [kit.upstream.endpoints.index(kit.get().upstream.endpoint) for _ in range(n)]


# --- weights ----------------------------------------------------------------------------------------------------------


def test_it_is_asked_before_the_first_request_and_every_interval(filter_kit):
    policy = Given()
    kit = balanced(filter_kit, policy, interval="500ms")
    kit.get()
    assert policy.asked == 1
    kit.pass_time(0.4)
    assert policy.asked == 1
    kit.pass_time(0.2)
    assert policy.asked == 2
    kit.pass_time(5)
    assert policy.asked == 12


def test_the_interval_of_the_class(filter_kit):
    class Slow(Given):
        interval = "10s"

    policy = Slow()
    kit = balanced(filter_kit, policy)
    kit.pass_time(9)
    assert policy.asked == 1
    kit.pass_time(2)
    assert policy.asked == 2


@pytest.mark.parametrize("pick_by", ["round_robin", "random", "least_request"])
def test_shares_follow_weights(filter_kit, pick_by):
    policy = Given()
    kit = balanced(filter_kit, policy, pick_by=pick_by)
    kit.get()
    policy.say = [1, 0, 3.0]
    kit.pass_time(1)
    a, b, c = kit.shares(400).values()
    assert b == 0 and abs(c - 0.75) < (0.1 if pick_by == "random" else 0.01) and abs(a + c - 1) < 1e-9


@pytest.mark.parametrize("said", [
    (1, 2, 3), [1e300, 2e300, 3e300], [1e-300, 2e-300, 3e-300], [True, 2, 3.0], range(1, 4),
    lambda endpoints: [endpoint.weight for endpoint in endpoints]])
def test_what_weights_may_be(filter_kit, said):
    policy = Given()
    kit = balanced(filter_kit, policy, weights=[1, 2, 3], endpoints=None)
    kit.get()
    policy.say = said
    kit.pass_time(1)
    assert [round(share * 6) for share in kit.shares(60).values()] == [1, 2, 3]


@pytest.mark.parametrize("said", [None, [0, 0, 0], [0.0, -0.0, False]])
def test_none_and_nothing_are_as_configured(filter_kit, said):
    policy = Given()
    kit = balanced(filter_kit, policy, weights=[2, 1, 1], endpoints=None)
    kit.get()
    policy.say = [0, 0, 1]
    kit.pass_time(1)
    assert set(places(kit, 10)) == {2}
    policy.say = said
    kit.pass_time(1)
    assert list(kit.shares(40).values()) == [0.5, 0.25, 0.25]


class Liar:
    """Says what its length is, and is something else."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, at: int) -> float:
        if at < 2:
            return 1.0
        raise IndexError


class Number:
    def __float__(self) -> float:
        raise ZeroDivisionError("no number")


WRONG = [
    ([1, 2], "weights returned 2 numbers for 3 endpoints"),
    ([1, 2, 3, 4], "weights returned 4 numbers for 3 endpoints"),
    ([], "weights returned 0 numbers"),
    (Liar(), "weights returned 2 numbers for 3"),
    ([1, -1, 1], "weights returned -1.0 for <Endpoint 10.0.0.2:80>: a finite number is allowed, 0 or above"),
    ([1, 1, math.nan], "weights returned nan for <Endpoint 10.0.0.3:80>"),
    ([math.inf, 1, 1], "weights returned inf for <Endpoint 10.0.0.1:80>"),
    ([1, "2", 3], "weights returned a str for <Endpoint 10.0.0.2:80>: a number is allowed"),
    ([1, None, 3], "weights returned a NoneType for"),
    ([1, 10**400, 3], "int too large to convert to float"),
    ([1, Number(), 3], "no number"),
    (7, "weights returned a int: a sequence with one number for each endpoint is allowed, or None"),
    ("abc", "weights returned a str"),
    ({"a": 1, "b": 2, "c": 3}, "weights returned a dict"),
    ({1, 2, 3}, "weights returned a set"),
    ((one for one in (1, 2, 3)), "weights returned a generator"),
]


@pytest.mark.parametrize(("said", "why"), WRONG, ids=[why[:40] for _, why in WRONG])
def test_wrong_weights_are_those_of_the_configuration(filter_kit, said, why):
    policy = Given()
    kit = balanced(filter_kit, policy, raises=False)
    kit.get()
    policy.say = [0, 0, 1]
    kit.pass_time(1)
    assert set(places(kit, 6)) == {2}
    policy.say = said
    kit.pass_time(1)
    assert sorted(places(kit, 6)) == [0, 0, 1, 1, 2, 2]
    report, = kit.reports
    assert (report.what, report.filter, report.phase) == ("error", "Given", "weights") and why in report.text
    policy.say = [0, 0, 1]
    kit.pass_time(1)
    assert set(places(kit, 6)) == {2}


def test_an_exception_is_raised_in_the_test(filter_kit):
    policy = Given()
    kit = balanced(filter_kit, policy)
    kit.get()

    def fail(endpoints: Sequence[Endpoint]) -> None:
        raise RuntimeError("no weights today")

    policy.say = fail
    with pytest.raises(RuntimeError, match="no weights today"):
        kit.pass_time(1)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, RecursionError])
def test_whatever_is_raised(filter_kit, error):
    policy = Given()
    kit = balanced(filter_kit, policy, raises=False)
    kit.get()

    def fail(endpoints: Sequence[Endpoint]) -> None:
        raise error

    policy.say = fail
    kit.pass_time(1)
    assert kit.get().status == 200 and [report.what for report in kit.reports] == ["error"]


def test_three_failures_in_a_row_are_enough(filter_kit):
    policy = Given()
    kit = balanced(filter_kit, policy, raises=False, quarantine={"pause": "5s"})
    kit.get()
    policy.say = []
    kit.pass_time(2)
    policy.say = None
    kit.pass_time(1)            # it goes well again: the count begins anew
    policy.say = []
    kit.pass_time(2)
    assert policy.asked == 6 and "quarantine" not in [report.what for report in kit.reports]
    kit.pass_time(1)
    report = kit.reports[-1]
    assert report.what == "quarantine" and "3 times in a row" in report.text and "go on without it" in report.text
    kit.pass_time(4)
    assert policy.asked == 7
    policy.say = [1, 0, 0]
    kit.pass_time(2)
    assert policy.asked > 7 and kit.reports[-1].what == "back"
    assert set(places(kit, 6)) == {0}


def test_without_quarantine_it_is_asked_on(filter_kit):
    policy = Given()
    kit = balanced(filter_kit, policy, raises=False, quarantine={"failures": 0})
    kit.get()
    policy.say = []
    kit.pass_time(20)
    assert policy.asked == 21 and [report.what for report in kit.reports] == ["error"]


def test_an_overrun_is_told(filter_kit):
    policy = Given()
    kit = balanced(filter_kit, policy, budget="0.001ms")
    kit.get()
    policy.say = lambda endpoints: [sum(range(10_000)) and 1 for _ in endpoints]
    kit.pass_time(1)
    report = kit.reports[-1]
    assert report.what == "overrun" and "do less in it, or raise `budget`" in report.text


def test_a_shadow_has_no_effect(filter_kit):
    policy = Given()
    kit = balanced(filter_kit, policy, mode="shadow")
    kit.get()
    policy.say = [0, 0, 1]
    kit.pass_time(1)
    assert sorted(places(kit, 6)) == [0, 0, 1, 1, 2, 2]
    assert [(report.what, report.text) for report in kit.reports] == [
        ("shadow", "weights would set the weights of its cluster")]


def test_no_endpoints(filter_kit):
    policy = Given()
    kit = balanced(filter_kit, policy, endpoints=0)
    assert kit.get().status == 503
    kit.pass_time(3)
    assert policy.asked == 0


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=2), st.just([1.0]))


@given(said=st.one_of(VALUES, st.lists(VALUES, max_size=5), st.tuples(*[st.floats()] * 3),
                      st.lists(st.floats(min_value=0, allow_nan=False, allow_infinity=False), min_size=3, max_size=3)))
@settings(max_examples=tries(300), deadline=None)
def test_any_answer_at_all(said):
    """A request is answered whatever weights have said, and where they say is 0, nothing goes."""
    policy = Given()
    with Kit(raises=False).balance(policy, endpoints=3, quarantine={"failures": 0}) as kit:
        kit.get()
        policy.say = said
        kit.pass_time(1)
        shares = list(kit.shares(8).values())
        assert sum(shares) == 1
        if isinstance(said, (list, tuple)) and len(said) == 3 and not kit.reports and any(said):
            assert all(share == 0 for share, weight in zip(shares, said, strict=True) if weight == 0)


# --- endpoints --------------------------------------------------------------------------------------------------------


def test_what_an_endpoint_tells(filter_kit):
    class Look(LoadBalancer):
        def weights(self, endpoints: Sequence[Endpoint]) -> None:
            self.told = [(e.address, e.weight, e.requests, e.answers, e.failures, e.connect_failures, e.active,
                          e.waiting, e.connections, e.latency, e.answer_time, e.is_avoided, e.was_tried)
                         for e in endpoints]

    policy = Look()
    kit = balanced(filter_kit, policy, weights=[1, 5], endpoints=None, interval="100ms")
    kit.pass_time(0)
    assert policy.told == [
        ("10.0.0.1:80", 1, 0, 0, 0, 0, 0, 0, 0, None, 0.0, False, False),
        ("10.0.0.2:80", 5, 0, 0, 0, 0, 0, 0, 0, None, 0.0, False, False)]
    kit.upstream.answers(500, after=0.25)
    kit.shares(6)
    kit.pass_time(2)
    (_, _, requests, answers, failures, refused, active, waiting, connections, latency, took, avoided, tried) = (
        policy.told[1])
    assert requests == answers == 5 and failures == 5 and refused == active == waiting == 0
    assert connections == 1 and abs(latency - 0.25) < 0.001 and abs(took - 1.25) < 0.01
    assert avoided is tried is False
    kit.upstream.fails("connect_failure", times=1)
    kit.begin("GET", "/")
    kit.pass_time(0.2)
    # One is avoided, and the other has the request.
    assert sorted((told[5], told[11], told[6]) for told in policy.told) == [(0, False, 1), (1, True, 0)]


def test_it_is_closed_between_the_questions(filter_kit):
    kept: list[Endpoint] = []

    class Keep(LoadBalancer):
        def weights(self, endpoints: Sequence[Endpoint]) -> None:
            kept[:] = endpoints
            assert endpoints[0].address

    kit = balanced(filter_kit, Keep())
    kit.get()
    for name in ("address", "weight", "active", "requests", "latency", "is_avoided", "was_tried"):
        with pytest.raises(ViewClosed, match="while weights or pick runs"):
            getattr(kept[0], name)
    assert repr(kept[0]) == "<Endpoint 10.0.0.1:80>"
    kit.close()
    with pytest.raises(ViewClosed):
        _ = kept[0].active
    kept.clear()


def test_nobody_makes_one():
    with pytest.raises(TypeError, match=r"fastmesh\.testing\.endpoint"):
        Endpoint()


def test_they_are_the_same_from_question_to_question(filter_kit):
    seen = []

    class Same(LoadBalancer):
        def weights(self, endpoints: Sequence[Endpoint]) -> None:
            seen.append(endpoints)

    kit = balanced(filter_kit, Same())
    kit.get()
    kit.pass_time(2)
    assert len(seen) == 3 and seen[0] is seen[1] is seen[2]
    seen.clear()


# --- pick -------------------------------------------------------------------------------------------------------------


def test_it_picks(filter_kit):
    kit = balanced(filter_kit, Picks())
    for at in (2, 0, 1, 1):
        assert kit.get(headers={"x-at": str(at)}).upstream.endpoint == kit.upstream.endpoints[at]
    assert sorted(places(kit, 6)) == [0, 0, 1, 1, 2, 2]


def test_weights_and_a_pick(filter_kit):
    class Both(Picks):
        def weights(self, endpoints: Sequence[Endpoint]) -> list[float]:
            return [0, 0, 1]

    kit = balanced(filter_kit, Both())
    assert set(places(kit, 5)) == {2}
    assert kit.get(headers={"x-at": "0"}).upstream.endpoint == kit.upstream.endpoints[0]


def test_what_a_pick_sees_of_the_request(filter_kit):
    class Note(Filter):
        def on_request(self, request: Request) -> None:
            request.headers["x-made"] = "by a filter"
            request.state["key"] = 7

    policy = Picks()
    kit = balanced(filter_kit, policy, filters=[Note()])

    def look(request: Request, endpoints: Sequence[Endpoint]) -> Endpoint:
        policy.seen.append((request.method, request.path, request.query, request.headers["x-made"], request.peer,
                            request.state["key"], request.cluster, request.attempts, request.endpoint))
        with pytest.raises(RuntimeError, match="on its way already"):
            request.headers["x"] = "y"
        return endpoints[1]

    policy.say = look
    assert kit.post("/a?b=c", body=b"x", peer="10.9.9.9").upstream.endpoint == kit.upstream.endpoints[1]
    assert policy.seen == [("POST", "/a", "b=c", "by a filter", "10.9.9.9", 7, "upstream", 0, None)]


def test_a_request_that_is_kept_is_closed(filter_kit):
    policy = Picks()
    kit = balanced(filter_kit, policy)
    policy.say = lambda request, endpoints: policy.seen.append(request)
    assert kit.get().status == 200
    with pytest.raises(ViewClosed):
        _ = policy.seen[0].path
    policy.seen.clear()


def test_without_any_filter_nothing_is_left(filter_kit):
    """The request's view is made for the pick alone."""
    kit = balanced(filter_kit, Picks())
    kit.upstream.answers(chunks=[b"a", b"b"], trailers={"x": "y"})
    reply = kit.post("/", chunks=[b"1", b"2"], headers={"x-at": "1"})
    assert reply.body == b"ab" and reply.upstream.body == b"12"
    kit.upstream.fails("silence")
    reply = kit.begin("GET", "/", headers={"x-at": "1"})
    reply.leave()


def test_another_attempt_goes_elsewhere(filter_kit):
    policy = Picks()
    kit = balanced(filter_kit, policy)

    def look(request: Request, endpoints: Sequence[Endpoint]) -> Endpoint:
        policy.seen.append(([e.was_tried for e in endpoints], [e.is_avoided for e in endpoints]))
        return endpoints[0]

    policy.say = look
    kit.upstream.fails("connect_failure", times=1)
    reply = kit.get()
    assert reply.status == 200 and reply.upstream.endpoint != kit.upstream.endpoints[0]
    assert policy.seen == [([False] * 3, [False] * 3), ([True, False, False], [True, False, False])]
    assert kit._stage.spent(1)[0] >= 2


def test_an_avoided_endpoint_is_not_taken(filter_kit):
    policy = Picks()
    kit = balanced(filter_kit, policy)
    kit.pretend(1, is_avoided=True)
    assert {kit.get(headers={"x-at": "1"}).upstream.endpoint for _ in range(6)} == {
        kit.upstream.endpoints[0], kit.upstream.endpoints[2]}
    kit.pretend(1, is_avoided=False)
    assert kit.get(headers={"x-at": "1"}).upstream.endpoint == kit.upstream.endpoints[1]


async def later() -> None: ...


WRONG_PICKS = [
    (lambda request, endpoints: "10.0.0.1:80", "pick returned a str: one of the endpoints is allowed, or None"),
    (lambda request, endpoints: endpoints, "pick returned a tuple"),
    (lambda request, endpoints: 0, "pick returned a int"),
    (lambda request, endpoints: later(), "pick returned a coroutine"),
    (lambda request, endpoints: endpoints[9], "tuple index out of range"),
]


@pytest.mark.parametrize(("say", "why"), WRONG_PICKS, ids=[why[:30] for _, why in WRONG_PICKS])
@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_a_wrong_pick(filter_kit, say, why, on_error):
    policy = Picks()
    kit = balanced(filter_kit, policy, raises=False, on_error=on_error)
    kit.get()
    policy.say = say
    replies = [kit.get() for _ in range(3)]
    assert {reply.status for reply in replies} == {200 if on_error == "open" else 503}
    if on_error == "open":
        assert sorted(reply.upstream.endpoint for reply in replies) == kit.upstream.endpoints
    else:
        assert replies[0].outcome.details == "filter_failed{Picks}" and replies[0].upstream is None
    report, = kit.reports
    assert (report.what, report.phase) == ("error", "pick") and why in report.text


def test_an_endpoint_of_another_cluster(filter_kit):
    other, policy = Picks(), Picks()
    kit = balanced(filter_kit, policy, raises=False).balance(other, "other", endpoints=1)
    kit.route(prefix="/other", cluster="other")
    other.say = lambda request, endpoints: other.seen.append(endpoints[0])
    kit.get("/other")
    policy.say = lambda request, endpoints: other.seen[0]
    assert kit.get().status == 200
    assert "none of the endpoints that it was given" in kit.reports[0].text
    other.seen.clear()


def test_an_endpoint_of_the_configuration_before(filter_kit):
    policy = Picks()
    kit = balanced(filter_kit, policy, raises=False)
    policy.say = lambda request, endpoints: policy.seen.append(endpoints[0])
    kit.get()
    kit.route(prefix="/new")        # another configuration
    policy.say = lambda request, endpoints: policy.seen[0]
    assert kit.get().status == 200
    assert "of a configuration before this one" in kit.reports[0].text
    policy.seen.clear()


def test_picks_that_fail_are_left_alone(filter_kit):
    policy = Picks()
    kit = balanced(filter_kit, policy, raises=False, on_error="closed",
                   quarantine={"failures": 3, "window": "10s", "pause": "5s"})
    kit.get()
    policy.say = lambda request, endpoints: policy.seen.append(1) or 7
    assert [kit.get().status for _ in range(5)] == [503] * 5
    assert len(policy.seen) == 3
    assert [report.what for report in kit.reports] == ["error", "quarantine"]
    assert "requests get 503" in kit.reports[1].text
    policy.say = None
    kit.pass_time(6)
    assert kit.get().status == 200 and kit.reports[-1].what == "back"


def test_a_shadow_picks_without_effect(filter_kit):
    policy = Picks()
    kit = balanced(filter_kit, policy, mode="shadow", raises=False)
    assert len({kit.get(headers={"x-at": "1"}).upstream.endpoint for _ in range(6)}) == 3
    assert {(report.what, report.text) for report in kit.reports} == {("shadow", "pick would pick another endpoint")}
    policy.say = lambda request, endpoints: 7
    assert kit.get().status == 200


def test_calls_of_filters_are_balanced_too(filter_kit):
    class Calls(Filter):
        async def on_request(self, request: Request) -> Response:
            reply = await self.mesh.get("other", "/x", headers={"x-at": "1"})
            return Response(reply.status)

    policy = Picks()
    kit = filter_kit(Calls()).balance(policy, "other", endpoints=3)
    assert kit.get().status == 200
    assert [asked.endpoint for asked in kit.cluster("other").requests] == [kit.cluster("other").endpoints[1]]


# --- life -------------------------------------------------------------------------------------------------------------


def test_what_it_has_besides_its_settings(filter_kit):
    class Counts(LoadBalancer):
        factor: float = 2.0

        def start(self) -> None:
            self.questions = self.metrics.counter("questions", help="How often it was asked.")
            self.log.info("%s starts", self.name)

        def weights(self, endpoints: Sequence[Endpoint]) -> list[float]:
            self.questions.inc()
            return [self.factor ** i for i in range(len(endpoints))]

    kit = balanced(filter_kit, Counts(factor=3.0))
    kit.get()
    kit.pass_time(2)
    assert kit.metric("questions") == 3
    assert kit.log[0].text == "Counts starts"
    assert list(kit.shares(13).values()) == [1 / 13, 3 / 13, 9 / 13]


def test_settings_are_checked():
    class Typed(LoadBalancer):
        factor: float

        def weights(self, endpoints: Sequence[Endpoint]) -> None: ...

    with pytest.raises(TypeError, match="has no setting 'factr'"):
        Typed(factr=1)
    with pytest.raises(TypeError, match="a number is allowed"):
        Typed(factor="many")


# --- what is said of endpoints ----------------------------------------------------------------------------------------


def test_made_up_endpoints_say_what_a_test_wants():
    plain, told = endpoint(), endpoint(metadata={"version": "v2"}, priority=1, zone="eu-1a")
    assert (plain.metadata, plain.priority, plain.zone) == ({}, 0, "")
    assert (told.metadata, told.priority, told.zone) == ({"version": "v2"}, 1, "eu-1a")
    with pytest.raises(TypeError):
        told.metadata["version"] = "v3"
