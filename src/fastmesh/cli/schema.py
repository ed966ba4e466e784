"""`fastmesh schema`: the JSON Schema of the configuration."""

import argparse
import json
import sys
from pathlib import Path

from fastmesh import __version__
from fastmesh.config.json_schema import json_schema


def run(args: argparse.Namespace) -> int:
    """Prints it, or writes it to a file."""
    text = json.dumps(json_schema(__version__), indent=2, ensure_ascii=False) + "\n"
    if not args.output:
        sys.stdout.write(text)
        return 0
    try:
        Path(args.output).write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"fastmesh schema: cannot write {args.output}: {error.strerror}\n  to do: choose another place, or leave "
              "-o out and write > FILE", file=sys.stderr)
        return 1
    return 0
