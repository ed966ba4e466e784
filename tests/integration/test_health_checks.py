"""The control process checks endpoints that die, lie, hang and come back, and every worker goes by what it finds."""

import asyncio
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from integration.harness import Sidecar, ask, free_port, until
from integration.mesh import elapse
from integration.service import Reply, Service
from integration.test_healing import Line, events, state

Start = Callable[..., Sidecar]


def config(port: int, endpoints: list[Any] | dict[str, Any], workers: int = 1, outlier: dict[str, Any] | None = None,
           cluster: dict[str, Any] | None = None, **check: Any) -> dict[str, Any]:
    asked = check if "tcp" in check else {"http": {"path": "/healthz"}, **check}
    return {
        "workers": workers,
        "listeners": [{"name": "web", "address": f"127.0.0.1:{port}",
                       "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]}],
        "clusters": [{"name": "app", "load_balancer": "round_robin", "endpoints": endpoints,
                      "outlier": outlier or {"enabled": "false"}, **(cluster or {}),
                      "health_check": {"interval": "100ms", "timeout": "100ms", "jitter": "0%", **asked}}],
    }


def is_sick(handler: BaseHTTPRequestHandler) -> Reply:
    """Its health check says no, and all else works."""
    return (503 if handler.path == "/healthz" else 200), {}


def is_well(_: BaseHTTPRequestHandler) -> Reply:
    return 200, {}


def health(one: Sidecar, address: str) -> str:
    found: str = state(one, address)["health"]
    return found


def wait_health(one: Sidecar, address: str, wanted: str) -> None:
    until(lambda: health(one, address) == wanted, f"{address} is {wanted}", 20)


def who(port: int, count: int = 12) -> set[str]:
    return {ask(port, "/").text for _ in range(count)}


def test_the_first_request_finds_only_those_that_pass(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, sick = services("good", "sick")
    sick.reply = is_sick
    port = free_port()
    one = sidecar(config(port, [good.address, sick.address, "127.0.0.1:1"]))
    assert who(port) == {"good"}
    assert health(one, good.address) == "healthy"
    assert health(one, sick.address) == "unhealthy"
    found = state(one, sick.address)["check"]
    assert (found["state"], found["last"], found["why"]) == ("unhealthy", "status", "HTTP 503, expected 200-299")
    metrics = one.metrics()
    assert metrics['fastmesh_health_checks_total{cluster="app",result="status"}'] >= 1
    assert metrics['fastmesh_cluster_endpoints_checked{cluster="app",state="healthy"}'] == 1


def test_all_workers_leave_it_and_take_it_back(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, other = services("good", "other")
    port = free_port()
    one = sidecar(config(port, [good.address, other.address], workers=2, healthy=2))
    lines = [Line(port) for _ in range(8)]
    try:
        assert {line.ask()[1] for line in lines for _ in range(4)} == {"good", "other"}
        other.reply = is_sick
        wait_health(one, other.address, "unhealthy")
        assert {line.ask()[1] for line in lines for _ in range(4)} == {"good"}
        other.reply = is_well
        wait_health(one, other.address, "healthy")
        assert {line.ask()[1] for line in lines for _ in range(4)} == {"good", "other"}
    finally:
        for line in lines:
            line.close()
    # On a machine that is very busy it may also have been late at another time.
    told = [event for event in events(one, "unhealthy") if event["endpoint"] == other.address]
    unhealthy = next(event for event in told if event["text"].endswith("HTTP 503, expected 200-299"))
    assert (unhealthy["cluster"], unhealthy["level"]) == ("app", "warn")
    assert unhealthy["text"] == f"endpoint {other.address} is unhealthy: HTTP 503, expected 200-299"
    assert all(healthy["times"] >= 2 and healthy["out_ms"] > 0 for healthy in events(one, "healthy"))
    one.wait_log(rf'unhealthy cluster=app endpoint={other.address} after_ms=\d+ times=1 why="HTTP 503, '
                 'expected 200-299"')
    one.wait_log(rf"healthy cluster=app endpoint={other.address} out_ms=\d+ times=2")


def test_when_all_are_dead_the_answer_is_503_and_says_so(sidecar: Start, services: Callable[..., list[Service]],
                                                         tmp_path: Path) -> None:
    good, = services("good")
    port = free_port()
    log = tmp_path / "access.log"
    one = sidecar({**config(port, [good.address]), "access_log": {"path": str(log)}})
    assert ask(port, "/").status == 200
    good.reply = is_sick
    wait_health(one, good.address, "unhealthy")
    before = good.requests
    answer = ask(port, "/")
    assert (answer.status, good.requests >= before) == (503, True)
    until(lambda: '"UH"' in log.read_text(), "the line of the refused request")
    assert "no_healthy_upstream" in log.read_text()


def test_in_panic_all_are_asked(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, other = services("good", "other")
    good.reply = other.reply = is_sick
    port = free_port()
    one = sidecar(config(port, [good.address, other.address], cluster={"balancing": {"panic_threshold": "50%"}}))
    wait_health(one, good.address, "unhealthy")
    assert who(port) == {"good", "other"}


def test_one_that_hangs_is_told_of_with_its_reason(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    """Accepts and says nothing: three times in a row, then it is out."""
    good, = services("good")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        one = sidecar(config(free_port(), [good.address, address]))
        wait_health(one, address, "unhealthy")
    first, = [e for e in events(one, "check_failed") if e["endpoint"] == address]
    assert first["text"] == f"endpoint {address} fails a health check: no answer within 0.1 s"
    (told,) = events(one, "unhealthy")
    assert told["text"].endswith("no answer within 0.1 s (3 failures in a row)") and told["times"] == 3


def test_a_session_goes_elsewhere(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    both = services("one", "two")
    port = free_port()
    one = sidecar(config(port, [s.address for s in both], cluster={
        "balancing": {"sticky": {"cookie": "to", "secret": "s" * 32}}}))
    answer = ask(port, "/")
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert {ask(port, "/", headers={"cookie": cookie}).text for _ in range(6)} == {answer.text}
    mine, = [s for s in both if s.name == answer.text]
    mine.reply = is_sick
    wait_health(one, mine.address, "unhealthy")
    assert {ask(port, "/", headers={"cookie": cookie}).text for _ in range(6)} == {"one", "two"} - {mine.name}


def test_idle_connections_to_it_are_closed(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, other = services("good", "other")
    port = free_port()
    one = sidecar(config(port, [good.address, other.address]))
    assert who(port) == {"good", "other"}
    assert state(one, other.address)["connections"] == 1
    other.reply = is_sick
    wait_health(one, other.address, "unhealthy")
    assert who(port) == {"good"}
    until(lambda: state(one, other.address)["connections"] == 0, "its connection is closed")
    assert state(one, good.address)["connections"] == 1


def test_unless_they_are_to_stay(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, other = services("good", "other")
    port = free_port()
    one = sidecar(config(port, [good.address, other.address], close_connections="false"))
    assert who(port) == {"good", "other"}
    other.reply = is_sick
    wait_health(one, other.address, "unhealthy")
    assert who(port) == {"good"}
    assert state(one, other.address)["connections"] == 1


def test_checks_that_pass_end_an_ejection(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, other = services("good", "other")
    port = free_port()
    one = sidecar(config(port, [good.address, other.address], interval="1s",
                         outlier={"gateway_errors": 2, "base": "1h", "max": "2h", "ramp": "0", "max_ejected": "50%"}))
    other.reply = lambda handler: (200 if handler.path == "/healthz" else 503, {})

    def is_out() -> bool:
        ask(port, "/")
        return bool(events(one, "ejected"))
    until(is_out, "it is ejected", 20)
    other.reply = is_well
    until(lambda: events(one, "recovered"), "it is in again", 20)
    assert who(port) == {"good", "other"}


def test_a_reload_keeps_what_is_known(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, sick, late = services("good", "sick", "late")
    sick.reply = is_sick
    port = free_port()
    one = sidecar(config(port, [good.address, sick.address]))
    wait_health(one, sick.address, "unhealthy")
    since = state(one, sick.address)["check"]["since_ms"]
    one.reload(config(port, [good.address, sick.address, late.address]))
    assert state(one, sick.address)["check"]["since_ms"] >= since
    wait_health(one, late.address, "healthy")
    assert who(port) == {"good", "late"}
    without = config(port, [good.address, sick.address])
    del without["clusters"][0]["health_check"]
    one.reload(without)
    assert who(port) == {"good", "sick"}
    assert "check" not in state(one, sick.address)
    # Once more with checks: who serves goes on until one fails.
    one.reload(config(port, [good.address, sick.address], unhealthy=3))
    wait_health(one, sick.address, "unhealthy")
    assert who(port) == {"good"}


def test_a_new_worker_knows_at_once(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, sick = services("good", "sick")
    sick.reply = is_sick
    port = free_port()
    one = sidecar(config(port, [good.address, sick.address]))
    one.admin("/workers/0/replace", "POST")
    assert who(port) == {"good"}


def test_what_discovery_finds_is_checked(sidecar: Start, services: Callable[..., list[Service]],
                                         tmp_path: Path) -> None:
    good, sick, late = services("good", "sick", "late")
    sick.reply = is_sick
    port, path = free_port(), tmp_path / "app.yaml"
    path.write_text(f"[{good.address}, {sick.address}]")
    one = sidecar(config(port, {"use": "file", "path": str(path)}))
    wait_health(one, good.address, "healthy")
    assert who(port) == {"good"}
    path.write_text(f"[{sick.address}, {late.address}]")
    until(lambda: any(e["address"] == late.address and e["health"] == "healthy"
                      for e in one.admin("/clusters").json[0]["endpoints"]), "the new one is found and passes", 20)
    assert who(port) == {"late"}
    before = good.requests
    made = until(lambda: one.metrics()['fastmesh_health_checks_total{cluster="app",result="passed"}'], "checks go on")
    until(lambda: one.metrics()['fastmesh_health_checks_total{cluster="app",result="passed"}'] > made + 3, "and on")
    assert good.requests <= before + 1      # nobody asks one that has gone


def test_another_address_is_asked(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    """The endpoint has a port of its own for what it thinks of itself."""
    app, said = services("app", "said")
    port = free_port()
    one = sidecar(config(port, [{"address": app.address, "check_address": said.address}]))
    assert who(port) == {"app"}
    assert state(one, app.address)["check"]["address"] == said.address
    said.reply = is_sick
    wait_health(one, app.address, "unhealthy")
    assert ask(port, "/").status == 503


def test_by_tcp(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, = services("good")
    port = free_port()
    one = sidecar(config(port, [good.address, "127.0.0.1:1"], tcp={}))
    assert who(port) == {"good"}
    wait_health(one, "127.0.0.1:1", "unhealthy")
    assert state(one, "127.0.0.1:1")["check"]["why"] == "connection refused"


def test_the_command_runs_for_one_that_is_found_dead(sidecar: Start, services: Callable[..., list[Service]],
                                                     tmp_path: Path) -> None:
    good, sick = services("good", "sick")
    said = tmp_path / "said"
    port = free_port()
    one = sidecar(config(port, [good.address, sick.address], cluster={"heal": {
        "run": ["/bin/sh", "-c", f'echo "$FASTMESH_EVENT $FASTMESH_ENDPOINT $FASTMESH_REASON" >> {said}'],
        "at_most": "1000000/s"}}))
    sick.reply = is_sick
    wait_health(one, sick.address, "unhealthy")
    sick.reply = is_well
    wait_health(one, sick.address, "healthy")
    until(lambda: said.exists() and len(said.read_text().splitlines()) == 2, "both are told")
    assert said.read_text().splitlines() == [f"unhealthy {sick.address} check", f"healthy {sick.address} check"]


@contextmanager
def many(count: int) -> Iterator[list[str]]:
    """Endpoints of one process: addresses of 127.0.0.0/8 with one port, each of which says that it is well."""
    ports: queue.SimpleQueue[int] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    end = asyncio.Event()

    open_: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        open_.discard(writer)

    async def serve() -> None:
        async with await asyncio.start_server(answer, "0.0.0.0", 0, backlog=4096) as server:
            ports.put(server.sockets[0].getsockname()[1])
            # Nobody asks any more; what has been accepted is answered. Else its sockets would be closed by whoever
            # collects garbage next, in the middle of another test.
            await end.wait()
            for _ in range(3):
                await asyncio.sleep(0.1)
                for writer in list(open_):
                    writer.transport.abort()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())
    thread = threading.Thread(target=run)
    thread.start()
    try:
        port = ports.get(timeout=10)
        yield [f"127.1.{i // 250}.{1 + i % 250}:{port}" for i in range(count)]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()


def control_cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_two_thousand_endpoints(sidecar: Start, record_property: Callable[[str, object], None]) -> None:
    """Each is asked again and again, few at the same time, and control answers meanwhile."""
    with many(2000) as addresses:
        one = sidecar({**config(free_port(), list(addresses), interval="2s", timeout="2s"), "max_health_checks": 64})
        passed = 'fastmesh_health_checks_total{cluster="app",result="passed"}'
        healthy = 'fastmesh_cluster_endpoints_checked{cluster="app",state="healthy"}'
        until(lambda: one.metrics()[healthy] == 2000, "all have passed", 30)
        begun, cpu = one.metrics()[passed], control_cpu(one.pid)
        running = []

        def enough() -> bool:
            found = one.metrics()
            running.append(found["fastmesh_health_checks_running"])
            elapse(0.25)        # what is measured are checks, not these questions
            return found[passed] >= begun + 4000
        until(enough, "two rounds more", 60)
        found = one.metrics()
        made, used = found[passed] - begun, control_cpu(one.pid) - cpu
        assert max(running) <= 64
        assert found["fastmesh_health_checks_delayed_total"] > 0       # of the first round: 2,000 at once, 64 may
        assert found[healthy] == 2000
        each = used / made * 1e6
        record_property("cpu_us_per_check", each)
        print(f"{made:.0f} checks, {each:.0f} us of CPU each, the metrics that were asked for included")
        assert one.stop() == 0
