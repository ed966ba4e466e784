"""Fallbacks in a kit: as in a worker, with the test's clock."""

from typing import Any

import pytest

from fastmesh import Failure, Fallback, Filter, Request, Response, sleep
from fastmesh.testing import Kit


class Says(Fallback):
    word: str = "instead"

    def answer(self, request: Request, failure: Failure) -> Response | None:
        if request.headers.get("x-do") == "none":
            return None
        if request.headers.get("x-do") == "raise":
            raise KeyError("no such word")
        return Response(200, text=f"{self.word} {failure.reason}")


class Waits(Fallback):
    seconds: float = 0.2

    async def answer(self, request: Request, failure: Failure) -> Response | None:
        await sleep(self.seconds)
        return Response(200, text=failure.message)


class Sees(Filter):
    def on_response(self, request: Request, response: Response) -> None:
        response.headers["x-seen"] = f"{response.status} {response.is_local}"


def test_the_first_that_answers() -> None:
    with Kit().fall_back(Says(word="first"), on=["timeout"]).fall_back(Says, on=["reset", 500]) as kit:
        kit.route(prefix="/quick", timeout="1s")
        kit.upstream.fails("silence")
        assert kit.get("/quick").text == "first timeout"
        kit.upstream.fails("reset")
        assert kit.get("/").headers["x-fastmesh-degraded"] == "use; reason=reset; name=Says.2"
        kit.upstream.answers(500, body="broken")
        assert kit.get("/").text == "instead status"
        reply = kit.get("/", headers={"x-do": "none"})
        assert (reply.status, reply.text) == (500, "broken")
        kit.upstream.answers(200, body="well")
        assert kit.get("/").text == "well"


def test_what_it_raises_is_raised_in_the_test() -> None:
    with Kit().fall_back(Says) as kit:
        kit.upstream.fails("reset")
        with pytest.raises(KeyError, match="no such word"):
            kit.get("/", headers={"x-do": "raise"})
    with Kit(raises=False).fall_back(Says).fall_back(Says(word="next")) as kit:
        kit.upstream.fails("reset")
        reply = kit.get("/", headers={"x-do": "raise"})
        assert reply.status == 503 and [type(error) for error in reply.errors] == [KeyError, KeyError]


def test_one_that_waits_has_a_time() -> None:
    with Kit(raises=False).fall_back(Waits(seconds=3600), timeout="2s").fall_back(Says) as kit:
        kit.upstream.fails("connect_failure")
        began = kit.now_ns
        assert kit.get("/").text == "instead connect-failure"
        assert 2 <= (kit.now_ns - began) / 1e9 < 2.1
        # A client that leaves is waited for by nobody.
        reply = kit.begin("GET", "/")
        reply.leave()


def test_filters_see_it() -> None:
    for fallback in (Says, Waits):
        with Kit(Sees).fall_back(fallback) as kit:
            kit.upstream.fails("reset")
            reply = kit.get("/")
            assert (reply.status, reply.headers["x-seen"]) == (200, "200 True")
            assert reply.outcome is not None and reply.outcome.flags == "UC,FB"


def test_a_quarantine() -> None:
    quarantine: dict[str, Any] = {"failures": 2, "pause": "10s"}
    with Kit(raises=False).fall_back(Says, quarantine=quarantine) as kit:
        kit.upstream.fails("reset")
        for _ in range(2):
            assert kit.get("/", headers={"x-do": "raise"}).status == 503
        assert kit.get("/").status == 503
        kit.pass_time(11)
        assert kit.get("/").text == "instead reset"


def test_isolated_ones_run_in_the_kit() -> None:
    class Apart(Fallback):
        isolated = True

        async def answer(self, request: Request, failure: Failure) -> Response | None:
            import asyncio
            await asyncio.sleep(0)
            return Response(200, text=f"{failure.cluster} {failure.attempts}")

    with Kit().fall_back(Apart) as kit:
        kit.upstream.answers(503)
        assert kit.get("/").text == "upstream 1"


def test_what_cannot_be() -> None:
    kit = Kit()
    with pytest.raises(TypeError, match="is no fallback"):
        kit.fall_back(Sees)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="found 'never'"):
        kit.fall_back(Says, on=["never"])
    with pytest.raises(TypeError, match="has no method answer"):
        kit.fall_back(type("Empty", (Fallback,), {}))
    for _ in range(8):
        kit.fall_back(Says)
    with pytest.raises(ValueError, match="at most 8 steps"):
        kit.fall_back(Says)
    kit.close()
