"""Filters that misbehave in every way that a Python program can: requests that pass them get what their policy says,
and all other traffic of the same worker notices nothing."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from integration.harness import Origin, Sidecar, ask, cluster, free_port, until

Start = Callable[..., Sidecar]

FILTERS = '''
import gc, os, sys, threading, time
from fastmesh import Filter, Request, Response, sleep


class Raise(Filter):
    def on_request(self, request):
        raise ValueError("no")


class Hang(Filter):
    def on_request(self, request):
        while True:
            pass


class Block(Filter):
    def on_request(self, request):
        time.sleep(60)


class Recurse(Filter):
    def on_request(self, request):
        self.on_request(request)


class Allocate(Filter):
    def on_request(self, request):
        held = []
        while True:
            held.append(bytearray(1 << 16))


class WrongType(Filter):
    def on_request(self, request):
        return {"status": 200}


class KeepViews(Filter):
    kept = []

    def on_request(self, request):
        for old, headers in self.kept:
            try:
                old.path
                headers["host"]
            except RuntimeError:
                continue
            raise AssertionError("an old view gave something")
        self.kept.append((request, request.headers))


class ChangeWhileIterating(Filter):
    def on_request(self, request):
        for name in request.headers:
            request.headers["x-" + name] = "1"
            del request.headers[name]


class Exit(Filter):
    def on_request(self, request):
        sys.exit(1)


class Interrupt(Filter):
    def on_request(self, request):
        raise KeyboardInterrupt


class Threads(Filter):
    def start(self):
        self.threads = []

    def on_request(self, request):
        if len(self.threads) < 4:
            thread = threading.Thread(target=self.compute, daemon=True)
            self.threads.append(thread)
            thread.start()

    def compute(self):
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            sum(range(1000))


class Patch(Filter):
    def on_request(self, request):
        Request.path = property(lambda self: "/patched")


class PatchPython(Filter):
    def on_request(self, request):
        time.monotonic = time.time = lambda: 0
        sys.modules["fastmesh"].Response = None
        gc.disable()


class Await(Filter):
    async def on_request(self, request):
        await sleep(60)


class Close(Filter):
    """Closes descriptors that are not its own would be the end of any process; its own it may."""
    def on_request(self, request):
        ours, theirs = os.pipe()
        os.close(ours)
        os.close(theirs)


class Body(Filter):
    async def on_response_stream(self, request, response, chunks):
        async for chunk in chunks:
            yield chunk
            raise ValueError("in the middle")
'''


class Neighbour:
    """Somebody else's requests, all the time: some hundred a second, for there are others on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.statuses: dict[object, int] = {}
        self.longest = 0.0                  # seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._is_over.wait(0.002):
            began = monotonic()
            try:
                status: object = ask(self.port, "/well").status
            except OSError as error:
                status = repr(error)
            self.longest = max(self.longest, monotonic() - began)
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self._is_over.wait(0.002)       # else it keeps a core busy

    @contextmanager
    def asks(self) -> Iterator[None]:
        self._thread.start()
        try:
            until(lambda: self.statuses)
            yield
            seen = sum(self.statuses.values())
            until(lambda: sum(self.statuses.values()) > seen + 5)
        finally:
            self._is_over.set()
            self._thread.join()
        assert set(self.statuses) == {200}, self.statuses
        # Far above what a busy machine does to a request, and far below what these filters would wait or compute for.
        assert self.longest < 5, f"a request of the neighbour took {self.longest:.1f} s"


def start(sidecar: Start, origin: Origin, tmp_path: Path, name: str, **options: Any) -> tuple[Sidecar, int]:
    path = tmp_path / "sick.py"
    path.write_text(FILTERS)
    port = free_port()
    one = sidecar({
        "listeners": [{"name": "web", "address": f"127.0.0.1:{port}", "routes": [
            {"match": {"prefix": "/sick"}, "cluster": "app", "filters": [{"use": f"{path}:{name}", **options}]},
            {"match": {"prefix": "/"}, "cluster": "app"}]}],
        "clusters": [cluster("app", origin.address)]})
    return one, port


FAILING = ["Raise", "Recurse", "WrongType", "Exit", "Interrupt", "Patch", "Hang", "Block", "Allocate"]


@pytest.mark.parametrize(("name", "on_error", "status"), [
    *((name, "closed", 503) for name in FAILING), ("Raise", "open", 200), ("Hang", "open", 200)])
def test_a_filter_that_fails(sidecar: Start, origin: Origin, tmp_path: Path, name: str, on_error: str,
                             status: int) -> None:
    one, port = start(sidecar, origin, tmp_path, name, on_error=on_error, quarantine={"failures": 1000})
    pid = one.workers()[0]["pid"]
    with Neighbour(port).asks():
        for _ in range(3):
            assert ask(port, "/sick").status == status
    assert one.workers()[0]["pid"] == pid
    metrics = one.metrics()
    assert any(value == 3 for key, value in metrics.items() if key.startswith("fastmesh_filter_errors_total")), metrics
    assert f"filter {name}@web/route-0" in one.log


@pytest.mark.parametrize("name", ["KeepViews", "ChangeWhileIterating", "Threads", "PatchPython", "Close"])
def test_a_filter_that_only_looks_dangerous(sidecar: Start, origin: Origin, tmp_path: Path, name: str) -> None:
    # Threads that compute take the interpreter from the filter that began them, which then runs for too long.
    one, port = start(sidecar, origin, tmp_path, name, on_error="open" if name == "Threads" else "closed")
    pid = one.workers()[0]["pid"]
    with Neighbour(port).asks():
        for _ in range(5):
            assert ask(port, "/sick").status == 200
    assert one.workers()[0]["pid"] == pid


def test_a_filter_that_waits_for_too_long(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    _, port = start(sidecar, origin, tmp_path, "Await", on_error="closed", timeout="300ms")
    with Neighbour(port).asks():
        assert ask(port, "/sick").status == 503


def test_an_answer_that_a_filter_breaks_off(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    one, port = start(sidecar, origin, tmp_path, "Body", on_error="open")
    with Neighbour(port).asks(), pytest.raises(IncompleteRead):
        ask(port, "/sick")
    assert one.workers()[0]["state"] == "serving"


def test_a_sick_filter_is_put_into_quarantine_and_tried_again(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    one, port = start(sidecar, origin, tmp_path, "Raise", on_error="open",
                      quarantine={"failures": 3, "pause": "300ms", "longest": "300ms"})
    with Neighbour(port).asks():
        for _ in range(6):
            assert ask(port, "/sick").status == 200
        calls = 'fastmesh_filter_calls_total{filter="Raise@web/route-0",phase="request"}'
        assert one.metrics()[calls] == 3
        until(lambda: ask(port, "/sick").status == 200 and one.metrics()[calls] > 3)
    assert "quarantine" in one.log.lower() or "bypassed" in one.log


def test_a_filter_that_ends_its_worker_is_bypassed_by_the_next(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    """Nothing can be done against that in the process itself; but the next worker does not fall for it again."""
    path = tmp_path / "deadly.py"
    path.write_text("import os\nfrom fastmesh import Filter\n\n\nclass Deadly(Filter):\n"
                    "    def on_request(self, request):\n        os._exit(3)\n")
    port = free_port()
    one = sidecar({
        "listeners": [{"name": "web", "address": f"127.0.0.1:{port}", "routes": [
            {"match": {"prefix": "/"}, "cluster": "app", "filters": [{"use": f"{path}:Deadly", "on_error": "open"}]}]}],
        "clusters": [cluster("app", origin.address)]})
    pid = one.workers()[0]["pid"]
    with pytest.raises((OSError, HTTPException)):
        ask(port, "/")
    until(lambda: one.workers()[0]["state"] == "serving" and one.workers()[0]["pid"] != pid)
    for _ in range(5):
        assert ask(port, "/").status == 200
    assert "died while it ran: it is bypassed for 5 s" in one.log
    assert [event["filter"] for event in one.admin("/events").json] == ["Deadly@web/route-0"]
