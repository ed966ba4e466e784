"""Healing policies without a proxy: the kit's own door, and the one that comes with fastmesh."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.error import HTTPError

import pytest

from fastmesh import Healer, HealEvent, Secret
from fastmesh.healers import NAMES
from fastmesh.healers.webhook import Webhook
from fastmesh.testing import tell_healer


class Says(Healer):
    words: str = "well"

    def start(self) -> None:
        self.log.info("begins")

    async def on_ejected(self, event: HealEvent) -> None:
        self.log.warning(f"{event.endpoint} of {self.name}: {event.kind}")

    async def on_recovered(self, event: HealEvent) -> None:
        self.log.info(f"{event.endpoint} is {self.words}")


@pytest.mark.parametrize(("kind", "said"), [
    ("ejected", "warn: 10.0.0.1:80 of app: ejected"), ("unhealthy", "warn: 10.0.0.1:80 of app: unhealthy"),
    ("recovered", "info: 10.0.0.1:80 is fine"), ("healthy", "info: 10.0.0.1:80 is fine")])
def test_each_kind_goes_where_it_belongs(kind: str, said: str) -> None:
    assert tell_healer(Says(words="fine"), HealEvent(kind, cluster="app")) == ["info: begins", said]


def test_a_class_is_enough() -> None:
    assert tell_healer(Says)[1].endswith("ejected")


def test_what_it_raises_is_raised() -> None:
    class Fails(Healer):
        async def on_ejected(self, event: HealEvent) -> None:
            raise LookupError(event.why)
    with pytest.raises(LookupError, match="5 in a row"):
        tell_healer(Fails, HealEvent(why="5 in a row"))
    # What it does not write is nothing that could fail.
    assert tell_healer(Fails, HealEvent("recovered")) == []


def test_one_that_takes_too_long() -> None:
    class Hangs(Healer):
        async def on_ejected(self, event: HealEvent) -> None:
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        tell_healer(Hangs, timeout=0.01)


def test_a_class_that_check_would_refuse() -> None:
    class Nothing(Healer):
        pass
    with pytest.raises(TypeError, match="neither on_ejected nor on_recovered"):
        tell_healer(Nothing)
    with pytest.raises(TypeError, match="has no setting 'word'"):
        Says(word="x")


def test_it_has_no_mesh() -> None:
    with pytest.raises(AttributeError, match="a client of your own"):
        _ = Says().mesh


@pytest.fixture
def hook() -> Iterator[Any]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.asked.append((self.headers["authorization"], body))   # type: ignore[attr-defined]
            self.send_response(server.status)                            # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.status = [], 204       # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_webhook(hook: Any) -> None:
    assert NAMES["webhook"] == "fastmesh.healers.webhook:Webhook"
    url = f"http://127.0.0.1:{hook.server_port}/hook"
    said = tell_healer(Webhook(url=url, token=Secret("hush")), HealEvent("unhealthy", "app", "10.0.0.1:80", "check",
                                                                        "connection refused", 3, 12.5))
    assert said == [f"info: {url} has answered 204"]
    assert hook.asked == [("Bearer hush", {
        "event": "unhealthy", "cluster": "app", "endpoint": "10.0.0.1:80", "reason": "check",
        "why": "connection refused", "times": 3, "seconds": 12.5})]
    hook.status = 500
    with pytest.raises(HTTPError):
        tell_healer(Webhook(url=url), HealEvent("recovered"))
    assert hook.asked[1][0] is None and hook.asked[1][1]["event"] == "recovered"
    with pytest.raises(ValueError, match="begins with http"):
        tell_healer(Webhook(url="ftp://x"))
