import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastmesh.cli.main import main

GOOD = """\
listeners:
  - name: web
    address: 127.0.0.1:8080
    routes:
      - match: {prefix: /}
        cluster: app
clusters:
  - name: app
    endpoints: [127.0.0.1:9000, 127.0.0.1:9001]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.yaml"
    path.write_text(GOOD)
    return path


def test_a_good_file(file, capsys):
    assert main(["check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f"{file}: ok: 1 listener, 1 route, 1 cluster, 2 endpoints, 0 warnings\n", "")


def test_discovery_policies_are_counted(file, capsys):
    file.write_text(GOOD.replace("[127.0.0.1:9000, 127.0.0.1:9001]", "{use: file, path: /run/app}"))
    assert main(["check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f"{file}: ok: 1 listener, 1 route, 1 cluster, 0 endpoints, 1 discovery policy, 0 warnings\n",
                          "")


def test_a_bad_file(file, capsys):
    file.write_text(GOOD.replace("127.0.0.1:8080", "8080").replace("cluster: app", "cluster: ap"))
    assert main(["check", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"config error: {file}:3:14: listeners[0].address: found '8080', allowed: IPv4 as 127.0.0.1:8080, IPv6 as "
        "[::1]:8080, or unix:/path/to/socket\n"
        "     3 |     address: 8080\n"
        "       |              ^^^^\n"
        "  to do: write 127.0.0.1:8080  (fastmesh reference listeners.address)\n"
        f"config error: {file}:6:18: listeners[0].routes[0].cluster: there is no cluster 'ap', allowed: app\n"
        "     6 |         cluster: ap\n"
        "       |                  ^^\n"
        "  to do: write app  (fastmesh reference listeners.routes.cluster)\n"
        f"{file}: 2 errors\n")


def test_warnings(file, capsys):
    file.write_text(GOOD + "  - {name: idle, endpoints: ['127.0.0.1:1']}\n")
    assert main(["check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("2 clusters, 3 endpoints, 1 warning\n")
    assert err.startswith(f"config warning: {file}:10:12: clusters[1].name: no route leads to the cluster 'idle'\n")
    assert main(["check", "--strict", str(file)]) == 1
    assert capsys.readouterr().out.startswith(f"{file}: refused for its warnings: ")


def test_json(file, capsys):
    assert main(["check", "--format", "json", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "errors": [], "warnings": [], "summary": {
        "listener": 1, "route": 1, "cluster": 1, "endpoint": 2, "warning": 0}, "chains": []}
    file.write_text(GOOD.replace("8080", "x"))
    assert main(["check", "--format", "json", str(file)]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == "" and found["ok"] is False
    assert (found["errors"][0]["line"], found["errors"][0]["column"]) == (3, 14)


def test_filters_are_loaded_and_shown(file, capsys, tmp_path):
    (tmp_path / "f.py").write_text(
        "from fastmesh import Filter\nprint('hello')\n\nclass Stamp(Filter):\n    text: str\n"
        "    def on_request(self, request): ...\n    async def on_complete(self, request, outcome): ...\n")
    file.write_text(GOOD.replace("    routes:", "    filters: [stamp, {use: ./f.py:Stamp, text: b}]\n    routes:") +
                    "    filters: [stamp]\nfilters: [{name: stamp, use: ./f.py:Stamp, text: a}]\n")
    assert main(["check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{file}: ok: 1 listener, 1 route, 1 cluster, 2 endpoints, 2 filters, 1 warning",
        "  listener web: stamp (Stamp: on_request, on_complete) → Stamp (on_request, on_complete)",
        "  cluster app: stamp (Stamp: on_request, on_complete)"]
    assert "Stamp's module prints while it is imported: 'hello'" in err
    assert main(["check", "--format", "json", str(file)]) == 0
    chains = json.loads(capsys.readouterr().out)["chains"]
    assert chains[1] == {"of": "cluster app", "filters": [
        {"name": "stamp", "class": "Stamp", "phases": ["on_request", "on_complete"]}]}
    file.write_text(file.read_text().replace("text: b", "txt: b"))
    assert main(["check", str(file)]) == 1
    assert "unknown key 'txt': Stamp has no such setting" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "said"), [
    ("import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n1 / 0\n", "ZeroDivisionError"),
    ("while True: pass\n", "the configuration took longer than 1 s to check, most of it to import ")])
def test_a_module_that_does_not_end_does_not_hold_the_check(file, tmp_path, text, said):
    (tmp_path / "f.py").write_text(text)
    file.write_text(GOOD + "filters: [{name: a, use: ./f.py:A}]\n")
    code = ("import sys\nfrom fastmesh.cli import check\nfrom fastmesh.cli.main import main\ncheck.TIME_LIMIT = 1\n"
            "sys.exit(main(['check', sys.argv[1]]))")
    run = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False,
                         timeout=60)
    assert run.returncode == 1 and said in run.stderr


def test_many_errors(file, capsys):
    file.write_text("listeners: []\nclusters:\n" + "- 1\n" * 500)
    assert main(["check", str(file)]) == 1
    assert capsys.readouterr().err.endswith(f"{file}: more than 100 errors\n")


def test_standard_input():
    done = subprocess.run([sys.executable, "-m", "fastmesh", "check", "-"], input=GOOD.replace("8080", "x"),
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("config error: <stdin>:3:14: ")


@pytest.mark.parametrize("name", ["none.yaml", ".", "/dev/null", "/dev/tty", "a\ud800", "x" * 5000])
def test_whatever_the_file_no_traceback(tmp_path, name):
    done = subprocess.run([sys.executable, "-m", "fastmesh", "check", name.encode("utf-8", "surrogatepass")],
                          capture_output=True, check=False, cwd=tmp_path, timeout=60)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr and done.stderr.startswith(b"config error: ")


def test_an_environment_that_is_no_text(file):
    file.write_text(GOOD.replace("name: web", "name: ${NAME}"))
    done = subprocess.run([sys.executable, "-m", "fastmesh", "check", str(file)], capture_output=True, check=False,
                          env={**os.environb, b"NAME": b"\xff"})
    assert done.returncode == 1
    assert b"the environment variable NAME is not UTF-8" in done.stderr and b"Traceback" not in done.stderr


def test_colours_are_for_terminals(file):
    file.write_text("listeners: x\n")
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "fastmesh", "check", str(file)]
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        subprocess.run(command, stderr=follower, stdout=subprocess.DEVNULL, check=False, env=env | extra)
        assert (b"\x1b[" in os.read(leader, 65536)) is coloured
    os.close(leader)
    os.close(follower)
