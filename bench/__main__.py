"""`python -m bench`: measure, write JSON, Markdown and pictures.

`python -m bench report FILE` writes Markdown and pictures again, `python -m bench agree FILE FILE` compares two runs.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench import agreement, machine, noise, page, plots, report, results, rounds
from bench.peers import PEERS
from bench.scenarios import SCENARIOS, Options

FOLDER = Path(__file__).parent / "results"
T = TypeVar("T")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure fastmesh beside nginx, HAProxy and Envoy.",
        epilog="`python -m bench report FILE` writes the Markdown and the pictures of an earlier result again.  "
        "`python -m bench agree FILE FILE` says which figures of one run another has shown again, "
        "`python -m bench page RUN.json EARLIER.json` puts figures into docs/performance.md.  "
        "scenarios: "
        + ", ".join(one.name for one in SCENARIOS)
        + ".  peers: "
        + ", ".join(one.name for one in PEERS)
        + ".",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a first look, under two minutes: few scenarios, short rounds"
    )
    parser.add_argument("--list", action="store_true", help="say what can be measured, and of whom, and end")
    parser.add_argument(
        "--scenario", action="append", metavar="NAME", help="only these (repeat, or a,b; a prefix will do)"
    )
    parser.add_argument("--peer", action="append", metavar="NAME", help="only these (repeat, or a,b; a prefix will do)")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (5; quick: 2)")
    parser.add_argument("--seconds", type=int, help="measured per peer and round (2; quick: 1)")
    parser.add_argument("--connections", metavar="N,…", help="for the keep-alive scenario (1,32,128,512; quick: 1,128)")
    parser.add_argument("--requests", type=int, help="in which memory shall not grow (1,000,000; quick: 100,000)")
    parser.add_argument("--output", type=Path, help="the JSON file; the Markdown goes beside it")
    return parser


def _chosen(kind: str, everything: Sequence[T], name: Callable[[T], str], asked: list[str] | None) -> list[T]:
    if not asked:
        return list(everything)
    chosen: list[T] = []
    for prefix in (part for one in asked for part in one.split(",")):
        found = [one for one in everything if name(one).startswith(prefix)]
        if not found:
            raise SystemExit(f"no {kind} {prefix!r}; there are {', '.join(name(one) for one in everything)}")
        chosen.extend(one for one in found if one not in chosen)
    return chosen


def _options(arguments: argparse.Namespace) -> Options:
    base = (
        Options(rounds=2, seconds=1, connections=(1, 128), quick=True, requests=100_000)
        if arguments.quick
        else Options()
    )
    connections = base.connections
    if arguments.connections:
        connections = tuple(int(part) for part in arguments.connections.split(","))
    return Options(
        rounds=arguments.rounds or base.rounds,
        seconds=arguments.seconds or base.seconds,
        connections=connections,
        quick=base.quick,
        requests=arguments.requests or base.requests,
    )


def _listed(options: Options) -> str:
    """Scenarios and peers, as the arguments name them."""
    wide = max(map(len, [*(one.name for one in SCENARIOS), *(one.name for one in PEERS)]))
    lines = ["scenarios (* also in a quick run):"]
    for one in SCENARIOS:
        labels = ", ".join(label for label in map(one.label, one.points(options)) if label)
        lines.append(f"  {one.name:{wide}} {'*' if one.quick else ' '} {one.title}{': ' if labels else ''}{labels}")
    lines.append("peers:")
    for peer in PEERS:
        why = peer.missing("http")
        lines.append(f"  {peer.name:{wide}}   {peer.title}, {why if why else peer.version()}")
    return "\n".join(lines)


def _write(found: results.Results, path: Path) -> str:
    """Pictures and Markdown beside the JSON file; the Markdown."""
    pictures = plots.draw(found, path)
    text = report.markdown(found, pictures)
    path.with_suffix(".md").write_text(text)
    names = [path.with_suffix(".md").name, *(picture.name for _, picture in pictures)]
    print(f"written: {path}, {', '.join(names)}", file=sys.stderr)
    if not pictures:
        print("no pictures: they need matplotlib (requirements/dev.txt)", file=sys.stderr)
    return text


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["report"]:
        for name in arguments[1:]:
            print(_write(results.load(Path(name)), Path(name)))
        return 0
    if arguments[:1] == ["agree"]:
        if len(arguments) != 3:
            raise SystemExit("usage: python -m bench agree FIRST.json SECOND.json")
        print(agreement.markdown(*(results.load(Path(name)) for name in arguments[1:])))
        return 0
    if arguments[:1] == ["page"]:
        if len(arguments) not in (2, 3):
            raise SystemExit("usage: python -m bench page RUN.json [EARLIER.json]")
        run, *earlier = (results.load(Path(name)) for name in arguments[1:])
        page.write(run, earlier[0] if earlier else None)
        return 0
    parsed = _parser().parse_args(arguments)
    if parsed.list:
        print(_listed(_options(parsed)))
        return 0
    offered = [one for one in SCENARIOS if one.quick or not parsed.quick or parsed.scenario]
    scenarios = _chosen("scenario", offered, lambda one: one.name, parsed.scenario)
    peers = _chosen("peer", PEERS, lambda one: one.name, parsed.peer)
    missing = [program for program in ("wrk", "h2load", "nginx", "taskset") if not shutil.which(program)]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)} (Debian: wrk, nghttp2-client, nginx-light, util-linux)")
    try:
        found = rounds.play(scenarios, peers, _options(parsed))
    except KeyboardInterrupt:
        print("interrupted: everything started is stopped, nothing is written", file=sys.stderr)
        return 130
    path: Path = parsed.output or FOLDER / f"{found.date}-{machine.slug(found.machine)}.json"
    found.save(path)
    print(_write(found, path))
    if noise.noisy(found):
        print("The machine was noisy: only ratios mean something; see the head of the report.", file=sys.stderr)
    return 1 if found.void else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
