"""The compile process, as control starts it."""

import gc
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest

from fastmesh.snapshot import process as compile_process
from fastmesh.snapshot.process import answer

GOOD = """\
workers: auto
access_log: {path: /var/log/x.log, format: text}
max_connections: 500
listeners:
  - {name: web, address: "127.0.0.1:8080", backlog: 7, routes: [{match: {prefix: /}, cluster: app}]}
  - {name: db, address: "unix:/run/db", direction: inbound, protocol: tcp, cluster: app}
clusters:
  - {name: app, endpoints: [127.0.0.1:9000, {address: "${EXTRA:-127.0.0.1:9001}", weight: 2}]}
"""


def ask(request: object, raw: bytes | None = None) -> tuple[int, dict[str, Any], str]:
    run = subprocess.run([sys.executable, "-m", "fastmesh.snapshot.process"], capture_output=True, timeout=60,
                         check=False, input=msgpack.packb(request) if raw is None else raw)
    return run.returncode, msgpack.unpackb(run.stdout, strict_map_key=False), run.stderr.decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.yaml"
    path.write_text(GOOD)
    return path


def test_a_good_file(file):
    code, result, words = ask({"file": str(file), "version": 7, "registry": None, "env": {}})
    assert (code, words) == (0, "")
    assert result["ok"] and result["version"] == 7 and result["warnings"] == [] and result["text"] == ""
    snapshot = msgpack.unpackb(result["snapshot"])
    assert snapshot[:3] == ["fmsn", 6, 7] and snapshot[3][0] == 500
    assert result["listeners"] == [
        {"id": 0, "name": "web", "protocol": "http", "direction": "outbound", "backlog": 7,
         "address": {"family": 4, "host": "127.0.0.1", "port": 8080, "path": "", "text": "127.0.0.1:8080"}},
        {"id": 1, "name": "db", "protocol": "tcp", "direction": "inbound", "backlog": 4096,
         "address": {"family": 1, "host": "", "port": 0, "path": "/run/db", "text": "unix:/run/db"}}]
    ramp = [10_000_000_000, 1000, 100_000]
    assert result["clusters"] == [{"id": 0, "name": "app", "lb": "least_request", "warming": ramp, "endpoints": [
        {"row": 0, "address": "127.0.0.1:9000", "weight": 1}, {"row": 1, "address": "127.0.0.1:9001", "weight": 2}]}]
    assert result["names"] == {"listeners": {0: "web", 1: "db"}, "clusters": {0: "app"}, "filters": {},
                               "rate_limits": {}, "cluster_limits": {0: {
                                   "max_requests": 10_000, "max_pending": 1024, "max_cluster_connections": 10_000,
                                   "max_retries": 500}}, "routes": {}}
    assert result["filters"] == b"" and result["files"] == []
    process = result["process"]
    assert 1 <= process.pop("workers") <= len(os.sched_getaffinity(0))
    assert process == {
        "reactor": "auto", "drain_timeout_ms": 30_000, "orphan_grace_ms": 10_000, "hang_timeout_ms": 10_000,
        "max_connections": 500, "max_checks": 256,
        "admin": {"family": 4, "host": "127.0.0.1", "port": 15000, "path": "", "text": "127.0.0.1:15000"},
        "access_log": {"path": "/var/log/x.log", "format": "text"}}
    assert result["node"] == {"service": "unknown", "version": "unknown", "namespace": "default",
                              "workload": "unknown", "cluster": ""}
    assert result["config"]["listeners"][0]["limits"]["head"] == "60KiB"


def test_the_environment_is_the_request_s(file):
    _, result, _ = ask({"file": str(file), "version": 1, "env": {"EXTRA": "10.0.0.1:1"}})
    assert result["clusters"][0]["endpoints"][1]["address"] == "10.0.0.1:1"


def test_the_configuration_that_it_returns_is_the_same_configuration(file, tmp_path):
    _, result, _ = ask({"file": str(file), "version": 1, "env": {}})
    again = tmp_path / "again.yaml"
    again.write_text(json.dumps(result["config"]))
    _, second, _ = ask({"file": str(again), "version": 1, "env": {}})
    assert second["snapshot"] == result["snapshot"] and second["config"] == result["config"]


def test_a_bad_file(file):
    file.write_text(GOOD.replace("backlog: 7", "backlog: x").replace("cluster: app}\ncl", "cluster: ap}\ncl"))
    code, result, words = ask({"file": str(file), "version": 1, "env": {}})
    assert (code, words, result["ok"]) == (1, "", False)
    first, second = result["errors"]
    assert first == {
        "file": str(file), "line": 5, "column": 53, "width": 1, "path": "listeners[0].backlog", "severity": "error",
        "message": "found 'x', allowed: a whole number from 1 to 65535", "found": "'x'",
        "allowed": "a whole number from 1 to 65535", "hint": ""}
    assert (second["line"], second["path"], second["hint"]) == (6, "listeners[1].cluster", "write app")
    assert result["text"].count("config error: ") == 2 and "\x1b" not in result["text"]


@pytest.mark.parametrize(("request_", "said"), [
    ({}, "the request names no file"), ([], "the request names no file"), ({"file": 5}, "the request names no file"),
    ({"file": "/none", "version": 1}, "the file does not exist"),
    ({"file": "/", "version": 1}, "this is a directory")])
def test_requests_that_cannot_be_answered(request_, said):
    code, result, words = ask(request_)
    assert (code, words, result["ok"]) == (1, "", False)
    assert result["errors"][0]["message"] == said


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x93\x01"])
def test_requests_that_are_no_msgpack(raw):
    code, result, _ = ask(None, raw)
    assert (code, result["ok"]) == (1, False)
    assert result["errors"][0]["message"].startswith("internal error while compiling")


def test_rows_stay_where_they_are_and_their_owners_change(file):
    _, first, _ = ask({"file": str(file), "version": 1, "env": {}})
    file.write_text(GOOD.replace("127.0.0.1:9000, ", ""))
    _, second, _ = ask({"file": str(file), "version": 2, "env": {}, "registry": first["registry"]})
    assert second["clusters"][0]["endpoints"] == [{"row": 1, "address": "127.0.0.1:9001", "weight": 2}]
    file.write_text(GOOD.replace("name: app", "name: new").replace("cluster: app", "cluster: new"))
    _, third, _ = ask({"file": str(file), "version": 3, "env": {}, "registry": second["registry"]})
    assert [cluster["id"] for cluster in third["clusters"]] == [1]
    assert [endpoint["row"] for endpoint in third["clusters"][0]["endpoints"]] == [2, 3]


def test_warnings_come_along(file):
    file.write_text(GOOD + "  - {name: idle, endpoints: []}\n")
    result = answer({"file": str(file), "version": 1, "env": {}})
    assert result["ok"] and len(result["warnings"]) == 2 and result["text"].count("config warning: ") == 2


def test_what_others_print_does_not_spoil_the_result(file):
    code = ("import os, sys\nfrom fastmesh.snapshot import process as c\nanswer = c.answer\n"
            "def loud(request):\n    print('noise', flush=True)\n    os.write(1, b'more noise')\n"
            "    return answer(request)\n"
            "c.answer = loud\nsys.exit(c.main())\n")
    run = subprocess.run([sys.executable, "-c", code], input=msgpack.packb({"file": str(file), "env": {}}),
                         capture_output=True, check=False, timeout=60)
    assert msgpack.unpackb(run.stdout, strict_map_key=False)["ok"]
    assert b"more noise" in run.stderr


def test_it_gives_up_in_time(file, monkeypatch, capfd):
    def endless(request: object) -> dict[str, Any]:
        while True:
            pass

    monkeypatch.setattr(compile_process, "answer", endless)
    monkeypatch.setattr(compile_process, "TIME_LIMIT", 1)
    monkeypatch.setattr(sys, "stdin", type("In", (), {"buffer": io.BytesIO(
        msgpack.packb({"file": str(file)}))}))
    before = signal.getsignal(signal.SIGALRM)
    read, write = os.pipe()
    kept = os.dup(1)
    os.dup2(write, 1)
    try:
        assert compile_process.main() == 1
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(write)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    with os.fdopen(read, "rb") as pipe:
        result = msgpack.unpackb(pipe.read())
    assert result["errors"][0]["message"] == "the configuration took longer than 1 s to check"
    assert result["errors"][0]["file"] == str(file)


def test_a_hundred_thousand_endpoints(tmp_path):
    lines = ["listeners: [{name: a, address: '127.0.0.1:1', protocol: tcp, cluster: c0}]", "clusters:"]
    for i in range(1000):
        ends = ", ".join(f"10.{i // 256}.{i % 256}.{j}:80" for j in range(100))
        lines.append(f"  - {{name: c{i}, endpoints: [{ends}]}}")
    path = tmp_path / "large.yaml"
    path.write_text("\n".join(lines) + "\n")
    _, result, _ = ask({"file": str(path), "version": 1, "env": {}})
    assert result["ok"] and len(result["warnings"]) > 100 - 2
    assert result["clusters"][999]["endpoints"][99]["row"] == 99_999
