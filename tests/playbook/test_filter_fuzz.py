"""Filters that do anything, legal or not, in any order: the client gets a whole answer or a closed connection, the
upstream never sees two requests where one was asked for, and nothing is left behind."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st
from playbook.play import Incomplete, Play, take_message

from fastmesh import Filter, Request, Response, Retry, sleep

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
    lambda r, a, n, v, p, s: (r.peer, r.connection, r.listener, r.route, r.cluster, r.endpoint, r.attempts, r.elapsed),
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
STEP = st.tuples(st.integers(0, len(ACTS) - 1), NAMES, VALUES, PATHS, STATUSES, st.booleans())
PHASE = st.tuples(st.lists(STEP, max_size=4), st.integers(0, len(RETURNS) - 1), st.booleans())
NAMES_OF_PHASES = ("on_request", "on_route", "on_request_chunk", "on_response", "on_response_chunk",
                   "on_upstream_error", "on_retry", "on_complete")


def filter_of(plan: dict[str, Any], is_stream: bool) -> Filter:
    def act(phase: str, request: Request, answer: Any) -> Any:
        steps, returned, _ = plan[phase]
        last: tuple[Any, ...] = ("x-a", "1", "/", 200)
        for number, *given_, forgives in steps:
            last = tuple(given_)
            if forgives:
                with contextlib.suppress(Exception):
                    ACTS[number](request, answer, *last)
            else:
                ACTS[number](request, answer, *last)
        return RETURNS[returned](request, answer, *last)

    members: dict[str, Any] = {}
    for phase in plan:
        waits = plan[phase][2]

        def plain(self: Filter, request: Request, *more: Any, phase: str = phase) -> Any:
            return act(phase, request, next((one for one in more if isinstance(one, Response)), None))

        async def waiting(self: Filter, request: Request, *more: Any, phase: str = phase) -> Any:
            await sleep(0.01)
            return act(phase, request, next((one for one in more if isinstance(one, Response)), None))

        async def stream(self: Filter, request: Request, answer: Any, chunks: AsyncIterator[bytes],
                         phase: str = phase) -> AsyncIterator[Any]:
            async for chunk in chunks:
                yield act(phase, request, answer)
                yield chunk

        async def upload(self: Filter, request: Request, chunks: AsyncIterator[bytes],
                         phase: str = phase) -> AsyncIterator[Any]:
            async for chunk in chunks:
                yield chunk
                yield act(phase, request, None)

        if phase.endswith("_chunk") and is_stream:
            members[phase.replace("_chunk", "_stream")] = stream if "response" in phase else upload
        else:
            members[phase] = waiting if waits else plain
    return type("Any", (Filter,), members)()


@pytest.mark.usefixtures("spare_descriptor")
@pytest.mark.parametrize("manners", ["ready", "completion"])
@settings(max_examples=tries(60), deadline=None)
@given(plans=st.lists(st.dictionaries(st.sampled_from(NAMES_OF_PHASES), PHASE, max_size=4), min_size=1, max_size=3),
       is_stream=st.booleans(), on_error=st.sampled_from(["open", "closed", "skip"]),
       answer=st.sampled_from(["plain", "chunked", "close", "500", "reset", "none"]), cut=st.integers(0, 12),
       leaves=st.booleans(), at=st.sampled_from(["listener", "route", "cluster"]), shadow=st.booleans())
def test_anything(manners: str, plans: list[dict[str, Any]], is_stream: bool, on_error: str, answer: str, cut: int,
                  leaves: bool, at: str, shadow: bool) -> None:
    play = Play(manners)
    try:
        converse(play, plans, is_stream, on_error, answer, cut, leaves, at, shadow)
    except BaseException:
        kept.clear()
        play.abandon()
        raise
    kept.clear()
    if not play.first.is_closed:
        play.client_resets()
    play.pass_time("100ms")     # for on_complete phases that wait
    play.end()


def converse(play: Play, plans: list[dict[str, Any]], is_stream: bool, on_error: str, answer: str, cut: int,
             leaves: bool, at: str, shadow: bool) -> None:
    play.endpoints("a", "b").logged((27, ""))
    for i, plan in enumerate(plans):
        play.filter(filter_of(plan, is_stream), at=at, on_error=on_error, shadow=shadow and i == 0,
                    timeout_ns=50_000_000)
    body = b"hello world!"
    client = play.client()
    client.sends(b"POST /a/b?c=d HTTP/1.1\r\nhost: x\r\nx-a: 1\r\ncontent-length: 12\r\n\r\n" + body[:cut])
    seen = 0
    for _ in range(40):
        if client.is_closed:
            break
        if seen == 1 and leaves:
            client.resets()
            break
        fresh = play.fresh()
        if fresh is not None:
            play.connect()
        for up in play.upstreams():
            if up.is_closed or not up.unseen:
                continue
            got = up.expect()
            assert got.count(b" HTTP/1.1\r\n") <= 1, got
            if b" HTTP/1.1\r\n" in got:
                seen += 1
                answers(up, answer)
        if cut < len(body) and not client.is_closed:
            client.sends(body[cut:])
            cut = len(body)
        play.pass_time("12ms")
    if not client.is_closed and not leaves and answer != "none":
        data = bytes(client.socket.wire)
        while data:
            try:
                _, n = take_message(data, is_over=client.is_closed or client.socket.is_shut)
            except Incomplete:
                assert client.is_closed or client.socket.is_shut, data
                break
            data = data[n:]

def answers(up: Any, how: str) -> None:
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
            up.sends(piece)
        else:
            getattr(up, piece)()
