"""Instructions per operation, counted by valgrind, against the figures that are kept: `python -m bench.instructions`.

Time differs from machine to machine and from minute to minute; the number of instructions does not.  Each workload
runs twice, with so many loops and with twice as many: the difference is what the loops cost, and the interpreter's
part, the same both times, is gone.

A rise above 5 % is an error.  `--accept WHY` takes the present figures over, with the reason beside each that rose.
They hold for one compiler and one processor architecture, so there is a set of them for each.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

KEPT = Path(__file__).parent / "micro" / "instructions.json"
LIMIT = 0.05
ROOT = Path(__file__).parents[1]
# Kept figures of a workload: what was counted, and why it was let rise, if it ever was.
Figures = dict[str, dict[str, float | str]]


@dataclass(frozen=True)
class Change:
    name: str
    kept: float | None
    found: float

    @property
    def share(self) -> float:
        return self.found / self.kept - 1 if self.kept else 0.0

    @property
    def rose(self) -> bool:
        return round(self.share, 6) > LIMIT

    def __str__(self) -> str:
        if self.kept is None:
            return f"{self.name:28} {self.found:12,.1f}  new"
        verdict = "ROSE" if self.rose else "fell: keep the new figure" if self.share < -LIMIT else ""
        return f"{self.name:28} {self.found:12,.1f}  {self.share:+7.1%} {verdict}".rstrip()


def compare(kept: Figures, found: dict[str, float]) -> list[Change]:
    return [Change(name, float(kept[name]["instructions"]) if name in kept else None, found[name]) for name in found]


def accept(kept: Figures, found: dict[str, float], why: str) -> Figures:
    """The figures to keep; those that did not move beyond the limit stay, so that small steps add up to a rise."""
    accepted: Figures = {}
    for change in compare(kept, found):
        if change.kept is not None and abs(change.share) <= LIMIT:
            accepted[change.name] = kept[change.name]
        else:
            accepted[change.name] = {"instructions": round(change.found, 1)}
            if change.rose:
                accepted[change.name]["why"] = why
    return accepted


def difference(count: Callable[[dict[str, int]], int], loops: dict[str, int]) -> dict[str, int]:
    """Instructions that a second helping of loops costs, by workload."""
    return {name: count({name: 2 * many}) - count({name: many}) for name, many in loops.items()}


def toolchain() -> str:
    """What the figures depend on, besides the source."""
    compiler = os.environ.get("CC", "cc")
    said = subprocess.run([compiler, "-dumpfullversion", "-dumpversion"], capture_output=True, text=True, check=True)
    kind = "clang" if "clang" in compiler else "gcc"
    python = ".".join(platform.python_version_tuple()[:2])
    return f"{kind} {said.stdout.strip().split('.')[0]}, {platform.machine()}, Python {python}"


def _count(workloads: dict[str, int]) -> int:
    command = [
        "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable,
        "-m", "bench.micro.workloads", *(f"{name}={loops}" for name, loops in workloads.items()),
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        # Sets and dicts in the same order each time.
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        raise SystemExit(f"valgrind ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return int(found[1])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--accept", metavar="WHY", help="keep the present figures; the reason stands beside what rose")
    parser.add_argument("--only", metavar="NAME", help="workloads whose name begins so")
    parsed = parser.parse_args(arguments)
    if not shutil.which("valgrind"):
        raise SystemExit("not installed: valgrind (Debian: valgrind; `make bench-instructions` installs it)")
    # Its imports are extension modules, which may not be there yet.
    workloads: dict[str, tuple[Callable[[int], object], int, int]] = import_module("bench.micro.workloads").WORKLOADS
    chosen = {name: one for name, one in workloads.items() if name.startswith(parsed.only or "")}
    if not chosen:
        raise SystemExit(f"no workload {parsed.only!r}; there are {', '.join(workloads)}")
    every: dict[str, Figures] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    tools = toolchain()
    kept = every.get(tools, {})
    spent = difference(_count, {name: loops for name, (_, loops, _) in chosen.items()})
    found = {name: spent[name] / loops / operations for name, (_, loops, operations) in chosen.items()}
    print(f"instructions per operation, {tools}")
    changes = compare(kept, found)
    for change in changes:
        print(change)
    if parsed.accept:
        rest = {name: figure for name, figure in kept.items() if name in workloads and name not in chosen}
        every[tools] = {**rest, **accept(kept, found, parsed.accept)}
        KEPT.write_text(json.dumps(every, indent=1) + "\n")
        print(f"kept in {KEPT.relative_to(ROOT)}")
        return 0
    if any(change.kept is None for change in changes):
        print(f"No figures are kept for all of this with {tools}: `python -m bench.instructions --accept WHY`")
        return 1
    rises = [change.name for change in changes if change.rose]
    if rises:
        print(f"More than {LIMIT:.0%} more instructions: {', '.join(rises)}.")
        print("Find the cause; or, when it is worth it, say why: `python -m bench.instructions --accept WHY`")
    return 1 if rises else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
