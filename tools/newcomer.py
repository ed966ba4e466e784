"""Does what docs/filters/tutorial.md says, as one would who has never seen the project: outside of the tree, in a fresh
virtual environment, with the wheel that `make wheel` has left in dist/. One shell is given the commands of the page one
after the other, as they are written, files are written where it says so, and what is printed is compared.

Where one of the page's ports is taken on this machine, another one stands in for it.
"""

import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic, sleep

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "filters" / "tutorial.md"
# A file to write; commands; commands with what they print; a file as it was made.
BLOCK = re.compile(r"^`(?P<file>[\w./]+)`:\n\n```\w+\n(?P<text>.*?)^```|"
                   r"^```(?P<kind>sh|console|python)\n(?P<code>.*?)^```", re.M | re.S)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.M)
COMMAND_SECONDS = 300.0         # pip may have to fetch a lot
ON_ITS_WAY_SECONDS = 20.0       # what a worker counts and says, until control has it
ADMIN = "15000"                 # fastmesh's own, which no file of the page names
MARK = "--newcomer--"


class Failed(Exception):
    """The page did not keep its word."""


class Shell:
    """The terminal of somebody who follows the page. What goes to stderr is kept: servers write there at any time."""

    def __init__(self, home: Path, env: Mapping[str, str]) -> None:
        self._stderr = home / "stderr"
        with self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                ["bash", "--noprofile", "--norc"], cwd=home, env=dict(env), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=stderr, start_new_session=True)
        self._unread = b""

    def run(self, command: str) -> tuple[int, str]:
        """Its exit status, and what it has printed."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\nprintf '\\n{MARK} %d\\n' $?\n".encode())
        self._process.stdin.flush()
        end = monotonic() + COMMAND_SECONDS
        while (found := re.search(rb"\n%b (\d+)\n" % MARK.encode(), self._unread)) is None:
            self._more(end, command)
        printed, self._unread = self._unread[:found.start()], self._unread[found.end():]
        return int(found[1]), printed.decode("utf-8", "replace")

    def _more(self, end: float, command: str) -> None:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], max(0.0, end - monotonic()))[0]:
            raise Failed(f"$ {command}\ntakes longer than {COMMAND_SECONDS:g} s")
        more = os.read(self._process.stdout.fileno(), 65_536)
        if not more:
            raise Failed(f"$ {command}\nended the shell")
        self._unread += more

    @property
    def said(self) -> str:
        """The end of what was written to stderr."""
        return self._stderr.read_text("utf-8", "replace")[-4000:]

    def close(self) -> None:
        """Ends it and whatever it has begun and not ended."""
        try:
            os.killpg(self._process.pid, 9)
        except ProcessLookupError:
            pass
        self._process.wait()


class Newcomer:
    """Follows the page."""

    def __init__(self, shell: Shell, home: Path) -> None:
        self.shell = shell
        self.home = home
        self.n_commands = 0
        self.ports = {port: free(port) for port in ("8080", "9000", ADMIN)}

    def follow(self, page: str) -> None:
        """All of it, from the top."""
        for block in BLOCK.finditer(page):
            if block["file"]:
                self._write(block["file"], block["text"])
            elif block["kind"] == "sh":
                for command in block["code"].splitlines():
                    self._do(command)
            elif block["kind"] == "console":
                for command, shown in COMMAND.findall(block["code"]):
                    self._compare(command, shown)
            else:
                made = self._folder() / "src/tenants/__init__.py"
                if made.read_text() != block["code"]:
                    raise Failed(f"{made.name} is not what the page shows:\n{made.read_text()}")

    def _folder(self) -> Path:
        """Where the shell is."""
        return Path(self.shell.run("pwd")[1].strip("\n"))

    def _write(self, name: str, text: str) -> None:
        if name == "mesh.yaml" and self.ports[ADMIN] != ADMIN:
            text += f"admin: {{address: 127.0.0.1:{self.ports[ADMIN]}}}\n"
        (self._folder() / name).write_text(self._here(text))
        print(f"wrote {name}", flush=True)

    def _do(self, command: str) -> None:
        print(f"$ {command}", flush=True)
        status, printed = self.shell.run(self._here(command))
        self.n_commands += 1
        if status != 0:
            raise Failed(f"$ {command}\nends with status {status} and prints\n{printed}")

    def _compare(self, command: str, shown: str) -> None:
        print(f"$ {command}", flush=True)
        self.n_commands += 1
        end = monotonic() + (ON_ITS_WAY_SECONDS if re.search("/events|/metrics", command) else 0)
        while True:
            printed = self._there(self.shell.run(self._here(command))[1])
            if alike(printed) == alike(shown):
                return
            if monotonic() >= end:
                raise Failed(f"$ {command}\nprints\n{printed}\nand the page says\n{shown}")
            sleep(0.1)

    def _here(self, text: str) -> str:
        return re.sub(r"\b(8080|9000|15000)\b", lambda found: self.ports[found[1]], text)

    def _there(self, text: str) -> str:
        for named, own in self.ports.items():
            text = text.replace(own, named)
        return text


def alike(text: str) -> str:
    """Without what is another one each time."""
    text = re.sub(r'("ms"|"compile_ms"): [\d.]+', r"\1: 0", text)
    text = re.sub(r"(passed|failed) in [\d.]+s", r"\1", text)
    text = re.sub(r"SyntaxError: .*", "SyntaxError", text)      # each Python has words of its own for it
    return re.sub(r"/\S+/(?=src/tenants/|mesh\.yaml)", "", text).strip("\n")


def free(port: str) -> str:
    """That port, or another one when it is taken."""
    for wanted in (int(port), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return str(probe.getsockname()[1])
    raise Failed("no port is free")


def wheel() -> Path:
    """The newest one for the Python that runs this."""
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    found = sorted((ROOT / "dist").glob(f"fastmesh-*-{tag}-*.whl"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise Failed(f"there is no wheel for {tag} in dist/: make wheel")
    return found[-1]


def surroundings(home: Path, python: str) -> Iterator[tuple[str, str]]:
    """The environment of somebody who has none yet: nothing of this tree is in it, and `python3` is the wheel's."""
    for name, value in os.environ.items():
        if not name.startswith(("PYTHON", "FASTMESH", "VIRTUAL_ENV", "MAKE", "MFLAGS")):
            yield name, value
    (home / "bin").mkdir()
    (home / "bin" / "python3").write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
    (home / "bin" / "python3").chmod(0o755)
    others = [folder for folder in os.environ["PATH"].split(os.pathsep)
              if not Path(folder).resolve().is_relative_to(ROOT)]
    yield "PATH", os.pathsep.join([str(home / "bin"), *others])
    yield "HOME", str(home)
    yield "LC_ALL", "C.UTF-8"


def main() -> int:
    base: str = getattr(sys, "_base_executable", sys.executable)
    home = Path(tempfile.mkdtemp(prefix="newcomer-")).resolve()
    shell = None
    try:
        # Where the page takes a checkout to be.
        (home / "fastmesh" / "dist").mkdir(parents=True)
        (home / "fastmesh" / "dist" / wheel().name).symlink_to(wheel())
        shell = Shell(home, dict(surroundings(home, base)))
        newcomer = Newcomer(shell, home)
        newcomer.follow(PAGE.read_text(encoding="utf-8"))
        imported = shell.run("wait; python -c 'import fastmesh; print(fastmesh.__file__)'")[1].strip()
        if not Path(imported).is_relative_to(home) or newcomer.n_commands < 25:
            raise Failed(f"{newcomer.n_commands} commands were run, with {imported}")
        for port in newcomer.ports.values():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                    raise Failed(f"something still listens at port {port}")
    except Failed as error:
        print(f"{PAGE.relative_to(ROOT)}: {error}\n--- stderr ---\n{shell.said if shell else ''}", file=sys.stderr)
        return 1
    finally:
        if shell is not None:
            shell.close()
        shutil.rmtree(home)
    print(f"newcomer: ok, {newcomer.n_commands} commands of {PAGE.relative_to(ROOT)}, Python {sys.version.split()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
