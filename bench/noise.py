"""Was the machine quiet enough to believe the numbers?"""

import statistics

from bench.results import Results

FOREIGN_LIMIT = 0.03  # of the proxy's core to others, median over all windows
STEAL_LIMIT = 0.01
SPIN_LIMIT = 0.10  # spread of the fixed work's CPU time between the quartiles
LEAST_ROUNDS = 4
WAIT_LIMIT = 0.10  # of the fixed work's time spent waiting for the core


def findings(results: Results) -> list[str]:
    """What was measured of the noise, worst first marked with `noisy:`."""
    said = []
    windows = [sample.noise for sample in results.samples if sample.noise]
    if windows:
        for key, limit, words in (
            ("foreign", FOREIGN_LIMIT, "of the proxy's core went to other processes"),
            ("steal", STEAL_LIMIT, "of it was taken by the hypervisor"),
        ):
            shares = [window[key] for window in windows]
            said.append(_line(statistics.median(shares), limit, f"{words} (at worst {max(shares):.0%})"))
    if len(results.rounds) >= LEAST_ROUNDS:
        said.append(_line(spread(results), SPIN_LIMIT, "spread of a fixed piece of work between the rounds"))
        waited = statistics.median(1 - one.spin_cpu_ms / one.spin_wall_ms for one in results.rounds)
        said.append(_line(waited, WAIT_LIMIT, "of the time of that work was waiting for the core"))
    return said


def spread(results: Results) -> float:
    """Of the fixed piece of work: between the quartiles, as a part of its median; 0 of fewer than four rounds."""
    if len(results.rounds) < LEAST_ROUNDS:
        return 0.0
    low, middle, high = statistics.quantiles((one.spin_cpu_ms for one in results.rounds), n=4)
    return (high - low) / middle


def noisy(results: Results) -> bool:
    return any(line.startswith("noisy:") for line in findings(results))


def _line(value: float, limit: float, words: str) -> str:
    return f"{'noisy: ' if value > limit else ''}{value:.1%} {words}"
