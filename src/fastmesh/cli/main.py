"""`fastmesh`: the commands and their options.

Only what a command needs is imported, and only when it runs: `fastmesh --help` loads no pydantic.

Exit codes: 0 all is well; 1 the configuration is wrong, or `run` failed; 2 the command line is wrong.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from fastmesh import __version__

_DESCRIPTION = """\
A service-mesh sidecar: stands beside a service and carries its HTTP and TCP traffic, with load
balancing, timeouts, retries, metrics and access logs. It reads one YAML file.
"""

_EPILOG = """\
first steps:
  fastmesh check mesh.yaml            what is wrong with the file, all of it at once
  fastmesh run -c mesh.yaml           run it in the foreground
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
Runs the proxy in the foreground: a control process, and the workers it starts.

signals:
  SIGHUP             read the file again; a bad one changes nothing and is reported
  SIGTERM, SIGINT    stop accepting, answer what is in flight (at most drain_timeout), exit 0
"""

_CHECK = """\
Checks a configuration without running it. Every error is printed to standard error with its file,
line and column, what was found, what is allowed and what to do. ${NAME} and ${NAME:-default} are
taken from the environment, as in a run.
"""

_SCHEMA = """\
Prints the JSON Schema of the configuration, for completion and checking in editors. Save it beside
the file and begin the file with:

  # yaml-language-server: $schema=fastmesh.schema.json
"""


def parser() -> argparse.ArgumentParser:
    """The command line of `fastmesh`."""
    form = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(prog="fastmesh", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=form)
    top.add_argument("--version", action="version", version=f"fastmesh {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="run the proxy in the foreground", description=_RUN, formatter_class=form,
                              epilog="example:\n  fastmesh run -c mesh.yaml\n")
    run.add_argument("-c", "--config", metavar="FILE", required=True, help="the configuration, in YAML")

    check = commands.add_parser("check", help="check a configuration", description=_CHECK, formatter_class=form,
                                epilog="examples:\n  fastmesh check mesh.yaml\n  fastmesh check - < mesh.yaml\n"
                                       "  fastmesh check --format json mesh.yaml | jq .errors\n\n"
                                       "exit codes: 0 it can be used, perhaps with warnings; 1 it cannot; "
                                       "2 the command line is wrong\n")
    check.add_argument("file", metavar="FILE", help="the configuration, in YAML; - for standard input")
    check.add_argument("--format", choices=("text", "json"), default="text",
                       help="text for people (the default), json for programs, on standard output")
    check.add_argument("--strict", action="store_true", help="treat warnings as errors")

    schema = commands.add_parser("schema", help="print the JSON Schema of the configuration", description=_SCHEMA,
                                 formatter_class=form,
                                 epilog="example:\n  fastmesh schema > fastmesh.schema.json\n")
    schema.add_argument("-o", "--output", metavar="FILE", help="write to a file instead of standard output")

    commands.add_parser("version", help="print the version", description="Prints the version of fastmesh, and of "
                                                                         "what it runs on.")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit code; a wrong command line exits with 2 by itself."""
    given = parser().parse_args(arguments)
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
    if given.command == "schema":
        from fastmesh.cli import schema
        return schema.run(given)
    from fastmesh.cli import version
    return version.run(given)


if __name__ == "__main__":
    sys.exit(main())
