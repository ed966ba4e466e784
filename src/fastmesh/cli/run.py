"""`fastmesh run`: becomes the control process."""

import argparse
import os
import signal
import sys

from fastmesh import __version__
from fastmesh.control.process import STARTING, command, package_paths

PACKAGES = ("fastmesh", "msgpack", "uvloop", "httptools")


def run(args: argparse.Namespace) -> int:
    """Replaces this process by a bare interpreter that imports nothing but the control process.

    What the command line needed (argparse, site, the import hooks of an editable install) would else stay in
    memory for as long as the proxy runs. Returns only when the replacement is impossible.
    """
    _hold_standard_descriptors()
    # One that comes too early waits until control can answer; the first process of a container would never get it.
    signal.pthread_sigmask(signal.SIG_BLOCK, STARTING)
    if args.config == "-":
        print("fastmesh run: found -, allowed: a file, for it is read again at each reload\n"
              "  to do: write it to a file, and fastmesh run -c FILE", file=sys.stderr)
        return 2
    # Compiling may need any installed package: every directory that this process searches goes along. But not the
    # script's own directory, nor the current one.
    searched = sys.path if sys.flags.safe_path else sys.path[1:]
    everywhere = [os.path.abspath(p) for p in searched if p and os.path.isdir(p) and p not in _standard()]
    packages = package_paths(*PACKAGES)
    paths = [*packages, *(path for path in everywhere if path not in packages)]
    argv = command("fastmesh.control.main", paths, args.config, __version__, *(["--watch"] if args.watch else []))
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        print(f"fastmesh run: cannot start {argv[0]}: {error.strerror}\n"
              "  to do: install fastmesh where the user that it runs as may read and execute it", file=sys.stderr)
        return 1


def _hold_standard_descriptors() -> None:
    """Whoever starts this may have closed 0, 1 or 2. A socket that got such a number would be written log lines to."""
    while (fd := os.open("/dev/null", os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def _standard() -> set[str]:
    """The directories of the standard library, which every interpreter finds by itself."""
    return {path for path in sys.path if path.endswith((".zip", "lib-dynload")) or path == os.path.dirname(os.__file__)}
