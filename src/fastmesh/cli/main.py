"""`fastmesh`: the commands and their options.

Only what a command needs is imported, and only when it runs: `fastmesh --help` loads no pydantic.

Exit codes: 0 all is well; 1 the configuration is wrong, or `run` failed; 2 the command line is wrong.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from fastmesh import __version__

COMMANDS = ("run", "check", "explain", "reference", "new", "schema", "filters", "simulate", "version")

_DESCRIPTION = """\
A service-mesh sidecar: stands beside a service and carries its HTTP and TCP traffic, with load
balancing, routing, limits, timeouts, metrics and access logs. It reads one YAML file.
"""

_EPILOG = """\
first steps:
  fastmesh check mesh.yaml            what is wrong with the file, all of it at once
  fastmesh run -c mesh.yaml           run it in the foreground
  fastmesh new filter tenant-guard    begin a policy of your own, in Python
  curl 127.0.0.1:15000/ready          200 once every listener accepts
  curl 127.0.0.1:15000/metrics        for Prometheus

a first configuration:
  listeners:
    - name: web
      address: 127.0.0.1:8080
      routes:
        - match: {prefix: /}
          cluster: app
  clusters:
    - name: app
      endpoints: [127.0.0.1:9000, 127.0.0.1:9001]

exit codes: 0 all is well, 1 the configuration is wrong or the run failed, 2 the command line is wrong
"""

_RUN = """\
Runs the proxy in the foreground: a control process, and the workers it starts. What it does is
told on standard error; an access log goes where the configuration says.
"""

_RUN_EPILOG = """\
example:
  fastmesh run -c mesh.yaml

signals:
  SIGHUP             read the file again; a bad one changes nothing and is reported
  SIGTERM, SIGINT    stop accepting, answer what is in flight (at most drain_timeout), exit 0
  a second SIGTERM   end at once
  SIGUSR1            open the access log again, after it was moved away

The admin API, on 127.0.0.1:15000 unless the file says otherwise, does the same and shows more:
  curl 127.0.0.1:15000/

exit codes: 0 it was asked to end, and has; 1 it could not start, for the reason told; 2 the command
line is wrong
"""

_CHECK = """\
Checks a configuration without running it. Every error is printed to standard error with its file,
line and column, what was found, what is allowed and what to do. ${NAME} and ${NAME:-default} are
taken from the environment, as in a run.
"""

_EXPLAIN = """\
Says which way a request would go, and why: the listener, each route that is tried and what keeps the
request from it, the split, the cluster, its endpoints. The decision is made by the code that workers
run, from the tables that they would get; nothing is sent.

With --next it waits for a request that a running proxy gets, and says the same of it, and each step
that became of it: endpoints, connections, failures, further attempts, the end.
"""

_EXPLAIN_EPILOG = """\
examples:
  fastmesh explain mesh.yaml GET http://shop.example.com/api/cart
  fastmesh explain mesh.yaml POST /shop.v1.Cart/AddItem -H 'content-type: application/grpc'
  fastmesh explain mesh.yaml GET '/?preview=1' -H 'cookie: tenant=blue' --source 10.0.0.7
  fastmesh explain mesh.yaml --next POST /checkout -H 'x-tenant: blue'

exit codes: 0 it goes to a cluster, or a route answers; 1 it is refused, or the file is wrong, or none
came; 2 the command line is wrong
"""

_NEW = """\
Writes a package with a filter in it, a test of that, and what an installation of it needs. It can be
installed, tested and used as it is; then make of it what you want.
"""

_REFERENCE = """\
Says what a key of the configuration means, what may stand there, and what it is when it is left out.
Of a section it says so of each of its keys; without a key, of all that there are.
"""

_SCHEMA = """\
Prints the JSON Schema of the configuration, for completion and checking in editors. Save it beside
the file and begin the file with:

  # yaml-language-server: $schema=fastmesh.schema.json
"""


_TOP = """\
Shows what each filter of a running proxy does and costs: calls per second, microseconds of a call and
the share of one CPU, taken from two readings of the admin API; errors and overruns since the start.
The costliest come first. On a terminal the table is renewed in place, until Ctrl-C.
"""

_TOP_EPILOG = """\
examples:
  fastmesh filters top
  fastmesh filters top --admin 10.0.0.5:15000
  fastmesh filters top --admin unix:/run/fastmesh.sock --once

exit codes: 0 it was shown; 1 the admin API does not answer; 2 the command line is wrong
"""


_SIMULATE = """\
Lets made-up callers ask made-up endpoints, with the balancers of the proxy itself, and prints how long
requests took, how many failed, and who got how many. The clock jumps from event to event, so an hour
takes seconds, and the same file gives the same numbers.
"""

_SIMULATE_EPILOG = """\
a scenario:
  duration: 30s
  rate: 5000
  cluster: {load_balancer: least_request}
  endpoints:
    - {name: good, count: 950, time: {mean: 10ms}}
    - {name: slow, count: 50, time: {mean: 100ms}}

examples:
  fastmesh simulate slow.yaml
  fastmesh simulate slow.yaml --load-balancer least_request --load-balancer peak_ewma

exit codes: 0 it was simulated; 1 the scenario is wrong; 2 the command line is wrong
"""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Paragraphs are filled to the width of the terminal; indented lines stay lines."""

    def __init__(self, prog: str) -> None:
        from shutil import get_terminal_size

        super().__init__(prog, max_help_position=32, width=max(60, min(100, get_terminal_size().columns) - 2))

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        # argparse forgets that commands are indented once more than their title, and would break the longest line.
        names = [len(name) for name in action.choices or ()] if isinstance(action, argparse._SubParsersAction) else []
        self._action_max_length = max([self._action_max_length, *(length + 4 for length in names)])

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        from itertools import groupby

        parts: list[str] = []
        for is_indented, group in groupby(text.strip("\n").split("\n"), lambda line: line == "" or line[0] == " "):
            lines = list(group)
            parts += [self._row(line, width) for line in lines] if is_indented else [_filled(" ".join(lines), width)]
        return "\n".join(f"{indent}{part}" for part in parts)

    def _row(self, line: str, width: int) -> str:
        """What stands behind a gap in a line is a column of its own."""
        gap = line.rfind("   ")
        if len(line) <= width or gap <= 0:
            return line
        return _filled(line[gap + 3:], width, line[:gap + 3])


def _filled(text: str, width: int, before: str = "") -> str:
    import textwrap

    return textwrap.fill(text, width, initial_indent=before, subsequent_indent=" " * len(before),
                         break_on_hyphens=False, break_long_words=False)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line and where to read on, and exits with 2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False, formatter_class=_Help)

    def error(self, message: str) -> NoReturn:
        self.refuse(*self._for_people(message))

    def _for_people(self, message: str) -> tuple[str, str]:
        """A message of argparse in the words of the other errors, and what to write instead."""
        missing = message.removeprefix("the following arguments are required: ")
        if missing != message:
            one = "," not in missing
            return f"{missing} {'is' if one else 'are'} missing", ""
        name, _, rest = message.removeprefix("argument ").partition(": ")
        found, _, choices = rest.partition(" (choose from ")
        if choices and found.startswith("invalid choice: "):
            # Some versions of Python put the choices in quotes.
            words = [word.strip("'") for word in choices.removesuffix(")").split(", ")]
            return self._wrong(name, found.removeprefix("invalid choice: "), ", ".join(words), words)
        if rest.startswith("invalid ") and rest.endswith("'"):
            value = rest.partition("value: ")[2]
            return self._wrong(name, value, "a whole number" if "int value" in rest else "a number", [])
        return message.removeprefix("argument "), ""

    def _wrong(self, name: str, value: str, allowed: str, words: list[str]) -> tuple[str, str]:
        from difflib import get_close_matches

        close = get_close_matches(value.strip("'").lower(), words, 1) or (words if len(words) == 1 else [])
        said = f"found {value} for {name}" if name.startswith("-") else f"found {value}"
        return f"{said}, allowed: {allowed}", f"write {close[0]}" if close else ""

    def refuse(self, message: str, hint: str) -> NoReturn:
        """`hint` is what to write instead, if that is known."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\n  to do: {hint or f'see {self.prog} --help'}\n")


def parser() -> _Parser:
    """The command line of `fastmesh`."""
    top = _Parser(prog="fastmesh", description=_DESCRIPTION, epilog=_EPILOG)
    top.add_argument("--version", action="version", version=f"fastmesh {__version__}",
                     help="print the version of fastmesh alone")
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND")

    run = commands.add_parser("run", help="run the proxy in the foreground", description=_RUN, epilog=_RUN_EPILOG,
                              usage="fastmesh run [-h] -c FILE [--watch]")
    # Asked for in `parse`, which can say more than that it is missing.
    run.add_argument("-c", "--config", metavar="FILE", help="the configuration, in YAML")
    run.add_argument("--watch", action="store_true",
                     help="read it again when it, or the file of a filter, has changed: for development")

    check = commands.add_parser("check", help="check a configuration", description=_CHECK,
                                epilog="examples:\n  fastmesh check mesh.yaml\n  fastmesh check - < mesh.yaml\n"
                                       "  fastmesh check --format json mesh.yaml | jq .errors\n\n"
                                       "exit codes: 0 it can be used, perhaps with warnings; 1 it cannot; "
                                       "2 the command line is wrong\n")
    check.add_argument("file", metavar="FILE", help="the configuration, in YAML; - for standard input")
    check.add_argument("--format", choices=("text", "json"), default="text",
                       help="text for people (the default), json for programs, on standard output")
    check.add_argument("--strict", action="store_true", help="treat warnings as errors")

    explain = commands.add_parser("explain", help="say which way a request goes, and why", description=_EXPLAIN,
                                  epilog=_EXPLAIN_EPILOG)
    explain.add_argument("file", metavar="FILE", help="the configuration, in YAML; - for standard input")
    explain.add_argument("method", metavar="METHOD", nargs="?", help="of the request, as GET; with --next also *")
    explain.add_argument("url", metavar="URL", nargs="?",
                         help="http://host/path?query, or a path; with --next how the path begins")
    explain.add_argument("-H", "--header", metavar="'NAME: VALUE'", action="append", default=[],
                         help="a header of the request; again for further ones")
    explain.add_argument("--listener", metavar="NAME", help="where it comes in, when there are several; "
                         "one that passes bytes needs no METHOD and URL")
    explain.add_argument("--source", metavar="ADDRESS", default="127.0.0.1",
                         help="the client: an IP address, or unix (default: 127.0.0.1)")
    explain.add_argument("--seed", metavar="NUMBER", type=int, default=0,
                         help="of what is decided by chance, shares and splits (default: 0)")
    explain.add_argument("--next", action="store_true",
                         help="tell of the next such request that a running proxy gets, and of what became of it")
    explain.add_argument("--wait", metavar="SECONDS", type=_wait, default=30.0,
                         help="with --next: for at most so long (default: 30)")
    explain.add_argument("--admin", metavar="ADDRESS",
                         help="with --next: of the proxy's admin API, when it is not that of FILE")

    new = commands.add_parser("new", help="begin a filter", description=_NEW,
                              epilog="example:\n  fastmesh new filter tenant-guard\n\nexit codes: 0 it is written; 1 "
                                     "it is not, for the reason told; 2 the command line is wrong\n")
    new.add_argument("what", choices=("filter",), metavar="filter", help="what to begin: a filter")
    new.add_argument("name", metavar="NAME", help="its name, as tenant-guard")
    new.add_argument("--dir", metavar="DIR", help="where to write it; a directory of its name when left out")

    schema = commands.add_parser("schema", help="print the JSON Schema of the configuration", description=_SCHEMA,
                                 epilog="example:\n  fastmesh schema > fastmesh.schema.json\n")
    schema.add_argument("-o", "--output", metavar="FILE", help="write to a file instead of standard output")

    reference = commands.add_parser(
        "reference", help="say what a key of the configuration means", description=_REFERENCE,
        epilog="examples:\n  fastmesh reference clusters.avoid\n  fastmesh reference listeners[0].timeouts.header\n"
               "  fastmesh reference | less\n\nexit codes: 0 it was said; 1 there is no such key; 2 the command "
               "line is wrong\n")
    reference.add_argument("key", metavar="KEY", nargs="?", default="",
                           help="where it stands, as clusters.connect_timeout; the whole file when left out")

    filters = commands.add_parser("filters", help="look at the filters of a running proxy",
                                  description="Looks at the filters of a running proxy.",
                                  epilog="example:\n  fastmesh filters top\n")
    looks = filters.add_subparsers(title="commands", dest="look", metavar="COMMAND", required=True)
    top_of = looks.add_parser("top", help="calls, times and errors of each filter, live", description=_TOP,
                              epilog=_TOP_EPILOG)
    top_of.add_argument("--admin", metavar="ADDRESS", default="127.0.0.1:15000",
                        help="the admin API: HOST:PORT, [IPv6]:PORT or unix:PATH (default: 127.0.0.1:15000)")
    top_of.add_argument("--once", action="store_true", help="show one table, and end")
    top_of.add_argument("--interval", metavar="SECONDS", type=_seconds, default=1.0,
                        help="between two readings (default: 1)")
    top_of.set_defaults(parser=top_of)

    simulate = commands.add_parser("simulate", help="try load balancers on made-up services", description=_SIMULATE,
                                   epilog=_SIMULATE_EPILOG)
    simulate.add_argument("file", metavar="FILE", help="the scenario, in YAML; - for standard input")
    simulate.add_argument("--load-balancer", metavar="NAME", action="append", dest="balancers",
                          help="instead of the scenario's; may be given several times, to compare")
    simulate.add_argument("--format", choices=("text", "json"), default="text",
                          help="a table, or JSON for programs (default: text)")

    commands.add_parser("version", help="print the version", description="Prints the version of fastmesh, and of "
                                                                         "what it runs on.")
    for word, command in commands.choices.items():
        command.set_defaults(parser=command, command=word)
    return top


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"found {text}, allowed: a number from 0.1 to 3600")
    return seconds


def _wait(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 300:
        raise argparse.ArgumentTypeError(f"found {text}, allowed: a number from 0.1 to 300")
    return seconds


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command and its options. A wrong command line ends here, with 2."""
    top = parser()
    if not arguments:
        top.print_help(sys.stderr)
        top.exit(2)
    # argparse would list the commands, but neither guess nor say where to read on.
    word = next((word for word in arguments if not word.startswith("-")), None)
    if word is not None and word not in COMMANDS:
        from difflib import get_close_matches

        close = get_close_matches(word.lower(), COMMANDS, 1)
        top.refuse(f"there is no command {word!r}, only {', '.join(COMMANDS[:-1])} and {COMMANDS[-1]}",
                   f"write fastmesh {close[0]}" if close else "")
    given, rest = top.parse_known_args(arguments)
    command: _Parser = given.parser if given.command else top
    if given.command == "explain":
        # argparse gives what may be left out its default as soon as an option comes first.
        for name in ("method", "url"):
            if getattr(given, name) is None and rest and not rest[0].startswith("-"):
                setattr(given, name, rest.pop(0))
    is_run_without = given.command == "run" and given.config is None
    if is_run_without and len(rest) == 1 and not rest[0].startswith("-"):
        command.refuse("found a file without -c", f"write fastmesh run -c {rest[0]}")
    if rest:
        command.refuse(f"it takes no {' '.join(rest)}", "")
    if is_run_without:
        command.refuse("no configuration is named", "write fastmesh run -c FILE")
    if not given.command:
        command.refuse("no command is named", "")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit code; a wrong command line exits with 2 by itself."""
    given = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(given)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has left, as `head` does. Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        return 130


def _run(given: argparse.Namespace) -> int:
    if given.command == "run":
        from fastmesh.cli import run
        return run.run(given)
    if given.command == "check":
        from fastmesh.cli import check
        return check.run(given)
    if given.command == "explain":
        from fastmesh.cli import explain
        return explain.run(given)
    if given.command == "new":
        from fastmesh.cli import new
        return new.run(given)
    if given.command == "schema":
        from fastmesh.cli import schema
        return schema.run(given)
    if given.command == "reference":
        from fastmesh.cli import reference
        return reference.run(given)
    if given.command == "filters":
        from fastmesh.cli import top
        return top.run(given)
    if given.command == "simulate":
        from fastmesh.cli import simulate
        return simulate.run(given)
    from fastmesh.cli import version
    return version.run(given)


if __name__ == "__main__":
    sys.exit(main())
