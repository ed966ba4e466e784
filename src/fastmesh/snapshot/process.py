"""The compile process: a request on standard input, a snapshot on standard output, then gone.

    python -m fastmesh.snapshot.process < request > result

Both are one msgpack map: `CompileRequest` and `CompileResult` of `fastmesh.snapshot.wire`. It always
writes a result, whatever is wrong; nothing else ever reaches its standard output. It exits with 0
when the configuration is good and with 1 when it is not.
"""

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgpack

from fastmesh.config.load import Looked, load
from fastmesh.config.render import render
from fastmesh.config.yaml_tree import Tree
from fastmesh.errors import ConfigError, OutOfTime, Problem
from fastmesh.filters.look import look_at_filters
from fastmesh.snapshot.chains import Chains
from fastmesh.snapshot.compiler import compile, describe
from fastmesh.snapshot.discoveries import Discoveries
from fastmesh.snapshot.healers import Healers
from fastmesh.snapshot.registry import Registry
from fastmesh.snapshot.revise import endpoints_of

TIME_LIMIT = 60             # seconds of work; a file of 100,000 endpoints takes a few
_MAX_REQUEST = 256 << 20


def answer(request: object) -> dict[str, Any]:
    """The result for one request. What it raises is a bug, or OutOfTime."""
    if not isinstance(request, dict) or not isinstance(request.get("file"), str):
        return refused("the request names no file")
    files: list[str] = []

    def look(tree: Tree) -> Looked:
        looked = look_at_filters(tree)
        files.extend(looked.found.files if looked.found is not None else ())
        return looked

    try:
        loaded = load(request["file"], request.get("env"), look)
    except ConfigError as error:
        return {"ok": False, "errors": [problem.to_dict() for problem in error.problems],
                "text": render(error.problems), "files": files}
    version, open_files = int(request.get("version") or 0), int(request.get("open_files") or 0)
    registry = Registry.from_dict(request.get("registry"))
    chains = Chains(loaded.config, loaded.filters, registry)
    discoveries = Discoveries(loaded.config, loaded.filters)
    healers = Healers(loaded.config, loaded.filters)
    found: dict[str, list[list[Any]]] = {}
    if discoveries.records and request.get("former"):
        fd, size = request["former"]
        found = endpoints_of(os.pread(fd, size, 0))
    snapshot, registry = compile(loaded.config, version, registry, open_files, chains, found)
    return {**describe(loaded.config, registry, open_files, chains, found, discoveries, healers),
            "version": version, "snapshot": snapshot,
            "files": files,
            "warnings": [problem.to_dict() for problem in loaded.warnings], "text": render(loaded.warnings)}


def refused(reason: str, file: str = "") -> dict[str, Any]:
    """The result when something other than the file is at fault."""
    problem = Problem(reason, file=file)
    return {"ok": False, "errors": [problem.to_dict()], "text": render([problem])}


def main() -> int:
    """Answers the request on standard input."""
    # Nothing is freed that the exit does not free anyway: collecting would only cost time.
    gc.disable()
    with _own_output() as output:
        file = ""
        try:
            packed = sys.stdin.buffer.read(_MAX_REQUEST)
            signal.signal(signal.SIGALRM, _out_of_time)
            signal.alarm(TIME_LIMIT)
            request = msgpack.unpackb(packed, strict_map_key=False)
            if isinstance(request, dict):
                file = str(request.get("file", ""))
            result = answer(request)
        except OutOfTime as late:
            result = refused(f"the configuration took longer than {TIME_LIMIT} s to check{late}", file)
        except Exception as error:      # a bug must reach control as a sentence, not as a closed pipe
            result = refused(f"internal error while compiling: {type(error).__name__}: {error}", file)
        finally:
            signal.alarm(0)
        try:
            output.write(msgpack.packb(result))
            output.flush()
        except BrokenPipeError:
            return 1
    return 0 if result["ok"] else 1


@contextlib.contextmanager
def _own_output() -> Iterator[BinaryIO]:
    """Standard output for the result alone: whatever else prints goes to standard error."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "wb") as own:
        os.dup2(2, 1)
        yield own


def _out_of_time(number: int, frame: object) -> None:
    raise OutOfTime


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)      # skips taking down what the kernel takes down faster
