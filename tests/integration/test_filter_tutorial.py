"""docs/filters/tutorial.md, followed to the letter: its files are written, its commands run, their output compared."""

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
    return re.sub(r"/\S+/filters/tenants\.py", "/filters/tenants.py", text)


def answers(port: int) -> bool:
    try:
        return ask(port, "/").status == 200
    except OSError:
        return False


def test_the_tutorial(tmp_path: Path) -> None:
    port, served = free_port(), free_port()
    one = Sidecar(tmp_path, {})
    ports = {"8080": str(port), "15000": str(one.admin_port), "9000": str(served)}
    assert "python3 -m http.server 9000 --bind 127.0.0.1 &" in PAGE
    server = subprocess.Popen([sys.executable, "-m", "http.server", str(served), "--bind", "127.0.0.1"], cwd=tmp_path,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def here(text: str) -> str:
        return re.sub(r"(?<=127\.0\.0\.1:)(8080|15000|9000)\b", lambda found: ports[found[1]], text)

    (tmp_path / "filters").mkdir()
    ran = 0
    try:
        for step in STEP.finditer(PAGE):
            if step[1] is not None:
                text = here(step[2])
                if step[1] == "mesh.yaml":
                    text += f"admin: {{address: 127.0.0.1:{one.admin_port}}}\n"
                (tmp_path / step[1]).write_text(text)
                continue
            if one.process is None:
                until(lambda: answers(served), "the server of the tutorial")
                one.start()
            for command, shown in COMMAND.findall(step[3]):
                done = subprocess.run(["bash", "-c", here(command)], cwd=tmp_path, capture_output=True, text=True,
                                      check=False, timeout=30)
                printed = done.stdout.replace(str(port), "8080").replace(ports["9000"], "9000")
                assert alike(printed) == alike(shown), f"{command}\n{done.stderr}\n{one.log}"
                ran += 1
    finally:
        server.kill()
        server.wait()
        status = one.stop()
    assert ran >= 12 and status == 0
