"""The micro-benchmarks of this tree beside those of another commit: `python -m bench.compare REF`.

The commit is built in a folder of its own below build/.  Both are measured by the workloads of this tree, one after
the other, round after round, pinned to one core; which goes first changes from round to round.  Shown is the median
of the ratios within each round.  The noise floor of a workload is how far two runs of the same build are apart, from
the same rounds: a ratio nearer to 1 than that says nothing.
"""

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.progress import Progress

ROOT = Path(__file__).parents[1]
ROUNDS = 9
# Workloads and probes come from this tree: what is compared is the core, and a workload must be the same for both.
OURS = ("bench", "tests/probes")


@dataclass(frozen=True)
class Ratio:
    """New by old, and what the same build gives beside itself."""

    name: str
    ratio: float
    noise: float

    @property
    def differs(self) -> bool:
        return abs(self.ratio - 1) > self.noise

    def __str__(self) -> str:
        verdict = ("slower" if self.ratio > 1 else "faster") if self.differs else "no difference that can be seen"
        return f"{self.name:28} {self.ratio:6.3f}  ± {self.noise:.3f}  {verdict}"


def ratio(name: str, new: Sequence[float], old: Sequence[float]) -> Ratio:
    """Of seconds per round, in the order they were measured.

    The floor is the median step from one round to the next, of the same build: drift and noise in one, so rather
    too wide than too narrow.
    """
    steps = [abs(b / a - 1) for times in (new, old) for a, b in itertools.pairwise(times)]
    middle = statistics.median(a / b for a, b in zip(new, old, strict=True))
    return Ratio(name, middle, statistics.median(steps) if steps else 0.0)


def checkout(ref: str) -> Path:
    """The commit as a work tree below build/, built; a second call for the same one only builds what changed."""
    found = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise SystemExit(f"{ref!r} is no commit of this repository")
    commit = found.stdout.strip()
    tree = ROOT / "build" / "compare" / commit[:12]
    if not tree.exists():
        tree.mkdir(parents=True)
        packed = subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", str(tree)], stdin=packed.stdout, check=True)
        if packed.wait():
            raise SystemExit(f"{ref}: cannot be unpacked")
    for name in OURS:
        # With their times, so that what is there already is not built again.
        ignored = shutil.ignore_patterns("*.so", "__pycache__", "results")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored, dirs_exist_ok=True)
    print(f"building {commit[:12]}", file=sys.stderr)
    done = subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace", "-j2"], cwd=tree, check=False)
    if done.returncode:
        raise SystemExit(
            f"{ref} does not build with the probes of this tree, which reach into what has changed since: "
            "choose a later commit"
        )
    return tree


def seconds(tree: Path, name: str, loops: int, core: int) -> float:
    """Processor time of the loops alone."""
    start = (
        "import sys, time; sys.path[:0] = ['', 'src', 'tests']; from bench.micro.workloads import WORKLOADS; "
        "import os, fastmesh; assert fastmesh.__file__.startswith(os.getcwd() + '/'), fastmesh.__file__; "
        f"run = WORKLOADS[{name!r}][0]; run(1); begun = time.process_time_ns(); run({loops}); "
        "print(time.process_time_ns() - begun)"
    )
    # Isolated from the environment's own fastmesh, which is this tree.
    done = subprocess.run(
        ["taskset", "-c", str(core), sys.executable, "-c", start],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": "src", "PYTHONHASHSEED": "0"},
    )
    if done.returncode:
        raise SystemExit(f"{name}, {tree}: {done.stderr.strip()[-1000:]}")
    return int(done.stdout) / 1e9


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("ref", metavar="REF", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", metavar="NAME", default="", help="workloads whose name begins so")
    parser.add_argument("--scale", type=float, default=20.0, help="times the loops whose instructions are counted (20)")
    parsed = parser.parse_args(arguments)
    from importlib import import_module

    workloads = import_module("bench.micro.workloads").WORKLOADS
    chosen = {
        name: max(1, int(one[1] * parsed.scale)) for name, one in workloads.items() if name.startswith(parsed.only)
    }
    if not chosen:
        raise SystemExit(f"no workload {parsed.only!r}; there are {', '.join(workloads)}")
    if parsed.rounds < 3:
        raise SystemExit("at least 3 rounds, else there is no noise floor")
    old = checkout(parsed.ref)
    core = machine.choose_cores().proxy
    progress = Progress(float(parsed.rounds), parsed.rounds)
    times: dict[tuple[str, Path], list[float]] = {(name, tree): [] for name in chosen for tree in (ROOT, old)}
    for number in range(parsed.rounds):
        progress.begin(f"round {number + 1}")
        for name, loops in chosen.items():
            for tree in (ROOT, old) if number % 2 else (old, ROOT):
                times[name, tree].append(seconds(tree, name, loops, core))
        progress.done(1.0, f"round {number + 1}")
    print(f"{'time of this tree ÷ ' + parsed.ref[:10]:28}  ratio    noise")
    for name in chosen:
        print(ratio(name, times[name, ROOT], times[name, old]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
