"""Reload: a good file is live at once and nobody notices; a bad one changes nothing."""

import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from integration.harness import (
    Callers,
    Origin,
    Sidecar,
    ask,
    children,
    cluster,
    config_of,
    free_port,
    http_listener,
    origins,
    until,
)

Start = Callable[..., Sidecar]


def test_a_good_file_is_live_when_the_api_answers(sidecar: Start) -> None:
    port = free_port()
    with origins("old", "new") as (old, new):
        one = sidecar(config_of(port, old))
        assert ask(port, "/").text == "old"
        took = one.reload(config_of(port, new))
        assert took["version"] == 2
        assert ask(port, "/").text == "new"
        assert [w["snapshot"] for w in one.workers()] == [2]
        assert one.admin("/config").json["clusters"][0]["endpoints"][0]["address"] == new.address


def test_reloads_leave_no_compile_process_behind(sidecar: Start, origin: Origin) -> None:
    """Each compiles in a new one. The answer, after the last worker's acknowledgement, says how long it took."""
    port = free_port()
    one = sidecar(config_of(port, origin, workers=2))
    for version in range(2, 11):
        answer = one.reload()
        assert answer["version"] == version and answer["ms"] > 0
        until(lambda: set(children(one.pid)) == set(one.worker_pids()), "no compile process is left")


def test_sighup_reloads_too(sidecar: Start) -> None:
    port = free_port()
    with origins("old", "new") as (old, new):
        one = sidecar(config_of(port, old))
        one.write(config_of(port, new))
        one.signal(signal.SIGHUP)
        until(lambda: ask(port, "/").text == "new")
        one.wait_log(r"snapshot 2 is live \(SIGHUP\)")


@pytest.mark.parametrize("text", [
    "listeners: [", "", "listeners: 5", "listenrs: []\n", "\0\1\2binary", "a: &a [*a]",
    "listeners:\n  - {name: web, address: nonsense, routes: []}\n",
])
def test_a_bad_file_changes_nothing_and_is_reported(sidecar: Start, origin: Origin, text: str) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    good = one.path.read_text()
    one.write_text(text)
    answer = one.admin("/reload", "POST")
    assert answer.status == 400
    assert str(one.path) in answer.text
    assert ask(port, "/").text == "origin"
    assert [w["snapshot"] for w in one.workers()] == [1]
    assert str(one.path) in one.log
    assert "snapshot 1 stays live" in one.log
    metrics = one.metrics()
    assert metrics['fastmesh_reloads_total{result="bad"}'] == 1
    one.write_text(good)
    assert one.reload()["version"] == 2


def test_reloads_at_the_same_time_are_made_one_after_the_other(sidecar: Start) -> None:
    """Each reads the file, each is answered, and the last one is live."""
    port = free_port()
    with origins("old", "new") as (old, new):
        one = sidecar(config_of(port, old, workers=2))
        with Callers(port) as callers, ThreadPoolExecutor(8) as pool:
            one.write(config_of(port, new, workers=2))
            answers = list(pool.map(lambda _: one.admin("/reload", "POST"), range(16)))
            callers.more(10)
        assert callers.failures == []
        assert sorted(answer.json["version"] for answer in answers) == list(range(2, 18))
        assert [w["snapshot"] for w in one.workers()] == [17, 17]
        assert ask(port, "/").text == "new"


def test_good_and_bad_reloads_at_the_same_time(sidecar: Start, origin: Origin) -> None:
    """Every answer is of one file or the other, never of both; what was good last is live."""
    port = free_port()
    one = sidecar(config_of(port, origin))
    good = one.path.read_text()
    with Callers(port, count=2) as callers, ThreadPoolExecutor(4) as pool:
        answers = []
        for n in range(20):
            one.write_text(good if n % 2 else good[:-20])
            answers.append(pool.submit(one.admin, "/reload", "POST"))
            one.signal(signal.SIGHUP)
        results = [answer.result() for answer in answers]
    assert callers.failures == []
    assert {answer.status for answer in results} <= {200, 400}
    assert all(answer.status == 200 or "not valid YAML" in answer.text for answer in results)
    last = one.reload()["version"]
    assert [w["snapshot"] for w in one.workers()] == [last]


def test_fifty_reloads_under_load_fail_no_request(sidecar: Start) -> None:
    port = free_port()
    with origins("a", "b") as (a, b):
        one = sidecar(config_of(port, a, workers=2))
        with Callers(port) as callers:
            for n in range(50):
                one.reload(config_of(port, (a, b)[n % 2], workers=2))
            callers.more(100)
        assert callers.failures == []
        assert callers.bodies == {b"a", b"b"}
        assert one.stats()["snapshot"]["version"] == 51


def test_listeners_come_and_go(sidecar: Start, origin: Origin) -> None:
    first, second = free_port(), free_port()
    one = sidecar(config_of(first, origin))
    both = config_of(first, origin)
    both["listeners"].append(http_listener(second, "app", name="more"))
    with Callers(first) as callers:
        one.reload(both)
        assert ask(second, "/").text == "origin"
        one.reload(config_of(first, origin))
        with pytest.raises(ConnectionRefusedError):
            ask(second, "/")
        one.reload(both)
        assert ask(second, "/").text == "origin"
        callers.more(10)
    assert callers.failures == []


def test_a_listener_moves_to_another_address(sidecar: Start, origin: Origin) -> None:
    first, second = free_port(), free_port()
    one = sidecar(config_of(first, origin))
    one.reload(config_of(second, origin))
    assert ask(second, "/").text == "origin"
    with pytest.raises(ConnectionRefusedError):
        ask(first, "/")
    one.reload(config_of(first, origin))
    assert ask(first, "/").text == "origin"
    with pytest.raises(ConnectionRefusedError):
        ask(second, "/")


def test_two_listeners_swap_their_addresses(sidecar: Start) -> None:
    first, second = free_port(), free_port()
    with origins("a", "b") as (a, b):
        def config(of_a: int, of_b: int) -> dict[str, Any]:
            return {"listeners": [http_listener(of_a, "a", name="a"), http_listener(of_b, "b", name="b")],
                    "clusters": [cluster("a", a.address), cluster("b", b.address)]}
        one = sidecar(config(first, second))
        assert ask(first, "/").text == "a"
        one.reload(config(second, first))
        assert [ask(first, "/").text, ask(second, "/").text] == ["b", "a"]


def test_a_connection_outlives_the_removal_of_its_listener(sidecar: Start, origin: Origin) -> None:
    first, second = free_port(), free_port()
    both = config_of(first, origin)
    both["listeners"].append(http_listener(second, "app", name="more"))
    one = sidecar(both)
    with socket.create_connection(("127.0.0.1", second), timeout=5) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: origin.held == 1)
        one.reload(config_of(first, origin))
        origin.release.set()
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_an_address_in_use_refuses_the_whole_reload(sidecar: Start) -> None:
    port, taken, third = free_port(), free_port(), free_port()
    with origins("old", "new") as (old, new), socket.socket() as other:
        other.bind(("127.0.0.1", taken))
        other.listen()
        one = sidecar(config_of(port, old))
        config = config_of(port, new)
        config["listeners"] += [http_listener(third, "app", name="third"), http_listener(taken, "app", name="taken")]
        one.write(config)
        answer = one.admin("/reload", "POST")
        assert answer.status == 400
        assert f"listener taken: cannot listen on 127.0.0.1:{taken}: in use by" in answer.text
        assert f"(pid {os.getpid()})" in answer.text
        assert ask(port, "/").text == "old"
        with pytest.raises(ConnectionRefusedError):
            ask(third, "/")


def test_the_admin_api_moves(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    before = one.admin_port
    one.admin_port = free_port()
    one.write(config_of(port, origin))
    assert ask(before, "/reload", "POST").status == 200
    assert one.admin("/ready").status == 200
    with pytest.raises(ConnectionRefusedError):
        ask(before, "/ready")


def test_the_admin_api_widens_to_all_interfaces(sidecar: Start, origin: Origin) -> None:
    """Its old address is a part of the new one, and is still held while the new one is opened."""
    port = free_port()
    one = sidecar(config_of(port, origin))
    one.reload(config_of(port, origin, admin={"address": f"0.0.0.0:{one.admin_port}"}))
    assert one.reload(config_of(port, origin))["version"] == 3


def test_many_hangups_are_few_reloads(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    for _ in range(200):
        one.signal(signal.SIGHUP)
    one.wait_log("is live \\(SIGHUP\\)")
    assert one.reload()["version"] < 100


def test_the_number_of_workers_changes_and_nobody_notices(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    with Callers(port, count=6) as callers:
        for count in (3, 1, 2):
            one.reload(config_of(port, origin, workers=count))
            until(lambda count=count: len(one.worker_pids()) == count == len(one.workers()))
            callers.more(50)
            # New connections reach new workers, and none waits for one that has gone.
            assert [ask(port, "/").status for _ in range(20)] == [200] * 20
    assert callers.failures == []
    requests = one.stats()["globals"]["requests"]
    assert requests >= callers.answers + 60


def test_counters_go_on_over_a_reload(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    for _ in range(3):
        ask(port, "/")
    one.reload()
    ask(port, "/")
    assert one.stats()["clusters"]["app"]["requests"] == 4


def test_a_unix_listener_leaves_no_file_behind(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    port = free_port()
    config = config_of(port, origin)
    config["listeners"].append({**http_listener(port, "app", name="local"), "address": f"unix:{path}"})
    one = sidecar({**config, "workers": 2})
    for _ in range(4):
        assert b"origin" in ask_unix(path)
    one.reload({**config_of(port, origin), "workers": 2})
    assert not path.exists()
    one.reload({**config, "workers": 2})
    assert b"origin" in ask_unix(path)
    assert one.stop() == 0
    assert not path.exists()


def test_only_a_stale_unix_socket_is_replaced(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    stale, text, busy = tmp_path / "stale.sock", tmp_path / "text", tmp_path / "busy.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    text.write_text("do not touch")
    port = free_port()

    def config(path: Path) -> dict[str, Any]:
        return {"listeners": [{**http_listener(port, "app"), "address": f"unix:{path}"}],
                "clusters": [cluster("app", origin.address)]}
    one = sidecar(config(stale))
    assert b"origin" in ask_unix(stale)
    with socket.socket(socket.AF_UNIX) as owner:
        owner.bind(str(busy))
        owner.listen()
        for path, why in ((text, "not a socket"), (busy, "in use")):
            one.write(config(path))
            answer = one.admin("/reload", "POST")
            assert answer.status == 400
            assert why in answer.text
    assert text.read_text() == "do not touch"
    assert busy.exists()
    assert b"origin" in ask_unix(stale)


def ask_unix(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = b""
        while piece := client.recv(4096):
            answer += piece
        return answer
