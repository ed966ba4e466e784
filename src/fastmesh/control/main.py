"""The entry of the control process."""

import sys

from fastmesh.control.compile_process import rehearse
from fastmesh.control.loop import run
from fastmesh.control.priority import yield_to_traffic
from fastmesh.observe.journal import Journal
from fastmesh.worker.title import name_process


def main(argv: list[str]) -> int:
    """Run until drained. `argv`: the configuration's path, the version of fastmesh, and `--watch` when files are to be
    watched. Returns the exit status."""
    path, version, *more = argv
    name_process("fastmesh")
    yield_to_traffic()
    rehearse()
    return run(path, version, Journal(), is_watching="--watch" in more)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
