"""A start that cannot be: the reason on standard error, and the exit codes of the help."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
from integration.harness import FASTMESH, free_port

GOOD = """\
admin: {{address: 127.0.0.1:{admin}}}
listeners:
  - name: web
    address: 127.0.0.1:{port}
    routes: [{{match: {{prefix: /}}, response: {{status: 200}}}}]
"""


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([FASTMESH, "run", *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "none.yaml")
    done = run("-c", path)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"config error: {path}: the file does not exist\n  to do: check the path")
    assert done.stderr.endswith(f"error not started: {path} cannot be used\n")


def test_a_file_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text(GOOD.format(admin=free_port(), port=free_port()).replace("prefix", "prefx"))
    done = run("-c", str(path))
    assert done.returncode == 1
    assert f"config error: {path}:5:23: listeners[0].routes[0].match: unknown key 'prefx'" in done.stderr
    assert "                       ^^^^^\n  to do: write prefix" in done.stderr


@pytest.mark.parametrize("whose", ["listener web", "admin"])
def test_an_address_that_is_taken(tmp_path: Path, whose: str) -> None:
    path = tmp_path / "mesh.yaml"
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        ports = (port, free_port()) if whose == "admin" else (free_port(), port)
        path.write_text(GOOD.format(admin=ports[0], port=ports[1]))
        done = run("-c", str(path))
    assert done.returncode == 1
    assert f"error {whose}: cannot listen on 127.0.0.1:{port}: in use by " in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr and done.stderr.endswith("error not started\n")


def test_standard_input_is_no_configuration() -> None:
    done = run("-c", "-")
    assert done.returncode == 2 and "found -, allowed: a file" in done.stderr
