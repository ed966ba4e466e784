"""docs/filters/tutorial.md, followed to the letter: its files are written, its commands run, their output compared."""

import os
import re
import subprocess
import sys
from pathlib import Path

from integration.harness import Sidecar, ask, free_port, until

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "filters" / "tutorial.md").read_text()
# A file to write, or commands with what they print, in the order of the page.
STEP = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```|^```console\n(.*?)^```", re.M | re.S)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.M)


def alike(text: str) -> str:
    """Without what is another one each time."""
    text = re.sub(r'("ms"|"compile_ms"): [\d.]+', r"\1: 0", text)
    text = re.sub(r"(passed|failed) in [\d.]+s", r"\1", text)
    text = re.sub(r"SyntaxError: .*", "SyntaxError", text)      # each Python has words of its own for it
    return re.sub(r"/\S+/(?=src/tenants/|mesh\.yaml)", "", text)


def answers(port: int) -> bool:
    try:
        return ask(port, "/").status == 200
    except OSError:
        return False


def test_the_tutorial(tmp_path: Path) -> None:
    port, served = free_port(), free_port()
    ports = {"8080": str(port), "15000": "", "9000": str(served)}
    assert "python3 -m http.server 9000 --bind 127.0.0.1 &" in PAGE
    server = None
    one = None
    home = tmp_path / "tenants"
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1",
           "PYTHONPATH": f"{home / 'src'}:{tmp_path / 'installed'}"}

    def here(text: str) -> str:
        return re.sub(r"(?<=127\.0\.0\.1:)(8080|15000|9000)\b", lambda found: ports[found[1]], text)

    def printed_by(command: str) -> str:
        # curl stands still under a preloaded sanitizer, which is meant for the proxy.
        told = {**env, "LD_PRELOAD": ""} if command.startswith("curl ") else env
        done = subprocess.run(["bash", "-c", here(command)], cwd=home if home.exists() else tmp_path, env=told,
                              stdout=subprocess.PIPE, text=True, check=False, timeout=60)
        return done.stdout.replace(str(port), "8080").replace(ports["9000"], "9000")

    def prints(command: str, shown: str) -> str:
        printed = printed_by(command)
        return printed if alike(printed) == alike(shown) else ""

    ran = 0
    try:
        for step in STEP.finditer(PAGE):
            if step[1] is not None:
                text = here(step[2])
                if step[1] == "mesh.yaml":
                    one = Sidecar(tmp_path, {})
                    one.path = home / "mesh.yaml"
                    ports["15000"] = str(one.admin_port)
                    text += f"admin: {{address: 127.0.0.1:{one.admin_port}}}\n"
                (home / step[1]).write_text(text)
                continue
            if "curl" in step[3] and server is None:
                assert one is not None
                server = subprocess.Popen([sys.executable, "-m", "http.server", str(served), "--bind", "127.0.0.1"],
                                          cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                until(lambda: answers(served), "the server of the tutorial")
                one.env = env
                one.start()
            for command, shown in COMMAND.findall(step[3]):
                printed = printed_by(command)
                if "/events" in command or "/metrics" in command:
                    # What a worker counts and says is on its way while the answer is.
                    printed = until(lambda command=command, shown=shown: prints(command, shown),
                                    f"{command}: {printed}")
                assert alike(printed) == alike(shown), f"{command}\n{one.log if one and one.process else chr(39)*2}"
                ran += 1
                if "fastmesh new" in command:
                    assert (home / "src/tenants/__init__.py").read_text() in PAGE
                    install(home, tmp_path / "installed")
    finally:
        if server is not None:
            server.kill()
            server.wait()
        status = one.stop() if one is not None else 1
    assert ran >= 16 and status == 0


def install(package: Path, where: Path) -> None:
    """What `pip install -e` leaves for others to find, without an index: the metadata, with the entry point."""
    where.mkdir()
    make = "import sys; from setuptools import build_meta; build_meta.prepare_metadata_for_build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", make, str(where)], cwd=package, check=True, capture_output=True, timeout=60)
