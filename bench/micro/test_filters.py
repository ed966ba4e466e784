"""What filters cost by themselves: `pytest bench/micro/test_filters.py`. The figure is per exchange or operation."""

import time

import pytest

from bench.micro.workloads import WORKLOADS

FILTERS = [name for name in WORKLOADS if name.startswith("filters: ")]


@pytest.mark.parametrize("name", FILTERS)
def test_filters(benchmark, name):
    run, loops, operations = WORKLOADS[name]
    times = []

    def once():
        begun = time.perf_counter_ns()
        run(loops)
        times.append(time.perf_counter_ns() - begun)

    benchmark.pedantic(once, rounds=20, warmup_rounds=2)
    benchmark.extra_info["ns per operation"] = round(min(times) / loops / operations, 1)
