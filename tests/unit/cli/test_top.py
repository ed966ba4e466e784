"""`fastmesh filters top`, against an admin API that gives two readings."""

import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastmesh.cli.main import main
from fastmesh.cli.top import rows_between, table


def phase(calls: int, seconds: float = 0.0, cpu: float = 0.0, errors: int = 0, overruns: int = 0) -> dict[str, Any]:
    return {"calls": calls, "seconds": seconds, "cpu_seconds": cpu, "errors": errors, "overruns": overruns}


def reading(at: float, **filters: dict[str, Any]) -> dict[str, Any]:
    return {"at": at, "workers": 1, "filters": [
        {"name": name, "state": "active", "phases": phases} for name, phases in filters.items()]}


BEFORE = reading(10.0, tenant={"request": phase(100, 1.0, 0.5), "response": phase(7)}, idle={})
AFTER = reading(12.0, tenant={"request": phase(2100, 1.005, 0.504, 3, 1), "response": phase(7)}, idle={},
                fresh={"request": phase(4, 2.0, 1.0)})


def test_rates_are_those_between_two_readings() -> None:
    rows = {(row.filter, row.phase): row for row in rows_between(BEFORE, AFTER)}
    request = rows["tenant", "request"]
    assert (request.calls_a_second, request.errors, request.overruns) == (1000, 3, 1)
    assert request.us_a_call == pytest.approx(2.5) and request.cpu == pytest.approx(0.002)
    assert rows["tenant", "response"].us_a_call is None
    assert rows["fresh", "request"].cpu == pytest.approx(0.5)
    assert rows["idle", "-"].calls_a_second == 0
    assert [row.filter for row in rows_between(BEFORE, AFTER)] == ["fresh", "tenant", "idle", "tenant"]


def test_figures_that_begin_anew_are_counted_from_zero() -> None:
    (row,) = rows_between(reading(1.0, f={"request": phase(50)}), reading(2.0, f={"request": phase(5)}))
    assert row.calls_a_second == 5


def test_the_table_fits() -> None:
    rows = rows_between(BEFORE, AFTER)
    lines = table(rows).splitlines()
    assert lines[0].split() == ["FILTER", "PHASE", "CALLS/S", "µs/CALL", "CPU", "ERRORS", "OVERRUNS", "STATE"]
    assert lines[2].split() == ["tenant", "request", "1,000", "2.5", "0.2%", "3", "1", "active"]
    assert table(rows, height=3, width=20).splitlines()[-1] == "and 3 more"
    assert all(len(line) <= 20 for line in table(rows, 0, 20).splitlines())
    assert table([]).splitlines()[1].startswith("no filters")


@pytest.mark.parametrize("width", [80, 100, 120, 0])
def test_errors_and_states_are_seen_at_any_width(width: int) -> None:
    names = {"RequireTenant@a-listener-with-a-name": {"request": phase(1000, 1.0, 0.5, 12345, 3)}, "idle@web": {}}
    after = reading(2.0, **names)
    after["filters"][0]["state"] = "quarantined"
    lines = table(rows_between(reading(1.0), after), 0, width).splitlines()
    assert "RequireTenan" in lines[1] and lines[1].split()[-3:] == ["12,345", "3", "quarantined"]
    assert lines[0].endswith("STATE") and (not width or max(map(len, lines)) <= width)


def test_names_cannot_write_to_the_terminal() -> None:
    assert "\x1b" not in table(rows_between(reading(1.0), reading(2.0, **{"a\x1b[2J" + "x" * 90: {}})))


class _Admin(http.server.BaseHTTPRequestHandler):
    def address_string(self) -> str:
        return ""       # of a Unix socket there is none

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        status, body = self.server.answers.pop(0)  # type: ignore[attr-defined]
        assert self.path == "/filters"
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Serves these answers, one after another; its address."""
    servers: list[socketserver.BaseServer] = []

    def start(*answers: tuple[int, bytes], is_unix: bool = False) -> str:
        where: Any = str(tmp_path / "admin") if is_unix else ("127.0.0.1", 0)
        kind: Any = socketserver.UnixStreamServer if is_unix else socketserver.TCPServer
        server = kind(where, _Admin)
        server.answers = list(answers)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"unix:{where}" if is_unix else f"127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def good(*readings: dict[str, Any]) -> list[tuple[int, bytes]]:
    return [(200, json.dumps(one).encode()) for one in readings]


@pytest.mark.parametrize("is_unix", [False, True])
def test_once(admin: Callable[..., str], capsys: pytest.CaptureFixture[str], is_unix: bool) -> None:
    address = admin(*good(BEFORE, AFTER), is_unix=is_unix)
    assert main(["filters", "top", "--once", "--interval", "0.1", "--admin", address]) == 0
    out = capsys.readouterr().out
    assert "tenant" in out and "\x1b" not in out


def test_it_ends_when_the_proxy_does(admin: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    address = admin(*good(BEFORE, AFTER, AFTER), (503, b"gone\n"))
    assert main(["filters", "top", "--interval", "0.1", "--admin", address]) == 1
    told = capsys.readouterr()
    assert told.out.count("FILTER") == 2 and "answers with 503: gone" in told.err


@pytest.mark.parametrize(("answer", "said"), [
    ((404, b"no such page"), "answers with 404: no such page"), ((200, b"<html>"), "is no admin API of fastmesh"),
    ((200, b"[]"), "is no admin API of fastmesh"),
])
def test_answers_that_are_none(admin: Callable[..., str], capsys: pytest.CaptureFixture[str], answer: tuple[int, bytes],
                               said: str) -> None:
    assert main(["filters", "top", "--once", "--admin", admin(answer)]) == 1
    err = capsys.readouterr().err
    assert said in err and "to do:" in err


@pytest.mark.parametrize(("address", "said"), [
    ("127.0.0.1:1", "127.0.0.1:1 does not answer: Connection refused"), ("nonsense", "write nonsense:15000"),
    ("15000", "write 127.0.0.1:15000"),
    ("unix:/nowhere", "No such file"), ("127.0.0.1:99999999", "does not answer"),
])
def test_nobody_is_there(capsys: pytest.CaptureFixture[str], address: str, said: str) -> None:
    assert main(["filters", "top", "--once", "--admin", address]) == 1
    assert said in capsys.readouterr().err
