"""The public API, as the type checkers of those see it who write filters: nothing to complain of that is right, and all
that is wrong."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fastmesh.cli.main import main

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "filters"
TYPED = '''
from fastmesh import Filter, Request, Response
from fastmesh.testing import Answer, Asked, Kit, Reply


class Typed(Filter):
    header: str
    limit: int = 3

    def on_request(self, request: Request) -> Response | None:
        request.headers["x-limit"] = None                                               # wrong
        return None if request.headers.get(self.header) else Response("400")            # wrong

    async def on_response(self, request: Request, response: Response) -> None:
        answer = await self.mesh.get("sessions", "/")
        status: str = answer.status                                                     # wrong
        response.headers["x-status"] = status


def told(asked: Asked) -> Answer:
    return Answer(200, json={"path": asked.path})


def test_typed(filter_kit: type[Kit]) -> None:
    kit = filter_kit(Typed(header="x", limit=4), raises=False)
    kit.upstream.answers(told).fails("reset", times=1)
    reply: Reply = kit.get("/", headers={"a": "b"})
    status: int = reply.status
    assert status and reply.upstream and reply.upstream.headers.get("x") and kit.cost() < 1
    assert reply.upstream.headers.get("x").upper() == "X"                               # wrong
    Typed(limit=4)                                                                      # wrong
    Typed(header="x", limt=4)                                                           # wrong
    Typed(header=4)                                                                     # wrong
'''


def mypy(folder: Path) -> set[tuple[str, int]]:
    # Tests as people write them have no annotations, which is an error when it is strict.
    files = [path for path in folder.rglob("*.py") if not path.name.startswith("test_")]
    # What it knows of Python and of this package is kept from one run to the next; what is checked stands elsewhere
    # each time, and so is read each time.
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir",
                           ROOT / "build" / "mypy-of-authors", *files], capture_output=True, text=True, check=False,
                          cwd=folder)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = [line.split(":") for line in done.stdout.splitlines() if ": error: " in line]
    return {(Path(path).name, int(line)) for path, line, *_ in found}


def pyright(folder: Path) -> set[tuple[str, int]]:
    """By the pyright in basedpyright, with pyright's own rules and as strict as pyright is by itself."""
    (folder / "pyrightconfig.json").write_text(json.dumps({
        "typeCheckingMode": "standard", "include": ["."], "extraPaths": ["tenant-guard/src"]}))
    done = subprocess.run([Path(sys.executable).with_name("basedpyright"), "--outputjson", "--pythonpath",
                           sys.executable, "--project", folder], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["summary"]["filesAnalyzed"] >= len(list(folder.rglob("*.py"))), told["summary"]
    return {(Path(found["file"]).name, found["range"]["start"]["line"] + 1)
            for found in told["generalDiagnostics"] if found["severity"] == "error"}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_authors_write(checker: Callable[[Path], set[tuple[str, int]]], tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__", "test_*"))
    assert main(["new", "filter", "tenant-guard", "--dir", str(tmp_path / "tenant-guard")]) == 0
    (tmp_path / "typed.py").write_text(TYPED)
    wrong = {("typed.py", number) for number, line in enumerate(TYPED.splitlines(), 1) if line.endswith("# wrong")}
    assert len(wrong) == 7
    assert checker(tmp_path) == wrong
