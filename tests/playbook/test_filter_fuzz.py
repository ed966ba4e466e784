"""Filters that do anything, legal or not, in any order: the client gets whole answers or a closed connection, no
upstream sees two requests where one was asked for, each exchange is complete once, and nothing is left behind.

Both where filters run in the worker and where they run in a host.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from effort import TIMES, tries
from hypothesis import example, given, settings
from hypothesis import strategies as st
from playbook.hosted import HostedPlay
from playbook.play import Client, Incomplete, Play, take_message

import fastmesh.host.signal
from fastmesh import Filter, Outcome, Request, Response, Retry, Signal, shared, sleep
from fastmesh.filters.mesh import Mesh
from fastmesh.filters.metrics import Metrics, detach
from fastmesh.filters.reporter import Reporter
from fastmesh.host.mesh import HostMesh

NAMES = st.sampled_from(["host", "x-a", "X-A", "content-length", "transfer-encoding", "connection", "te", "upgrade",
                         "x-request-id", "x-forwarded-for", "expect", "cookie", "date", "", " ", "a b", "x:y"]
                        ) | st.text(max_size=6)
VALUES = (st.sampled_from(["", "1", "chunked", "close", "a\r\nb: c", "x" * 5000, "\0", " v ", "é", "100-continue"])
          | st.text(max_size=8) | st.binary(max_size=8) | st.integers() | st.none())
PATHS = (st.sampled_from(["/", "/a/../b", "//", "*", "", "a", "/ x", "/%2e", "/a?b", "/" + "p" * 9000])
         | st.text(max_size=6))
STATUSES = st.sampled_from([200, 204, 304, 101, 99, 599, 600, -1, True, "200", 418])

kept: list[Any] = []

# What is done with a request, an answer (or None), a name, a value, a path, a status.
ACTS: list[Callable[..., Any]] = [
    lambda r, a, n, v, p, s: r.headers.__setitem__(n, v),
    lambda r, a, n, v, p, s: r.headers.add(n, v),
    lambda r, a, n, v, p, s: r.headers.discard(n),
    lambda r, a, n, v, p, s: r.headers.clear(),
    lambda r, a, n, v, p, s: r.headers.update({n: v}),
    lambda r, a, n, v, p, s: [r.headers.add(name, v) for name in r.headers],
    lambda r, a, n, v, p, s: (r.headers.get(n), r.headers.get_all(n), r.headers.raw(n), n in r.headers),
    lambda r, a, n, v, p, s: r.headers.raw_all(n),
    lambda r, a, n, v, p, s: (r.headers.copy(), r.headers.fields(), len(r.headers), repr(r.headers)),
    lambda r, a, n, v, p, s: setattr(r, "path", p),
    lambda r, a, n, v, p, s: setattr(r, "query", p),
    lambda r, a, n, v, p, s: setattr(r, "host", v),
    lambda r, a, n, v, p, s: setattr(r, "cluster", v),
    lambda r, a, n, v, p, s: setattr(r, "cluster", "x"),
    lambda r, a, n, v, p, s: setattr(r, "subset", {"version": v}),
    lambda r, a, n, v, p, s: setattr(r, "subset", {n: "v1", "version": n}),
    lambda r, a, n, v, p, s: setattr(r, "subset", {"version": "v2", "stage": "beta"}),
    lambda r, a, n, v, p, s: setattr(r, "subset", v),
    lambda r, a, n, v, p, s: (setattr(r, "subset", None), setattr(r, "cluster", "x")),
    lambda r, a, n, v, p, s: setattr(r, "timeout", v),
    lambda r, a, n, v, p, s: r.split({"x": 1, n: 0}, by=v),
    lambda r, a, n, v, p, s: r.split({"x": v}, by=n),
    lambda r, a, n, v, p, s: r.split({"x": 2.5}),
    lambda r, a, n, v, p, s: setattr(r, "retry", Retry(3, {"5xx", 404}, per_try_timeout=0.02)),
    lambda r, a, n, v, p, s: setattr(r, "retry", Retry(8, {"5xx"}, backoff=0, non_idempotent=True)),
    lambda r, a, n, v, p, s: setattr(r, "retry", Retry(attempts=v, on={s})),
    lambda r, a, n, v, p, s: setattr(r, "retry", v),
    lambda r, a, n, v, p, s: kept.append((r, r.headers, r.retry)),
    lambda r, a, n, v, p, s: (r.path, r.query, r.target, r.host, r.scheme, r.id, r.cookies, r.params, r.method),
    lambda r, a, n, v, p, s: (r.peer, r.connection, r.listener, r.route, r.cluster, r.endpoint, r.attempts, r.elapsed,
                              r.subset),
    lambda r, a, n, v, p, s: r.labels.__setitem__(n, v),
    lambda r, a, n, v, p, s: r.labels.__delitem__(n),
    lambda r, a, n, v, p, s: r.state.__setitem__(n, r),
    lambda r, a, n, v, p, s: kept.append((r, r.headers, a)),
    lambda r, a, n, v, p, s: a.headers.__setitem__(n, v),
    lambda r, a, n, v, p, s: a.headers.add(n, v),
    lambda r, a, n, v, p, s: a.headers.clear(),
    lambda r, a, n, v, p, s: setattr(a, "status", s),
    lambda r, a, n, v, p, s: (a.status, a.headers.copy(), a.body, a.is_local, repr(a)),
    lambda r, a, n, v, p, s: [(old.path, headers["x"]) for old, headers, _ in kept],
    lambda r, a, n, v, p, s: (_ for _ in ()).throw(ValueError("raised")),
]
RETURNS: list[Callable[..., Any]] = [
    lambda *_: None, lambda *_: None, lambda *_: None,
    lambda r, a, n, v, p, s: Response(s, text="own"),
    lambda r, a, n, v, p, s: Response(s, body=b"", headers={n: v}),
    lambda r, a, n, v, p, s: a,
    lambda r, a, n, v, p, s: v,
    lambda *_: True,
    lambda *_: b"bytes",
    lambda *_: 7,
]
# What a filter does with what it was given before `start`, and with what all workers share: itself, fields behind a
# body (or None), a name, a value.
SERVICES: list[Callable[..., Any]] = [
    lambda f, t, n, v: f.metrics.counter(n).inc(),
    lambda f, t, n, v: f.metrics.counter("seen", labels=("a",)).inc(a=v),
    lambda f, t, n, v: f.metrics.counter("seen", labels=("a",)).labels(a=n).inc(v),
    lambda f, t, n, v: f.metrics.gauge("now").set(v),
    lambda f, t, n, v: f.metrics.histogram("sizes", buckets=(1, 2)).observe(v),
    lambda f, t, n, v: f.metrics.histogram(n, labels=(v,)),
    lambda f, t, n, v: f.log.info(n, v),
    lambda f, t, n, v: f.log.error(v),
    lambda f, t, n, v: shared.Counter("fuzz").add(v),
    lambda f, t, n, v: shared.Counter(n).value,
    lambda f, t, n, v: shared.Gauge("fuzz-gauge").set(v),
    lambda f, t, n, v: (shared.Flag("fuzz-flag").set(v), bool(shared.Flag("fuzz-flag"))),
    lambda f, t, n, v: shared.Flag("fuzz").get(),           # it is a Counter
    lambda f, t, n, v: shared.TokenBuckets("fuzz-buckets", rate=5, max_keys=3).take(n),
    lambda f, t, n, v: shared.TokenBuckets("fuzz-buckets", rate=5, max_keys=3).charge(v, 3.5),
    lambda f, t, n, v: shared.TokenBuckets("fuzz-buckets", rate=v, max_keys=3).take(n, v),
    lambda f, t, n, v: shared.LruMap("fuzz-map", max_entries=3, max_bytes=8).put(n, v),
    lambda f, t, n, v: shared.LruMap("fuzz-map", max_entries=3, max_bytes=8).add(n, v),
    lambda f, t, n, v: (shared.LruMap("fuzz-map", max_entries=3, max_bytes=8).get(n),
                        shared.LruMap("fuzz-map", max_entries=3, max_bytes=8).delete(n)),
    lambda f, t, n, v: [signal.finish(v) for signal in f.signals],
    lambda f, t, n, v: f.signals.pop().fail(ValueError(n)),
    lambda f, t, n, v: f.signals.append(f.of.Signal()),
    lambda f, t, n, v: f.mesh.get("x", "/mesh").close(),    # a coroutine that nobody awaits
    lambda f, t, n, v: t.__setitem__(n, v),
    lambda f, t, n, v: t.add(n, v),
    lambda f, t, n, v: (t.clear(), t.copy()),
    lambda f, t, n, v: kept.append((t, t, None)),
]


# What an `async def` waits for first.
async def nothing(f: Any, n: Any, v: Any) -> None:
    pass


async def a_moment(f: Any, n: Any, v: Any) -> None:
    await f.of.sleep(0)


async def a_while(f: Any, n: Any, v: Any) -> None:
    await f.of.sleep(0.01)


async def a_signal(f: Any, n: Any, v: Any) -> None:
    f.signals.append(f.of.Signal())
    await f.signals[-1]


async def a_signal_again(f: Any, n: Any, v: Any) -> None:
    await f.signals[0]


async def a_call(f: Any, n: Any, v: Any) -> None:
    await f.mesh.get("x", "/mesh", timeout=0.02)


async def a_call_of_anything(f: Any, n: Any, v: Any) -> None:
    await f.mesh.post(v, "/mesh", body=b"b" * 300, headers={n: v}, limit=5)


async def what_takes_its_time_to_end(f: Any, n: Any, v: Any) -> None:
    try:
        await f.of.sleep(1)
    finally:
        await f.of.sleep(0.01)


async def what_does_not_want_to_end(f: Any, n: Any, v: Any) -> None:
    for _ in range(3):
        with contextlib.suppress(BaseException):
            await f.of.sleep(1)


async def what_is_not_offered(f: Any, n: Any, v: Any) -> None:
    await Strange()


class Strange:
    """Awaits what nobody can resume."""

    def __await__(self) -> Iterator[Any]:
        yield "what is this"


WAITS = [nothing, a_moment, a_while, a_signal, a_signal_again, a_call, a_call_of_anything, what_takes_its_time_to_end,
         what_does_not_want_to_end, what_is_not_offered]


async def turn(seconds: float) -> None:
    """A host's sleep: the test's clock is not the loop's."""
    for _ in range(3 if seconds else 1):
        await asyncio.sleep(0)


IN_PLACE = SimpleNamespace(sleep=sleep, Signal=Signal)
IN_A_HOST = SimpleNamespace(sleep=turn, Signal=fastmesh.host.signal.Signal)

STEP = st.tuples(st.integers(0, len(ACTS) + len(SERVICES) - 1), NAMES, VALUES, PATHS, STATUSES, st.booleans())
# What a phase does, what it returns, and what it waits for; None is a plain function.
PHASE = st.tuples(st.lists(STEP, max_size=4), st.integers(0, len(RETURNS) - 1),
                  st.none() | st.integers(0, len(WAITS) - 1))
NAMES_OF_PHASES = ("on_connection", "on_request", "on_route", "on_request_chunk", "on_request_trailers", "on_response",
                   "on_response_chunk", "on_response_trailers", "on_upstream_error", "on_retry", "on_complete")
# How a filter takes a body, each direction by itself.
FORMS = st.tuples(*[st.sampled_from(["chunk", "body", "stream"])] * 2)
PLAN = st.tuples(st.dictionaries(st.sampled_from(NAMES_OF_PHASES), PHASE, max_size=5), FORMS)
REQUESTS = {
    "get": b"GET /a/b?c=d HTTP/1.1\r\nhost: x\r\nx-a: 1\r\n\r\n",
    "head": b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n",
    "post": b"POST /a/b?c=d HTTP/1.1\r\nhost: x\r\nx-a: 1\r\ncontent-length: 12\r\n\r\nhello world!",
    "empty": b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
    "chunked": b"PUT /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
               b"7\r\n world!\r\n0\r\nx-t: 1\r\n\r\n",
    "expects": b"POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
    "upgrade": b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "broken": b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
}
MARK = ("exchange",)        # in `request.state`: nothing that a filter of these tests sets by itself


class Tally(Filter):
    """Stands in front of all others, and counts exchanges: each has a number of its own, in `request.state`."""

    def __init__(self) -> None:
        self.begun = 0
        self.complete: Counter[int] = Counter()

    def on_request(self, request: Request) -> None:
        request.state[MARK] = self.begun
        self.begun += 1

    def on_complete(self, request: Request, outcome: Outcome) -> None:
        self.complete[request.state[MARK]] += 1


def filter_of(plan: dict[str, Any], forms: tuple[str, str], services: dict[str, Any]) -> Any:
    """A filter with these phases. It keeps the numbers of the exchanges in which it was asked, and how often it was
    told of the end of each."""
    def act(f: Any, phase: str, request: Any, more: tuple[Any, ...]) -> Any:
        steps, returned, _ = plan[phase]
        answer = next((one for one in more if hasattr(one, "is_local")), None)
        fields = more[0] if phase.endswith("_trailers") else None
        last: tuple[Any, ...] = ("x-a", "1", "/", 200)
        for number, *given_, forgives in steps:
            last = tuple(given_)
            with contextlib.suppress(Exception if forgives else ()):
                if number < len(ACTS):
                    ACTS[number](request, answer, *last)
                else:
                    SERVICES[number - len(ACTS)](f, fields, *last[:2])
        return RETURNS[returned](request, answer, *last)

    def enter(f: Any, phase: str, request: Any) -> None:
        if phase == "on_complete":
            f.told[request.state[MARK]] += 1
        elif phase != "on_connection":
            f.asked.add(request.state[MARK])

    async def wait(f: Any, phase: str) -> None:
        steps, _, waits = plan[phase]
        if waits is not None:
            await WAITS[waits](f, *(steps[0][1:3] if steps else ("x-a", "1")))

    members: dict[str, Any] = {}
    for phase in plan:
        def plain(self: Filter, request: Any, *more: Any, phase: str = phase) -> Any:
            enter(self, phase, request)
            return act(self, phase, request, more)

        async def waiting(self: Filter, request: Any, *more: Any, phase: str = phase) -> Any:
            enter(self, phase, request)
            await wait(self, phase)
            return act(self, phase, request, more)

        async def stream(self: Filter, request: Any, *more: Any, phase: str = phase) -> AsyncIterator[Any]:
            enter(self, phase, request)
            async for chunk in more[-1]:
                if "response" in phase:
                    yield act(self, phase, request, more)
                    yield chunk
                else:
                    yield chunk
                    await wait(self, phase)
                    yield act(self, phase, request, more)

        form = forms["response" in phase] if phase.endswith("_chunk") else ""
        if form == "stream":
            members[phase.replace("_chunk", "_stream")] = stream
        else:
            members[phase.replace("_chunk", f"_{form}")] = plain if plan[phase][2] is None else waiting
    made = type("Any", (Filter,), members)()
    made.signals, made.told, made.asked = [], Counter(), set()
    for name, value in services.items():
        setattr(made, name, value)
    return made


@pytest.mark.timeout(120 * TIMES)
@pytest.mark.usefixtures("spare_descriptor")
@pytest.mark.parametrize("manners", ["ready", "completion"])
@pytest.mark.parametrize("where", ["in place", "in a host"])
# The same ones each time, so that a change is what a failure is about; with TEST_LONG=2 and more, others each time.
@settings(max_examples=tries(60), deadline=None, derandomize=TIMES == 1)
@given(plans=st.lists(PLAN, min_size=1, max_size=3), on_error=st.sampled_from(["open", "closed", "skip"]),
       requests=st.lists(st.sampled_from(sorted(REQUESTS)), min_size=1, max_size=3),
       answer=st.sampled_from(["plain", "chunked", "close", "500", "reset", "none"]), cut=st.integers(1, 130),
       leaves=st.booleans(), at=st.sampled_from(["listener", "route", "cluster"]), shadow=st.booleans(),
       body_limit=st.sampled_from([8, 65_536]), changes_body=st.booleans(), failures=st.sampled_from([0, 0, 2]))
# Found by long runs.
@example(plans=[({"on_request": ([], 0, 8)}, ("chunk", "chunk"))], on_error="open", requests=["chunked", "broken"],
         answer="plain", cut=1, leaves=False, at="listener", shadow=False, body_limit=8, changes_body=False, failures=0)
@example(plans=[({"on_request_chunk": ([], 0, 5)}, ("stream", "chunk"))], on_error="open", requests=["broken"],
         answer="plain", cut=1, leaves=False, at="listener", shadow=False, body_limit=8, changes_body=False, failures=0)
@example(plans=[({"on_response_chunk": ([], 8, None)}, ("chunk", "stream"))], on_error="open", requests=["chunked"],
         answer="plain", cut=1, leaves=False, at="listener", shadow=False, body_limit=8, changes_body=False, failures=0)
def test_anything(manners: str, where: str, plans: list[tuple[dict[str, Any], tuple[str, str]]], on_error: str,
                  requests: list[str], answer: str, cut: int, leaves: bool, at: str, shadow: bool, body_limit: int,
                  changes_body: bool, failures: int) -> None:
    detach()
    play: Play = HostedPlay(manners) if where == "in a host" else Play(manners)
    tally = Tally()
    made = []
    try:
        play.endpoints("a", "b").logged((27, ""))
        play.splits(a={"version": "v1"}, b={"version": "v2", "stage": "beta"})
        play.filter(tally, at="listener")
        for i, (plan, forms) in enumerate(plans):
            name = f"any-{i}"
            services = {
                "of": IN_A_HOST if isinstance(play, HostedPlay) else IN_PLACE, "changes_body": changes_body,
                "mesh": HostMesh(play.calls.asks) if isinstance(play, HostedPlay) else Mesh(),
                "metrics": Metrics(name), "log": Reporter(name, lambda event: None)}
            made.append(filter_of({phase: does for phase, does in plan.items()
                                   if phase != "on_connection" or at == "listener"}, forms, services))
            play.filter(made[-1], at=at, on_error=on_error, shadow=shadow and i == 0, timeout_ns=50_000_000,
                        body_limit=body_limit, changes_body=changes_body,
                        quarantine=(failures, 10**10, 10**7, 10**8))
        converse(play, requests, answer, cut, leaves)
        for client in play.peers:
            if not client.is_closed:
                client.resets()
        play.pass_time("400ms")     # for on_complete phases that wait, and do not want to end
        expect_ends(play, tally, made, on_error == "skip" or failures > 0)
    except BaseException:
        play.abandon()
        raise
    finally:
        kept.clear()
        for each in made:
            each.signals.clear()
    play.end()
    if isinstance(play, HostedPlay):
        assert play.calls.exchanges == {} and play.calls.running == {} and play.host.pending == {}
        assert play.calls.asks.waiting == {} and play.host.errands.asks == {} and play.nonsense == []
        play.shut()


def expect_ends(play: Play, tally: Tally, made: list[Any], may_be_left_out: bool) -> None:
    """Each exchange is complete, once, for each filter that was asked in it; and no coroutine waits."""
    assert tally.complete == Counter(range(tally.begun))
    for each in made:
        assert not each.told or max(each.told.values()) == 1, each.told
        if hasattr(type(each), "on_complete") and type(each).on_complete is not Filter.on_complete:
            assert may_be_left_out or each.asked <= set(each.told), (each.asked, each.told)
    assert [play.stage.spent(row)[4] for row in range(len(play.slots))] == [0] * len(play.slots)


# Of 12 ms: a filter that does not want to end is let go after 300 ms, and there are three of them, in each phase of
# each request.
ROUNDS_MOST = 3000


def converse(play: Play, requests: list[str], answer: str, cut: int, leaves: bool) -> None:
    """One request after the other, each in two pieces, whether or not there was an answer to the one before; on one
    connection for as long as it is open."""
    client = play.client()
    asked: list[tuple[Client, list[str]]] = [(client, [])]
    unsent: list[bytes] = []
    seen = 0
    rounds = 15 + 15 * len(requests)
    for i in range(ROUNDS_MOST):
        if i >= rounds and (leaves or answer == "none" or not any(unanswered(*each) for each in asked)):
            break
        if i % 15 == 0 and i // 15 < len(requests):
            whole = REQUESTS[requests[i // 15]]
            if client.is_closed or client.socket.is_shut:
                client = play.client()
                asked.append((client, []))
                unsent = []
            unsent += [part for part in (whole[:cut], whole[cut:]) if part]
            asked[-1][1].append(requests[i // 15])
        if unsent and not client.is_closed:
            client.sends(unsent.pop(0))
        if seen == 1 and leaves and not client.is_closed:
            client.resets()
        seen += serve(play, answer)
        play.pass_time("12ms")
    else:
        raise AssertionError([unanswered(*each) for each in asked])


def serve(play: Play, answer: str) -> int:
    """What upstreams do about what they have got. How many requests that was."""
    seen = 0
    for _ in range(10):
        if play.fresh() is None:
            break
        play.connect()
    for up in play.upstreams():
        if up.is_closed or not up.unseen:
            continue
        got = up.expect()
        assert got.count(b" HTTP/1.1\r\n") <= 1, got
        if b" HTTP/1.1\r\n" in got:
            seen += 1
            answers(up, answer, got.startswith(b"HEAD "))
    return seen


def unanswered(client: Client, kinds: list[str]) -> tuple[str, bytes] | None:
    """The first request without a whole answer, and what there is of it. There is one for each, in their order; the
    last of them, and of the requests, may be cut off by the end."""
    is_over = client.is_closed or client.socket.is_shut
    data = bytes(client.socket.wire)
    for kind in kinds:
        while True:
            try:
                message, n = take_message(data, is_over=is_over, has_body=kind != "head")
            except Incomplete:
                return None if is_over else (kind, data)
            data = data[n:]
            if message.status >= 200:
                break
    assert not data, data
    return None


def answers(up: Any, how: str, is_head: bool) -> None:
    """What an upstream does about a request."""
    said: dict[str, list[bytes | str]] = {
        "plain": [b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nx-a: 9\r\n\r\nsome", b" answer"],
        "500": [b"HTTP/1.1 500 No\r\ncontent-length: 5\r\n\r\nsorry"],
        "chunked": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n",
                    b"3\r\n an\r\n0\r\nx-t: 1\r\n\r\n"],
        "close": [b"HTTP/1.1 200 OK\r\n\r\nsome", b" answer", "closes"],
        "reset": [b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nsome", "resets"],
        "none": [],
    }
    for piece in said[how]:
        if up.is_closed:
            return
        if isinstance(piece, bytes):
            up.sends(piece.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if is_head else piece)
            if is_head and how != "close":
                return
            is_head = False
        else:
            getattr(up, piece)()
