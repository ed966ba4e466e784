"""`fastmesh reference`: what the keys of the configuration mean."""

import argparse
import sys

from fastmesh.config.reference import UnknownKey, reference


def run(args: argparse.Namespace) -> int:
    """Prints what there is to say of a key, a section, or the whole file."""
    try:
        sys.stdout.write(reference(args.key))
    except UnknownKey as unknown:
        close = f"write {' or '.join(unknown.close)}; " if unknown.close else ""
        print(f"fastmesh reference: there is no key {args.key!r}\n  to do: {close}fastmesh reference prints all of "
              "them", file=sys.stderr)
        return 1
    return 0
