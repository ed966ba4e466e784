"""`fastmesh explain`: which way a request goes, and why."""

import argparse
import os
import sys

from fastmesh.cli.explained.connection import connection_lines
from fastmesh.cli.explained.file import File
from fastmesh.cli.explained.request import Request, Unclear
from fastmesh.cli.explanation import Explanation
from fastmesh.config.checks import Finder
from fastmesh.config.load import Loaded, load_source
from fastmesh.config.policies import take_policies
from fastmesh.config.render import print_problems
from fastmesh.config.source import read_source
from fastmesh.config.yaml_tree import compose
from fastmesh.errors import ConfigError
from fastmesh.filters.look import look_at_filters


def run(args: argparse.Namespace) -> int:
    """0 when the request goes to a cluster or gets the answer of a route, 1 when it is refused or the file is wrong, 2
    when the command line is not clear. With `--next`, 1 when no such request came."""
    try:
        source = read_source(args.file)
        loaded = load_source(source, None, look_at_filters)
    except ConfigError as error:
        print_problems(error.problems)
        return 1
    tree = compose(source, os.environ)
    take_policies(tree)
    find = Finder(tree)
    name = "<stdin>" if args.file == "-" else args.file
    try:
        if args.next:
            from fastmesh.cli import explain_next
            return explain_next.run(args, loaded, find, name)
        tcp = _tcp(loaded, args.listener)
        if tcp is not None:
            if args.method is not None:
                raise Unclear(f"the listener {args.listener} passes TCP connections on, and knows no requests\n"
                              "  to do: leave METHOD and URL out")
            print("\n".join(connection_lines(File(loaded, find, name), tcp)))
            return 0
        if args.method is None or args.url is None:
            raise Unclear("no request is named\n  to do: write METHOD and URL, or --next for the next one that comes")
        lines, is_taken = Explanation(loaded, find, name, Request.of(args)).lines()
    except Unclear as unclear:
        print(f"fastmesh explain: {unclear}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0 if is_taken else 1


def _tcp(loaded: Loaded, name: str | None) -> int | None:
    """The place of the listener of this name, when it is one for TCP."""
    return next((i for i, listener in enumerate(loaded.config.listeners)
                 if listener.name == name and listener.protocol == "tcp"), None)
