"""What one check of a rate limit costs: `pytest bench/micro/test_rate_limit.py`. The figure is per check."""

import time

import pytest

from fastmesh._core.mem import shared
from probes.limit_probe import Limits
from probes.wire import limit, listener, pack, route, snapshot

LOOPS = 10_000             # short: what disturbs one round leaves another alone
CLIENTS = 100_000
REQUEST = (b"GET /api/v1/orders/17?page=2&tenant=blue HTTP/1.1\r\nhost: shop.example.com\r\n"
           b"user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0)\r\naccept: application/json\r\n"
           b"accept-encoding: gzip, deflate, br\r\nx-tenant: 3f2504e0-4f89-11d3-9a0c-0305e82c3301\r\n"
           b"cookie: theme=dark; sid=kD8f0qLrT2wz\r\n\r\n")
# A bucket that never runs dry, and one that is always empty.
FULL, EMPTY = {"token": 1, "burst": 1_000_000_000}, {"token": 3600 * 10**9, "burst": 1}
CHECKS = {
    "one for all": limit(**FULL),
    "refused": limit(**EMPTY),
    "client_address": limit(**FULL, key=["client_address"]),
    "header": limit(**FULL, key=["header x-tenant"]),
    "cookie": limit(**FULL, key=["cookie sid"]),
    "query": limit(**FULL, key=["query tenant"]),
    "client_address and header": limit(**FULL, key=["client_address", "header x-tenant"]),
    "client_address, of a match": limit(**FULL, key=["client_address"],
                                        match=route("/api", methods=["GET"], status=200)),
    "not of a match": limit(**FULL, match=route("/other", status=200)),
}


@pytest.mark.parametrize("name", CHECKS)
def test_check(benchmark, name):
    shared.detach()
    made = Limits(pack(snapshot([listener()], limits=[CHECKS[name]])), shared.segment())
    made.request(REQUEST)
    times = []

    def once():
        begun = time.perf_counter_ns()
        passed = made.loop(LOOPS)
        times.append(time.perf_counter_ns() - begun)
        return passed

    assert benchmark.pedantic(once, rounds=100, warmup_rounds=2) == (LOOPS if name not in ("refused", "not of a match")
                                                                     else 0)
    benchmark.extra_info["ns per operation"] = round(min(times) / LOOPS, 1)
    made.close()
    shared.detach()


def test_a_hundred_thousand_clients(benchmark):
    """Each finds its own bucket, none of which is in a cache."""
    shared.detach()
    made = Limits(pack(snapshot([listener()], limits=[limit(**FULL, keys=CLIENTS, key=["client_address"])])),
                  shared.segment())
    made.request(REQUEST)
    times = []

    def once():
        passed, took = made.flood(CLIENTS)
        times.append(took)
        return passed

    assert benchmark.pedantic(once, rounds=20, warmup_rounds=2) == CLIENTS
    benchmark.extra_info["ns per operation"] = round(min(times) / CLIENTS, 1)
    made.close()
    shared.detach()
