"""`fastmesh simulate`: balancers against made-up services."""

import argparse
import json
import os
import sys

from fastmesh.config.render import print_problems
from fastmesh.config.source import read_source
from fastmesh.errors import ConfigError
from fastmesh.simulate.scenario import read
from fastmesh.simulate.simulation import Simulation


def run(args: argparse.Namespace) -> int:
    """Prints a table for each balancer; 1 when the scenario, or one with such a balancer, is wrong."""
    results = []
    try:
        source = read_source(args.file)
        for balancer in args.balancers or [None]:
            scenario = read(source, dict(os.environ), balancer)
            result = Simulation(scenario).run()
            if args.format == "json":
                results.append(result.to_dict())
            else:
                sys.stdout.write(result.table())
                sys.stdout.flush()
    except ConfigError as error:
        print_problems(error.problems)
        return 1
    if args.format == "json":
        print(json.dumps(results, indent=2))
    return 0
