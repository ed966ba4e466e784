"""`fastmesh simulate`: balancers against made-up services."""

import argparse
import json
import os
import shutil
import sys
import time

from fastmesh.config.render import print_problems
from fastmesh.config.source import read_source
from fastmesh.errors import ConfigError
from fastmesh.simulate.scenario import read
from fastmesh.simulate.simulation import Simulation

CLEAR = "\r\x1b[K"
PATIENCE = 1.0          # seconds that pass without a word
BETWEEN = 0.2           # of what is said


class Progress:
    """How far it is, in a line of standard error that goes away again. Nowhere but on a terminal."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._begun = time.monotonic()
        self._next = self._begun + PATIENCE
        self._is_shown = False

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if not self._is_terminal or now < self._next or share <= 0:
            return
        self._next = now + BETWEEN
        self._is_shown = True
        left = (now - self._begun) / share * (1 - share)
        sys.stderr.write(f"{CLEAR}{self._what}: {share:.0%}, about {left:,.0f} s left")
        sys.stderr.flush()

    def end(self) -> None:
        if self._is_shown:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()


def run(args: argparse.Namespace) -> int:
    """Prints a table for each balancer; 1 when the scenario, or one with such a balancer, is wrong."""
    results = []
    try:
        source = read_source(args.file)
        for balancer in args.balancers or [None]:
            scenario = read(source, dict(os.environ), balancer)
            progress = Progress(f"simulating {balancer or 'the scenario'}")
            try:
                result = Simulation(scenario).run(progress)
            finally:
                progress.end()
            if args.format == "json":
                results.append(result.to_dict())
            else:
                sys.stdout.write(result.table(shutil.get_terminal_size().columns if sys.stdout.isatty() else 0))
                sys.stdout.flush()
    except ConfigError as error:
        print_problems(error.problems)
        return 1
    if args.format == "json":
        print(json.dumps(results, indent=2))
    return 0
