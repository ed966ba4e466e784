"""The entry of the control process."""

import sys

from fastmesh.control.loop import run
from fastmesh.observe.journal import Journal
from fastmesh.worker.title import name_process


def main(argv: list[str]) -> int:
    """Run until drained. `argv`: the configuration's path, where the compile process finds its packages, and the
    version of fastmesh. Returns the exit status."""
    path, compile_paths, version = argv
    name_process("fastmesh")
    return run(path, compile_paths.split(":"), version, Journal())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
