"""What finding a route costs: `pytest bench/micro/test_route.py`. The figure is per request."""

import random
import struct

import pytest

from fastmesh.config.regex import compile_regex
from fastmesh.config.template import compile_template
from probes.snapshot_probe import Request
from probes.wire import PATTERN as VALUE_PATTERN
from probes.wire import PREFIX, decoded, further, listener, route, snapshot, value

HOSTS = [f"service-{i}.namespace.svc.cluster.local" for i in range(100)]
ROUNDS = 200
PATTERN = 3
REGEXES = [compile_regex(f"/api/v[0-9]+/kind-{k}/items/[0-9]+") for k in range(10)]
REGEXES.append(compile_regex("[a-z]+"))
REGEXES += [compile_template(f"/api/v1/kind-{k}/{{kind}}/{{id}}") for k in range(10)]


def pattern(regex):
    automaton = regex.automaton
    return [automaton.classes, automaton.flags, struct.pack(f"<{len(automaton.table)}H", *automaton.table)]


def over_hosts():
    """1,000 routes: ten prefixes on each of 100 hosts, the last of them "/"."""
    return [
        route("/" if k == 9 else f"/api/v1/kind-{k}", hosts=[host], status=200) for host in HOSTS for k in range(10)
    ]


TABLES = {
    "one": lambda: [route("/", status=200)],
    "four_scanned": lambda: (
        [route(f"/api/v1/kind-{k}", hosts=[HOSTS[0]], status=200) for k in range(3)] + [route("/", status=200)]
    ),
    "ten": lambda: [route(f"/api/v1/kind-{k}", status=200) for k in range(9)] + [route("/", status=200)],
    "1000_over_100_hosts": over_hosts,
    "1000_names_of_3_forms": lambda: [
        route(
            f"/api/v1/kind-{k}",
            status=200,
            hosts=[host, host.removesuffix(".svc.cluster.local"), host.removesuffix(".namespace.svc.cluster.local")],
        )
        for host in HOSTS
        for k in range(10)
    ],
    "1000_without_hosts": lambda: [route(f"/api/v1/kind-{k}", status=200) for k in range(1000)],
    "1000_wildcards": lambda: [
        route(f"/api/v1/kind-{k}", hosts=[f"*.{host}"], status=200) for host in HOSTS for k in range(10)
    ],
    "1000_by_pattern": lambda: [
        route("/api/v1", kind=PATTERN, hosts=[host], more=further(k), status=200) for host in HOSTS for k in range(10)
    ],
    "1000_by_template_and_header": lambda: [
        route(
            "/api/v1",
            kind=PATTERN,
            hosts=[host],
            headers=[value("x-field-9", "val", PREFIX), value("x-field-0", kind=VALUE_PATTERN, low=10)],
            more=further(11 + k),
            status=200,
        )
        for host in HOSTS
        for k in range(10)
    ],
    "1000_by_header": lambda: [
        route("/", hosts=[host], headers=[(f"x-{k}", "1")], status=200) for host in HOSTS for k in range(10)
    ],
}


@pytest.mark.parametrize("kind", TABLES)
def test_route(benchmark, kind):
    rng = random.Random(1)
    fields = [(f"X-Field-{i}".encode(), b"value") for i in range(10)]
    prefix = b"a.b." if "wildcards" in kind else b""
    requests = [
        Request(
            b"GET",
            prefix + rng.choice(HOSTS).encode() + b":8080",
            f"/api/v1/kind-{rng.randrange(12)}/items/{rng.randrange(10**6)}".encode(),
            fields,
        )
        for _ in range(1000)
    ]
    with decoded(snapshot(listeners=[listener(TABLES[kind]())], patterns=map(pattern, REGEXES))) as s:
        s.time_routes(requests, 10)
        times = []
        benchmark.pedantic(lambda: times.append(s.time_routes(requests, ROUNDS)[0]), rounds=10)
        benchmark.extra_info["ns per request"] = round(min(times) / ROUNDS / len(requests), 1)
