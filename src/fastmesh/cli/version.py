"""`fastmesh version`."""

import argparse
import platform

from fastmesh import __version__


def run(args: argparse.Namespace) -> int:
    """Prints what a bug report needs."""
    print(f"fastmesh {__version__} (Python {platform.python_version()}, {platform.system()} {platform.release()}, "
          f"{platform.machine()})")
    return 0
