"""The open-loop client against origins that misbehave: what it counts, and when a latency begins."""

import array
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from bench.build import build

REQUEST = b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 2\r\n\r\nok"
# What an origin does with its request number n: the answer, or None to end the connection without one.
Manners = Callable[[int], bytes | None]


class Origin(threading.Thread):
    """Answers one request after the other, as its manners say."""

    def __init__(self, manners: Manners) -> None:
        super().__init__(daemon=True)
        self._manners = manners
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self._listener.getsockname()[1]
        self.asked = 0
        self._over = threading.Event()

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(0.05):
                    if key.fileobj is self._listener:
                        selector.register(self._listener.accept()[0], selectors.EVENT_READ)
                    else:
                        self._hear(selector, key.fileobj)
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]

    def _hear(self, selector: selectors.BaseSelector, connection: Any) -> None:
        answer = None
        if connection.recv(4096):
            self.asked += 1
            answer = self._manners(self.asked)
        if answer:
            connection.sendall(answer)
        if not answer or answer == CLOSING:
            selector.unregister(connection)
            connection.close()

    def stop(self) -> None:
        self._over.set()
        self.join()


@pytest.fixture
def start() -> Iterator[Callable[[Manners], Origin]]:
    build()
    started: list[Origin] = []

    def begin(manners: Manners) -> Origin:
        started.append(Origin(manners))
        started[-1].start()
        return started[-1]

    yield begin
    for origin in started:
        origin.stop()


def play(port: int, rate: int, connections: int, seconds: float) -> tuple[dict[str, int], list[int]]:
    total = int(rate * seconds)
    latencies, late = array.array("Q", bytes(8 * total)), array.array("Q", bytes(8 * total))
    counts = import_module("bench.load.open_loop").play(port, rate, connections, seconds, REQUEST, latencies, late)
    return counts, list(latencies[: counts["requests"]])


def test_every_request_is_sent_once_and_answered(start: Callable[[Manners], Origin]) -> None:
    origin = start(lambda number: ANSWER)
    counts, latencies = play(origin.port, 1000, 8, 0.5)
    assert (counts["requests"], counts["sent"], counts["failed"], origin.asked) == (500, 500, 0, 500)
    assert all(latencies)


def test_requests_that_a_stall_held_up_are_charged_for_it(start: Callable[[Manners], Origin]) -> None:
    """300 ms of silence, in which 300 requests were due: only eight of them could be on their way."""

    def manners(number: int) -> bytes:
        if number == 100:
            time.sleep(0.3)
        return ANSWER

    counts, latencies = play(start(manners).port, 1000, 8, 1.0)
    assert counts["failed"] == 0 and counts["requests"] == 1000
    # A closed loop would have seen eight. Those due in the first 200 ms of it waited at least 100 ms.
    assert sum(latency >= 100_000_000 for latency in latencies) >= 190


def test_a_connection_that_ends_under_a_request_is_a_failure(start: Callable[[Manners], Origin]) -> None:
    origin = start(lambda number: None if number % 10 == 0 else ANSWER)
    counts, _ = play(origin.port, 500, 4, 1.0)
    assert (counts["requests"], counts["failed"], origin.asked) == (450, 50, 500)


def test_another_status_is_a_failure(start: Callable[[Manners], Origin]) -> None:
    wrong = ANSWER.replace(b"200 OK", b"503 No")
    counts, _ = play(start(lambda number: wrong if number == 7 else ANSWER).port, 500, 4, 0.2)
    assert (counts["requests"], counts["failed"]) == (99, 1)


def test_a_connection_that_is_announced_to_close_is_replaced(start: Callable[[Manners], Origin]) -> None:
    counts, _ = play(start(lambda number: CLOSING).port, 500, 4, 0.4)
    assert (counts["requests"], counts["failed"], counts["reconnected"]) == (200, 0, 200)


def test_nobody_there_is_nothing_but_failures() -> None:
    build()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    counts, latencies = play(port, 500, 4, 0.2)
    assert (counts["requests"], counts["failed"], latencies) == (0, 100, [])
