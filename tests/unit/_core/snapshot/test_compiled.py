"""What the compiler of configurations writes is what the decoder reads: both sides of the contract, in one process."""

import pytest

from fastmesh.config.load import load_text
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry as Numbers
from probes.snapshot_probe import Request, Snapshot
from probes.wire import SECOND, registry

CONFIG = """
access_log:
  format: text
  template: "%START_TIME% %REQ(:METHOD)% %REQ(X-Id)% %RESPONSE_CODE%"
listeners:
- name: web
  address: 127.0.0.1:8080
  via: mesh
  limits: {head: 8KiB, request_line: 4KiB, header_count: 50, buffer: 32KiB}
  timeouts: {request: 7s, header: 2s}
  trusted_clients: [10.0.0.0/8, "2001:db8::/32", unix]
  routes:
  - match: {path: /healthz, methods: [GET, HEAD]}
    response: {status: 200, body: "ok"}
  - match: {prefix: /api, hosts: [api.example.com, "*.api.example.com", "[::1]"], headers: {X-Canary: "1", Host: h}}
    cluster: canary
    timeout: 3s
  - match: {prefix: /}
    cluster: app
- name: db
  address: "[::1]:5432"
  protocol: tcp
  direction: inbound
  cluster: app
clusters:
- name: app
  load_balancer: round_robin
  endpoints: [127.0.0.1:9000, {address: "[::1]:9001", weight: 3}, "unix:/run/app.sock"]
- name: canary
  endpoints: []
"""


def compiled(text: str) -> bytes:
    return compile(load_text(text).config, 5, Numbers())[0]


def test_a_compiled_configuration_is_taken():
    with registry() as r:
        s = Snapshot(compiled(CONFIG), r)
        got = s.dump()
        web, db = got["listeners"]
        assert (web["name"], web["via"], web["limits"][0], web["limits"][2], web["limits"][11]) == (
            b"web", b"mesh", 8192, 50, 32768)
        assert (web["limits"][3], web["limits"][7]) == (2 * SECOND, 7 * SECOND)
        assert [(family, bits) for family, bits, _ in web["trusted"]] == [(4, 8), (6, 32), (1, 0)]
        assert (db["protocol"], db["inbound"], db["cluster"]) == (1, 1, 0)
        health, api, rest = web["routes"]
        assert (health["path_kind"], health["status"], health["body"], health["cluster"]) == (1, 200, b"ok", -1)
        assert (api["timeout"], api["cluster"]) == (3 * SECOND, 1)
        assert api["hosts"] == [b"api.example.com", b"*.api.example.com", b"::1"]
        assert sorted(header[:3] for header in api["headers"]) == [(b"host", b"h", 1), (b"x-canary", b"1", 0)]
        assert (rest["path"], rest["timeout"], rest["cluster"]) == (b"/", 7 * SECOND, 0)
        app, canary = got["clusters"]
        assert [(text, weight) for _, text, weight, _ in app["endpoints"]] == [
            (b"127.0.0.1:9000", 1), (b"[::1]:9001", 3), (b"unix:/run/app.sock", 1)]
        assert (app["ops"], canary["ops"], canary["endpoints"]) == ("round_robin", "least_request", [])
        assert (2, 0, b"") in got["log_ops"] and (12, 0, b"x-id") in got["log_ops"]
        fields = [(b"X-Canary", b"1"), (b"Host", b"h")]
        assert s.route(Request(b"GET", b"[::1]:8080", b"/api/x", fields)) == 1
        assert s.route(Request(b"HEAD", b"", b"/healthz", [])) == 0
        s.close()


@pytest.mark.parametrize("limits", [
    "head: 1KiB, request_line: 256B, header_count: 1, requests_per_connection: 0, connections: 0, buffer: 4KiB",
    "head: 63KiB, request_line: 63KiB, header_count: 240, requests_per_connection: 4294967295, "
    "connections: 4294967295, buffer: 16MiB"])
@pytest.mark.parametrize("timeout", ["0", "8760h"])
@pytest.mark.parametrize("weight", [1, 2**31 - 1])
def test_the_ends_of_what_a_configuration_allows_are_taken(limits, timeout, weight):
    text = f"""
listeners:
- name: {"n" * 127}
  address: 127.0.0.1:8080
  via: {"v" * 255}
  limits: {{{limits}}}
  timeouts: {{header: {timeout}, body_idle: {timeout}, keepalive_idle: {timeout}, request: {timeout},
              tcp_idle: {timeout}}}
  routes:
  - name: {"r" * 127}
    match: {{path: "*", methods: [{"M" * 64}], headers: {{{"h" * 256}: "v"}}}}
    response: {{status: 599, body: "{"b" * 65536}"}}
  - match: {{prefix: /, hosts: [{"a" * 63}.{"b" * 63}, "*"]}}
    cluster: {"c" * 127}
clusters:
- name: {"c" * 127}
  idle_timeout: {timeout}
  max_connections: 4294967295
  connect_attempts: 8
  avoid: {{base: 1ms, max: 24h}}
  endpoints: [{{address: "unix:/{"u" * 105}", weight: {weight}}}]
"""
    with registry() as r:
        Snapshot(compiled(text), r).close()
