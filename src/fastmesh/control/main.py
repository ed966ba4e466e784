"""The entry of the control process."""

import sys

from fastmesh.control.compile_process import rehearse
from fastmesh.control.loop import run
from fastmesh.observe.journal import Journal
from fastmesh.worker.title import name_process


def main(argv: list[str]) -> int:
    """Run until drained. `argv`: the configuration's path and the version of fastmesh. Returns the exit status."""
    path, version = argv
    name_process("fastmesh")
    rehearse()
    return run(path, version, Journal())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
