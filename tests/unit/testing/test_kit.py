"""The kit, used as authors of filters use it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastmesh import Connection, Filter, Outcome, Request, Response, Retry, UpstreamError, sleep
from fastmesh._core.play.stage import left
from fastmesh.filters.types import Secret
from fastmesh.testing import Answer, Asked, Kit, Leftover, Unanswered


class RequireTenant(Filter):
    """Refuses requests that name no tenant and labels those that do."""

    header: str = "x-tenant"

    def on_request(self, request: Request) -> Response | None:
        tenant = request.headers.get(self.header)
        if tenant is None:
            return Response(400, text=f"missing {self.header}\n")
        request.labels["tenant"] = tenant
        request.headers["x-seen"] = tenant
        request.state["tenant"] = tenant
        return None

    def on_response(self, request: Request, response: Response) -> None:
        response.headers["x-team"] = str(request.state.get("tenant", "none"))


def test_an_exchange() -> None:
    with Kit(RequireTenant(header="x-team")) as kit:
        refused = kit.get("/")
        assert refused.status == 400 and refused.text == "missing x-team\n" and refused.upstream is None
        kit.upstream.answers(201, json={"a": 1}, headers={"X-Origin": "yes"})
        reply = kit.post("/a?b=c", headers={"x-team": "blue"}, json={"q": [1]})
        assert reply.status == 201 and reply.json() == {"a": 1}
        assert reply.headers["X-TEAM"] == "blue" and reply.headers["x-origin"] == "yes"
        assert reply.labels == {"tenant": "blue"} and reply.state == {"tenant": "blue"}
        assert reply.outcome is not None and (reply.outcome.status, reply.outcome.endpoint) == (201, "10.0.0.1:80")
        asked = reply.upstream
        assert asked is not None and (asked.method, asked.path, asked.query) == ("POST", "/a", "b=c")
        assert asked.headers["x-seen"] == "blue" and asked.json() == {"q": [1]}
        assert reply.errors == [] and reply.elapsed == 0 and kit.upstream.requests == [asked]


def test_a_class_that_needs_no_settings_and_a_chain() -> None:
    class After(Filter):
        def on_request(self, request: Request) -> None:
            request.headers["x-twice"] = request.headers["x-seen"] * 2

    with Kit([RequireTenant, After()]) as kit:
        assert [made.name for made in kit.filters] == ["RequireTenant", "After"]
        asked = kit.get("/", headers={"x-tenant": "a"}).upstream
        assert asked is not None and asked.headers["x-twice"] == "aa"


def test_where_it_goes_and_how_often_it_is_tried() -> None:
    class Steer(Filter):
        def start(self) -> None:
            self.rule = Retry(attempts=3, on={503, "timeout"}, backoff=1.0, per_try_timeout=2.0)

        def on_route(self, request: Request) -> None:
            if request.path == "/":
                request.retry = self.rule
                request.split({"upstream": 1, "next": 1}, by=request.headers.get("x-user", "nobody"))
            else:
                request.retry = None

    with Kit(Steer()) as kit:
        kit.cluster("next", endpoints=2)
        replies = [kit.get("/", headers={"x-user": f"user-{i}"}) for i in range(50)]
        assert {reply.cluster for reply in replies} == {"upstream", "next"}
        assert all(reply.upstream is not None and reply.upstream.cluster == reply.cluster for reply in replies)
        user = next(i for i, reply in enumerate(replies) if reply.cluster == "next")
        kit.cluster("next").answers(503, times=1).fails("silence", times=1)
        reply = kit.get("/", headers={"x-user": f"user-{user}"})
        assert reply.status == 200 and reply.retry == Retry(attempts=3, on={503, "timeout"}, backoff=1.0,
                                                            per_try_timeout=2.0)
        assert 2.0 <= reply.elapsed < 6.0 and len({asked.endpoint for asked in reply.requests}) == 2
        kit.upstream.fails("connect_failure", times=1)
        once = kit.get("/once")
        assert once.status == 503 and once.retry is None and once.requests == []
        assert once.outcome is not None and once.outcome.flags == "UF"


def test_what_a_filter_raises_is_raised() -> None:
    class Broken(Filter):
        def on_request(self, request: Request) -> None:
            raise ValueError("broken")

    with Kit(Broken()) as kit:
        with pytest.raises(ValueError, match="broken") as caught:
            kit.get("/")
        assert any(entry.name == "on_request" for entry in caught.traceback)
    with Kit(Broken, raises=False, on_error="closed") as kit:
        for _ in range(2):
            reply = kit.get("/")
            assert reply.status == 503 and [str(error) for error in reply.errors] == ["broken"]
        assert [report.what for report in kit.reports] == ["error"]
    with Kit(Broken, raises=False) as kit:
        assert kit.get("/").status == 200


def test_what_a_filter_raises_after_it_has_waited() -> None:
    class Broken(Filter):
        async def on_response(self, request: Request, response: Response) -> None:
            await sleep(1.5)
            raise ValueError("late")

    with Kit(Broken()) as kit:
        with pytest.raises(ValueError, match="late"):
            kit.get("/")
        reply = kit.begin("GET", "/")
        with pytest.raises(ValueError, match="late"):
            kit.pass_time(2)
        assert reply.status == 200 and len(reply.errors) == 1
        kit.pass_time(2)        # it is told once


def test_time_passes_when_it_is_waited_for() -> None:
    class Slow(Filter):
        async def on_request(self, request: Request) -> None:
            await sleep(2.0)

    with Kit(Slow()) as kit:
        reply = kit.get("/")
        assert reply.status == 200 and 2.0 <= reply.elapsed < 2.1
        waiting = kit.begin("GET", "/")
        kit.pass_time(1.9)
        assert not waiting.is_complete and waiting.upstream is None
        with pytest.raises(Unanswered, match="no whole answer yet"):
            waiting.status  # noqa: B018
        kit.pass_time(0.2)
        assert waiting.status == 200


def test_a_client_that_leaves() -> None:
    ended: list[str] = []

    class Slow(Filter):
        async def on_request(self, request: Request) -> None:
            try:
                await sleep(2.0)
            finally:
                ended.append("cancelled")

    with Kit(Slow()) as kit:
        waiting = kit.begin("GET", "/")
        assert ended == []
        waiting.leave()
        assert ended == ["cancelled"] and waiting.was_cut and waiting.status == 0
        assert waiting.outcome is not None and waiting.outcome.flags == "DC"


def test_an_upstream_that_fails_then_answers() -> None:
    class Again(Filter):
        def on_upstream_error(self, request: Request, error: UpstreamError) -> bool:
            seen.append(error.reason)
            return True

    seen: list[str] = []
    with Kit(Again()) as kit:
        kit.upstream.fails("connect_failure", times=1).answers(500, times=1).answers(200, body="fine")
        reply = kit.get("/")
        assert reply.text == "fine" and seen == ["connect_failure", "status"] and len(reply.requests) == 2
        kit.upstream.fails("reset", times=1)
        assert kit.get("/").status == 200 and seen[2:] == ["reset"]
        kit.upstream.fails("protocol", times=1)
        kit.get("/")
        kit.upstream.fails("connect_timeout", times=1)
        slow = kit.get("/")
        assert slow.status == 200 and slow.elapsed >= 1 and seen[3:] == ["protocol", "connect_timeout"]
        kit.upstream.fails("cut")
        assert kit.get("/").was_cut


def test_an_answer_that_is_made_of_the_request_and_one_that_comes_late() -> None:
    with Kit() as kit:
        kit.upstream.answers(lambda asked: Answer(200, body=asked.path))
        assert kit.get("/there").text == "/there"
        kit.upstream.answers(200, after=3)
        assert 3 <= kit.get("/").elapsed < 3.1
        kit.route(prefix="/short", timeout="1s", name="short")
        late = kit.get("/short/")
        assert late.status == 504 and late.elapsed < 1.1
        kit.upstream.fails("silence")
        with pytest.raises(Unanswered):
            kit.get("/")


def test_another_cluster_and_calls_through_the_mesh() -> None:
    class Ask(Filter):
        async def on_request(self, request: Request) -> Response | None:
            answer = await self.mesh.get("auth", "/check", headers={"x-user": request.headers.get("x-user", "")})
            if answer.status != 200:
                return Response(403)
            request.headers["x-role"] = answer.text
            return None

        def on_route(self, request: Request) -> None:
            if request.path == "/other":
                request.cluster = "other"

    with Kit(Ask()) as kit:
        def check(asked: Asked) -> Answer:
            return Answer(200, body="admin") if asked.headers.get("x-user") == "root" else Answer(401)

        kit.cluster("auth").answers(check)
        kit.cluster("other", endpoints=2).answers(202)
        assert kit.get("/").status == 403
        reply = kit.get("/other", headers={"x-user": "root"})
        assert reply.status == 202 and reply.upstream is not None and reply.upstream.cluster == "other"
        assert reply.upstream.headers["x-role"] == "admin"
        assert [asked.cluster for asked in reply.requests] == ["auth", "other"]
        assert len(kit.cluster("auth").requests) == 2


class Upper(Filter):
    """In capitals, piece by piece."""

    def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes:
        return chunk.upper()

    async def on_response_stream(self, request: Request, response: Response,
                                 chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk.upper()


def test_bodies_in_pieces() -> None:
    with Kit(Upper()) as kit:
        kit.upstream.answers(200, chunks=[b"a", b"nswer"], trailers={"x-sum": "1"})
        reply = kit.post("/", chunks=[b"o", b"ne"], trailers=[("x-end", "yes")])
        assert reply.body == b"ANSWER" and reply.trailers["x-sum"] == "1"
        assert reply.upstream is not None and reply.upstream.body == b"ONE"
        assert reply.upstream.trailers["x-end"] == "yes"


def test_bodies_cut_everywhere() -> None:
    with Kit(Upper()) as kit:
        reply = kit.every_split(b"in pieces", answer=b"out in pieces")
        assert reply.body == b"OUT IN PIECES" and reply.upstream is not None and reply.upstream.body == b"IN PIECES"
        assert len(kit.upstream.requests) == 2 * (1 + 9 + 13)


def test_a_filter_that_depends_on_how_a_body_is_cut() -> None:
    class Naive(Filter):
        def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes:
            return chunk.replace(b"secret", b"******")

    with Kit(Naive()) as kit:
        with pytest.raises(AssertionError, match="request's body cut behind 3 bytes"):
            kit.every_split(b"a secret")


def test_a_connection_that_is_turned_away() -> None:
    class Door(Filter):
        def on_connection(self, connection: Connection) -> bool:
            return connection.peer != "192.0.2.7"

    with Kit(Door(), at="listener") as kit:
        away = kit.get("/", peer="192.0.2.7")
        assert away.status == 0 and away.was_cut and away.outcome is None
        assert kit.get("/", peer="2001:db8::1").status == 200


def test_what_is_logged() -> None:
    class Log(Filter):
        def start(self) -> None:
            self.log.info("%s starts", self.name)

        def on_request(self, request: Request) -> None:
            self.log.warning("asked for %s", request.path)

    with Kit(Log()) as kit:
        reply = kit.get("/x")
        assert [line.text for line in kit.log] == ["Log starts", "asked for /x"]
        assert reply.log == [("warn", "Log", "asked for /x")]


def test_what_is_counted() -> None:
    class Count(Filter):
        def start(self) -> None:
            self.seen = self.metrics.counter("seen", labels=("method",))
            self.sizes = self.metrics.histogram("sizes")

        def on_request(self, request: Request) -> None:
            self.seen.inc(method=request.method)
            self.sizes.observe(request.content_length or 0)

    with Kit(Count()) as kit:
        kit.get("/")
        kit.get("/")
        kit.post("/", body="x")
        assert (kit.metric("seen", method="GET"), kit.metric("seen_total", method="POST")) == (2, 1)
        assert kit.metric("sizes") == 3 and kit.metric("seen", filter="Count", method="PUT") == 0
        with pytest.raises(KeyError, match="0 metrics are called 'sen'; declared are fastmesh_filter_Count_seen_total"):
            kit.metric("sen")
    with Kit(Count()) as kit:       # counts from nothing
        kit.get("/")
        assert kit.metric("seen", method="GET") == 1


def test_a_secret_is_not_logged() -> None:
    with Kit(Guard(key="correct horse")) as kit:
        kit.get("/")
        assert [line.text for line in kit.log] == ["the key is (secret)"]


class Guard(Filter):
    key: Secret

    def on_request(self, request: Request) -> None:
        self.log.info(f"the key is {self.key}")


def test_settings_are_keywords() -> None:
    class Set(Filter):
        limit: int
        names: list[str] = []  # noqa: RUF012

        def on_request(self, request: Request) -> None:
            pass

    made = Set(limit=3)
    assert made.limit == 3
    with pytest.raises(TypeError, match="has no setting 'limt': it has limit, names; write limit"):
        Set(limt=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Set\.limit is 'many': a whole number is allowed"):
        Set(limit="many")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the setting 'limit' of Set is missing"):
        Kit(Set)
    other = Set(limit=4)
    with Kit(made, other):
        assert made.names == [] and made.names is not other.names and other.name == "Set.2"


def test_a_class_that_no_worker_would_take() -> None:
    class Typo(Filter):
        def on_reqest(self, request: Request) -> None: ...

    with pytest.raises(TypeError, match=r"on_reqest is no phase.*write on_request"):
        Kit(Typo())
    with pytest.raises(TypeError, match="is no filter"):
        Kit("x")  # type: ignore[arg-type]


def test_several_kits_at_a_time() -> None:
    class Slow(Filter):
        async def on_request(self, request: Request) -> None:
            await sleep(1)

    with Kit(Slow()) as one, Kit(Slow()) as two:
        first, second = one.begin("GET", "/"), two.begin("GET", "/")
        two.pass_time(1.1)
        assert second.status == 200 and not first.is_complete
        one.pass_time(1.1)
        assert first.status == 200


def test_an_isolated_filter() -> None:
    class Outside(Filter):
        isolated = True

        async def on_request(self, request: Request) -> Response:
            await asyncio.sleep(0)
            return Response(200, text=request.path)

    with Kit(Outside()) as kit:
        assert kit.get("/in").text == "/in"


def test_a_filter_that_does_not_start() -> None:
    class Picky(Filter):
        def start(self) -> None:
            self.metrics.counter("seen")
            raise ValueError("not here")

        def on_request(self, request: Request) -> None: ...

    for _ in range(2):
        with pytest.raises(ValueError, match="not here"):
            Kit(Picky())


def test_a_filter_that_uses_the_kit() -> None:
    class Again(Filter):
        def on_request(self, request: Request) -> None:
            for use in (kit.get, kit.close, lambda: kit.pass_time(1)):
                with pytest.raises(RuntimeError, match="filter"):
                    use()

    with Kit(Again()) as kit:
        assert kit.get("/").status == 200
    with pytest.raises(RuntimeError, match="closed"):
        kit.get("/")


def test_match_mode_and_quarantine() -> None:
    class Refuse(Filter):
        def on_request(self, request: Request) -> Response:
            return Response(403)

    class Sick(Filter):
        def on_request(self, request: Request) -> None:
            raise ValueError

    with Kit(Refuse(), match={"prefix": "/in", "methods": ["POST"]}) as kit:
        assert [kit.get("/in").status, kit.post("/in").status, kit.post("/out").status] == [200, 403, 200]
    with Kit(raises=False) as kit:
        kit.use(Refuse(), match={"regex": "/v[0-9]+/.*", "headers": {"x-team": {"prefix": "a"}}, "query": {"q": "1"}})
        asked = [("/v1/x?q=1", "ab"), ("/v/x?q=1", "ab"), ("/v1/x?q=1", "b"), ("/v1/x", "ab")]
        assert [kit.get(path, headers={"x-team": team}).status for path, team in asked] == [403, 200, 200, 200]
    with Kit(Refuse(), mode="shadow") as kit:
        reply = kit.get("/")
        assert reply.status == 200 and [report.what for report in reply.reports] == ["shadow"]
    with Kit(Sick(), raises=False, quarantine={"failures": 2, "pause": "3s"}) as kit:
        assert [len(kit.get("/").errors) for _ in range(4)] == [1, 1, 0, 0]
        kit.pass_time(3.1)
        assert len(kit.get("/").errors) == 1


@pytest.mark.parametrize(("match", "why"), [
    ({"hedaers": {}}, "match: found the key 'hedaers', allowed: prefix, path, starts_with,"),
    ({"headers": {"a": {"prefx": "x"}}}, r"match\.headers\.a: found the key 'prefx'"),
    ({"prefix": "a"}, r"match\.prefix: found 'a', allowed: a path that begins with"),
    ({"prefix": "/a", "path": "/b"}, "match: found prefix and path, allowed: one of them"),
    ({"share": 3}, "a share of 3: 0 to 1"),
])
def test_a_match_that_an_operator_could_not_write(match: dict[str, Any], why: str) -> None:
    class Refuse(Filter):
        def on_request(self, request: Request) -> Response:
            return Response(403)

    with Kit() as kit:
        with pytest.raises(ValueError, match=why):
            kit.use(Refuse(), match=match)
        assert kit.get("/").status == 200


def test_costs() -> None:
    class Idle(Filter):
        def on_request(self, request: Request) -> None: ...

    class Busy(Filter):
        def on_request(self, request: Request) -> None:
            sum(range(20_000))

    with Kit(Idle()) as kit:
        assert 0 < kit.cost(n=200) < 0.001
        reply = kit.get("/")
        kit.upstream.fails("reset", times=1)
        assert reply.costs_less_than("10ms", n=100)
        assert kit.upstream.requests == [reply.upstream] and kit.get("/").status == 503
    with Kit(Busy()) as kit:
        with pytest.raises(AssertionError, match="µs for this exchange, 1us is allowed"):
            kit.get("/").costs_less_than("1us", n=100)


def test_bytes_as_they_are() -> None:
    with Kit() as kit:
        assert kit.raw(b"GET / HTTP/1.1\r\nhos", b"t: x\r\n\r\n").status == 200
        assert kit.raw(b"nonsense\r\n\r\n").status == 400


def test_what_is_left_at_the_end_is_told() -> None:
    class Patient(Filter):
        timeout = "5m"

        async def on_complete(self, request: Request, outcome: Outcome) -> None:
            await sleep(200)

    kit = Kit(Patient())
    kit.get("/")
    with pytest.raises(Leftover, match="Patient"):
        kit.close()


def test_a_kit_that_nobody_closes() -> None:
    class Slow(Filter):
        async def on_request(self, request: Request) -> None:
            request.headers["x-seen"] = "1"
            await sleep(1)

    gc.collect()
    before = left()
    kit = Kit(Slow())
    kit.begin("GET", "/")
    assert left()["heads"] == before["heads"] + 1
    del kit
    gc.collect()
    assert left() == before
