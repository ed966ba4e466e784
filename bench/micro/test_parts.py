"""What the smallest operations cost: `pytest bench/micro/test_parts.py`. The figure is per operation."""

import time

import pytest

from probes.loops_probe import block_loop, inbox_loop, slab_loop, timer_loop

LOOPS = 100_000
PARTS = {
    "block": block_loop,
    "inbox": inbox_loop,
    "slab": slab_loop,
    "timer_later": lambda n: timer_loop("later", n),
    "timer_anew": lambda n: timer_loop("anew", n),
    "timer_fire": lambda n: timer_loop("fire", n),
}


@pytest.mark.parametrize("part", PARTS)
def test_part(benchmark, part):
    times = []

    def once():
        begun = time.perf_counter_ns()
        left = PARTS[part](LOOPS)
        times.append(time.perf_counter_ns() - begun)
        return left

    # What was taken is given back, and every timer has gone off.
    assert benchmark.pedantic(once, rounds=20, warmup_rounds=2) == (LOOPS if part == "timer_fire" else 0)
    benchmark.extra_info["ns per operation"] = round(min(times) / LOOPS, 2)
