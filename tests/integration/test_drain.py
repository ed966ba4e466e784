"""The end: what is in flight is answered, nothing new is let in, the exit status is 0."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest
from integration.harness import Callers, Origin, Sidecar, ask, config_of, free_port, is_alive, until

Start = Callable[..., Sidecar]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_flight_is_answered(sidecar: Start, origin: Origin, number: int) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    worker = one.worker_pids()[0]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: origin.held == 1)
        one.signal(number)
        until(lambda: one.admin("/ready").status == 503)
        assert one.admin("/ready").text == "draining\n"
        until(lambda: refuses(port), "new connections refused")
        origin.release.set()
        answer = b""
        while piece := client.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()
    assert answer.endswith(b"origin")
    assert one.wait() == 0
    assert not is_alive(worker)


def test_idle_connections_do_not_hold_up_the_end(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(4096)
        begun = monotonic()
        one.signal(signal.SIGTERM)
        assert client.recv(4096) == b""
        assert one.wait() == 0
    assert monotonic() - begun < 5


def test_drain_timeout_is_the_limit(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin, drain_timeout="700ms"))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: origin.held == 1)
        begun = monotonic()
        one.signal(signal.SIGTERM)
        assert one.wait() == 0
        assert 0.6 < monotonic() - begun < 4


def test_a_worker_that_was_replaced_does_not_hold_up_the_end(sidecar: Start, origin: Origin) -> None:
    """It lets idle connections stay for long; the end of the whole proxy does not."""
    port = free_port()
    one = sidecar(config_of(port, origin))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(4096)
        assert one.admin("/workers/0/replace", "POST").status == 200
        assert one.workers()[0]["leaving"]
        begun = monotonic()
        one.signal(signal.SIGTERM)
        assert one.wait() == 0
        assert monotonic() - begun < 5


def test_asked_a_second_time_it_does_not_wait(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: origin.held == 1)
        one.signal(signal.SIGINT)
        until(lambda: one.admin("/ready").status == 503)
        begun = monotonic()
        one.signal(signal.SIGINT)
        assert one.wait() == 0
        assert monotonic() - begun < 3
    assert "cut short" in one.log


def test_the_api_can_ask_for_it(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    answer = one.admin("/drain", "POST")
    assert answer.status == 200
    assert answer.json == {"draining": True, "timeout_ms": 30_000}
    assert one.wait() == 0


def test_nobody_is_turned_away_who_was_let_in(sidecar: Start, origin: Origin) -> None:
    """Callers that stop calling when they are refused: every request that got a connection gets an answer."""
    port = free_port()
    one = sidecar(config_of(port, origin, workers=2))
    answers: list[int] = []
    failures: list[str] = []

    def call() -> None:
        while True:
            try:
                sock = socket.create_connection(("127.0.0.1", port), timeout=10)
            except ConnectionRefusedError:
                return
            try:
                with sock:
                    sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    answer = b""
                    while piece := sock.recv(4096):
                        answer += piece
                answers.append(int(answer.split(b" ")[1]))
            except (OSError, IndexError, ValueError) as error:
                failures.append(f"{type(error).__name__}: {error}")
                return

    callers = [threading.Thread(target=call) for _ in range(6)]
    for caller in callers:
        caller.start()
    until(lambda: len(answers) > 50)
    one.signal(signal.SIGTERM)
    for caller in callers:
        caller.join(20)
    assert one.wait() == 0
    assert failures == []
    assert set(answers) == {200}


def test_no_reload_and_no_replacement_while_it_drains(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: origin.held == 1)
        one.signal(signal.SIGTERM)
        until(lambda: one.admin("/ready").status == 503)
        assert one.admin("/reload", "POST").status == 400
        assert one.admin("/workers/0/replace", "POST").status == 500
        origin.release.set()
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert one.wait() == 0


def test_a_worker_that_dies_in_the_drain_is_not_replaced(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    worker = one.worker_pids()[0]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: origin.held == 1)
        one.signal(signal.SIGTERM)
        until(lambda: one.admin("/ready").status == 503)
        os.kill(worker, signal.SIGKILL)
        assert one.wait() == 0
    assert one.log.count("serves snapshot") == 1


def test_ended_while_it_starts(sidecar: Start, origin: Origin) -> None:
    one = sidecar(config_of(free_port(), origin), wait=False)
    until(one.descendants, "a first child")
    one.signal(signal.SIGTERM)
    assert one.wait() == 0


def test_what_cannot_start_says_why_and_exits_1(tmp_path: Path, origin: Origin) -> None:
    taken = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", taken))
        other.listen()
        one = Sidecar(tmp_path, config_of(taken, origin))
        one.start(wait=False)
        assert one.wait() == 1
    assert f"listener web: cannot listen on 127.0.0.1:{taken}: in use by" in one.log
    assert f"(pid {os.getpid()})" in one.log


def test_two_sidecars_do_not_share_a_port(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    """SO_REUSEPORT would let them, and each would get half of the connections."""
    port = free_port()
    one = sidecar(config_of(port, origin))
    other = Sidecar(tmp_path, config_of(port, origin))
    other.start(wait=False)
    assert other.wait() == 1
    assert f"cannot listen on 127.0.0.1:{port}: in use by" in other.log
    assert f"(pid {one.pid})" in other.log


@pytest.mark.parametrize("text", ["", "listeners: [\n", "listeners: []\nadmin: {address: 5}\n"])
def test_a_bad_file_is_explained_as_by_check(tmp_path: Path, text: str) -> None:
    one = Sidecar(tmp_path, {})
    one.write_text(text)
    one.start(wait=False)
    assert one.wait() == 1
    assert f"{one.path}" in one.log
    assert "Traceback" not in one.log


def test_a_missing_file_is_no_traceback(tmp_path: Path) -> None:
    one = Sidecar(tmp_path, {})
    one.path.unlink()
    one.start(wait=False)
    assert one.wait() == 1
    assert str(one.path) in one.log
    assert "Traceback" not in one.log


def test_a_drain_under_load_loses_nothing_on_open_connections(sidecar: Start, origin: Origin) -> None:
    """Clients that keep their connections see `connection: close` with an answer, never a cut."""
    port = free_port()
    one = sidecar(config_of(port, origin))
    with Callers(port, count=4) as callers:
        callers.more(50)
        one.signal(signal.SIGTERM)
        assert one.wait() == 0
    # After the announced close a caller connects anew, and is refused: that is the only thing it may see.
    assert all("ConnectionRefused" in failure for failure in callers.failures), callers.failures


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_ask_is_refused_after_the_end(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    assert one.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/")
    with pytest.raises(ConnectionRefusedError):
        one.admin("/live")
