"""The arrays of a snapshot, place by place; tests/unit/_core/snapshot reads them with the decoder itself."""

import resource
from typing import Any

import msgpack
import pytest

from fastmesh.config.load import load_text
from fastmesh.snapshot.compiler import compile, describe, max_connections
from fastmesh.snapshot.registry import Registry
from fastmesh.snapshot.wire import ROUTE_ROWS

S = 1_000_000_000
TEXT = """\
listeners:
  - name: web
    address: "[::1]:80"
    direction: inbound
    plain_answers: true
    half_close: true
    via: edge
    trusted_clients: [10.0.0.0/8, "::1", unix]
    deadlines: {send: false, header: X-Left-Ms}
    limits: {head: 8KiB, request_line: 4KiB, header_count: 9, requests_per_connection: 3, connections: 4, buffer: 1MiB}
    timeouts: {header: 1s, body_idle: 2s, keepalive_idle: 3s, tcp_idle: 4s, request: 5s, linger: 6s, stream_idle: 8s}
    routes:
      - {name: r, match: {path: //x, hosts: [A.b.], methods: [GET], headers: {X-A: b}}, cluster: two}
      - {match: {prefix: /no}, response: {status: 404, body: "é", content_type: text/html}, timeout: 0}
      - {match: {hosts: ["*"]}, response: {status: 204}, timeout: 7s}
  - {name: db, address: 127.0.0.1:5432, protocol: tcp, cluster: one}
clusters:
  - {name: one, load_balancer: random, endpoints: []}
  - name: two
    load_balancer: round_robin
    connect_timeout: 10ms
    idle_timeout: 0
    max_connections: 1
    max_pending: 2
    pending_timeout: 9s
    max_requests: 3
    max_requests_per_connection: 4
    connect_attempts: 5
    avoid: {base: 1ms, max: 1h}
    outlier:
      {server_errors: 0, gateway_errors: 2, connect_failures: 0, timeouts: 1, interval: 1s, success_rate: {factor: 0},
       latency: {factor: 2.5, at_least: 50ms, min_requests: 9}, base: 1s, max: 2s, jitter: 0%, max_ejected: 50%,
       ramp: 0, dry_run: true}
    endpoints: [127.0.0.1:1, {address: "[2001:db8::1]:2", weight: 7}, "unix:/run/é"]
"""


def snapshot(text: str = TEXT, version: int = 1, registry: Registry | None = None, open_files: int = 1064) -> Any:
    return msgpack.unpackb(compile(load_text(text, env={}).config, version, registry or Registry(), open_files)[0])


def test_every_place():
    assert snapshot() == [
        "fmsn", 6, 1, [499, None, [], [0, 1_000_000_000, 1, "", 980_000], None],
        [[0, "web", 0, True, True, -1,
          [8192, 4096, 9, S, 2 * S, 3 * S, 4 * S, 5 * S, 6 * S, 3, 4, 1 << 20, 8 * S],
          [[4, 8, b"\x0a" + bytes(15)], [6, 128, bytes(15) + b"\x01"], [1, 0, bytes(16)]], "edge",
          [["r", 1, b"/x", ["a.b"], ["GET"], [["x-a", "b", 0, False, 0, 0]], 1, 0, b"", "", 5 * S, None, None, None,
            -1, 0, False, 8 * S],
           ["route-1", 0, b"/no", [], [], [], -1, 404, "é".encode(), "text/html", 0, None, None, None, -1, 0, True,
            8 * S],
           ["route-2", 0, b"/", ["*"], [], [], -1, 204, b"", "", 7 * S, None, None, None, -1, 0, True, 8 * S]], -1,
          [True, False, "x-left-ms"], True],
         [1, "db", 1, False, False, 0,
          [61440, 16384, 100, 10 * S, 60 * S, 3600 * S, 3600 * S, 0, S, 0, 0, 65536, 300 * S],
          [[4, 8, b"\x7f" + bytes(15)], [6, 128, bytes(15) + b"\x01"], [1, 0, bytes(16)]], "", [], -1,
          [True, True, ""], False]],
        [[0, "one", 1, S, 60 * S, 0, 1024, 10_000, 0, 3, S, 30 * S, 60 * S, [], -1, None, None,
          [7, 5, 3, 5, 10 * S, 1900, 5, 100, 850_000, 3, 50, 0, 0, 0, 30 * S, 300 * S, 100_000, 340_000, 1_000_000,
           10 * S], 0, [10_000, 500, 0, 0, None, None]],
         [1, "two", 0, 10_000_000, 0, 1, 2, 3, 4, 5, 1_000_000, 3600 * S, 9 * S,
          [[0, 4, 1, b"\x7f\0\0\x01", 1, "127.0.0.1:1", None],
           [1, 6, 2, bytes.fromhex("20010db8000000000000000000000001"), 7, "[2001:db8::1]:2", None],
           [2, 1, 0, "/run/é".encode(), 1, "unix:/run/é", None]], -1, None, None,
          [0, 2, 0, 1, S, 0, 5, 100, 850_000, 3, 50, 2500, 50_000_000, 9, S, 2 * S, 0, 500_000, 0, 0], 0,
          [10_000, 500, 0, 0, None, None]]],
        [[], []], [[], []], [], [], [[], [], [], [], []], [[], []], [[], []], [[], [], [], []],
            [[0, 0, 0]]]


ROUTES = """
metrics: {metrics}
listeners:
  - {{name: a, address: 127.0.0.1:1, routes: [{{name: x, match: {{prefix: /x}}, response: {{status: 204}}}},
      {{match: {{prefix: /y}}, response: {{status: 204}}}},
      {{name: x, match: {{prefix: /}}, response: {{status: 204}}}}]}}
  - {{name: b, address: 127.0.0.1:2, routes: [{{name: x, match: {{prefix: /}}, response: {{status: 204}}}}]}}
"""


@pytest.mark.parametrize(("metrics", "counted"), [
    ("{}", [[0, 0, 0], [0, 2, 0], [1, 0, 1]]), ("{routes: named}", [[0, 0, 0], [0, 2, 0], [1, 0, 1]]),
    ("{routes: all}", [[0, 0, 0], [0, 2, 0], [0, 1, 1], [1, 0, 2]]), ("{routes: none}", [])])
def test_routes_are_counted_by_name(metrics, counted):
    assert snapshot(ROUTES.format(metrics=metrics))[14] == counted


def test_routes_keep_their_rows():
    registry = Registry()
    snapshot(ROUTES.format(metrics="{}"), registry=registry)
    text = ROUTES.format(metrics="{}").replace("name: x, match: {prefix: /x}", "name: new, match: {prefix: /x}")
    assert snapshot(text, 2, registry)[14] == [[0, 0, 2], [0, 2, 0], [1, 0, 1]]
    assert registry.routes.live == {"a new": 2, "a x": 0, "b x": 1}


def test_what_does_not_fit_is_not_counted_and_that_is_said():
    routes = "".join(f"      - {{name: r{i}, match: {{prefix: /{i}}}, response: {{status: 204}}}}\n"
                     for i in range(ROUTE_ROWS + 3))
    text = f"listeners:\n  - name: a\n    address: 127.0.0.1:1\n    routes:\n{routes}"
    loaded = load_text(text, "f", {})
    found = msgpack.unpackb(compile(loaded.config, 1, Registry(), 1024)[0])[14]
    assert len(found) == ROUTE_ROWS and {row for _, _, row in found} == set(range(ROUTE_ROWS))
    (warning,) = [one for one in loaded.warnings if "counted" in one.reason]
    assert warning.reason.startswith("4,099 routes are to be counted by themselves, and there is room for 4,096")
    assert load_text("metrics: {routes: none}\n" + text, "f", {}).warnings == []


def test_the_access_log_is_compiled():
    ops = snapshot('access_log: {fields: {a: "%PROTOCOL%", b: "x"}}\nlisteners: []\n')[3][1]
    assert ops == [[0, 0, '{"a":'], [4, 1, ""], [0, 0, ',"b":"x"}']]
    ops = snapshot('access_log: {format: text, template: "%REQ(A)% x"}\nlisteners: []\n')[3][1]
    assert ops == [[12, 0, "a"], [0, 0, " x"]]


def test_numbers_outlive_a_change_of_order():
    registry = Registry()
    first = snapshot(registry=registry)
    text = TEXT.replace("endpoints: [127.0.0.1:1, ", "endpoints: [127.0.0.1:9, ").replace("name: one", "name: three"
                        ).replace("cluster: one", "cluster: three")
    second = snapshot(text, 2, Registry.from_dict(registry.to_dict()))
    assert [cluster[0] for cluster in first[5]] == [0, 1] and [cluster[0] for cluster in second[5]] == [2, 1]
    assert [endpoint[0] for endpoint in second[5][1][13]] == [3, 1, 2]


def test_the_same_address_in_two_clusters_has_two_rows():
    text = "listeners: []\nclusters: [{name: a, endpoints: [127.0.0.1:1]}, {name: b, endpoints: [127.0.0.1:1]}]\n"
    assert [cluster[13][0][0] for cluster in snapshot(text)[5]] == [0, 1]


@pytest.mark.parametrize(("given", "open_files", "connections"), [
    (0, 1024, 480), (0, 1_048_576, 524_256), (0, 10, 16), (77, 1024, 77), (0, resource.RLIM_INFINITY, 0)])
def test_connections_follow_from_the_limit_of_open_files(given, open_files, connections):
    config = load_text(f"max_connections: {given}\nlisteners: []\n").config
    assert max_connections(config, open_files) == connections


def test_times_are_rounded_up():
    config = load_text("drain_timeout: 0.5ms\norphan_grace: 0\nlisteners: []\n").config
    registry = compile(config, 1, Registry())[1]
    process = describe(config, registry)["process"]
    assert (process["drain_timeout_ms"], process["orphan_grace_ms"]) == (1, 0)


def test_names_of_the_node():
    config = load_text("node: {service: shop, cluster: east}\nlisteners: []\n").config
    node = describe(config, compile(config, 1, Registry())[1])["node"]
    assert node == {"service": "shop", "version": "unknown", "namespace": "default", "workload": "shop",
                    "cluster": "east"}


@pytest.mark.parametrize(("text", "acts"), [
    ("cluster: one", None),
    ("cluster: one, rewrite: {prefix: /v2}", [None, "", [2, b"/v2", 4, [], []], [], []]),
    ("cluster: one, rewrite: {prefix: /}", [None, "", [2, b"", 4, [], []], [], []]),
    ("cluster: one, rewrite: {path: /x, host: A.b}", [None, "a.b", [1, b"/x", 0, [], []], [], []]),
    ("redirect: {}", [[302, "", "", 0, [0, b"", 0, [], []], False], "", [0, b"", 0, [], []], [], []]),
    ("redirect: {status: 308, scheme: https, host: a.b, port: 1, prefix: /v2/, strip_query: true}",
     [[308, "https", "a.b", 1, [2, b"/v2", 4, [], []], True], "", [0, b"", 0, [], []], [], []]),
    ("cluster: one, request_headers: {remove: [X-A], set: {x-b: 'a%%%PROTOCOL%'}, add: {x-c: '%REQ(User-Agent)%'}}",
     [None, "", [0, b"", 0, [], []],
      [[0, "x-a", []], [1, "x-b", [[0, "a%"], [4, ""]]], [2, "x-c", [[12, "user-agent"]]]], []]),
    ("response: {status: 200}, response_headers: {set: {x-b: '%TRACE_ID%'}}",
     [None, "", [0, b"", 0, [], []], [], [[1, "x-b", [[0, "-"]]]]]),
])
def test_what_a_route_does(text, acts):
    listener = f"{{name: web, address: 127.0.0.1:1, routes: [{{match: {{prefix: /api}}, {text}}}]}}"
    made = snapshot(f"listeners: [{listener}]\nclusters: [{{name: one, endpoints: []}}]\n")
    assert made[4][0][9][0][12] == acts


@pytest.mark.parametrize(("sticky", "names"), [("", ["", ""]), (", sticky: {header: X-U}", ["x-u", ""]),
                                               (", sticky: {cookie: U}", ["", "U"])])
def test_a_split(sticky, names):
    route = f"{{match: {{}}, clusters: {{two: 90, one: 10}}{sticky}}}"
    listener = f"{{name: web, address: 127.0.0.1:1, routes: [{route}]}}"
    made = snapshot(f"listeners: [{listener}]\nclusters: [{{name: one, endpoints: []}}, {{name: two, endpoints: "
                    f"[]}}]\n")
    found = made[4][0][9][0]
    assert (found[6], found[7], found[13]) == (-1, 0, [[[1, 90], [0, 10]], *names])
