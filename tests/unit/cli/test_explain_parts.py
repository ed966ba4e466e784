"""What `fastmesh explain` says of the things that a request meets, and where they stand."""

from pathlib import Path

import pytest

from fastmesh.cli.main import main

CONFIG = """\
overload: {header: x-priority}
rate_limits:
  - {name: shared, rate: 100/s, burst: 200, key: [client_address, header x-tenant]}
filters:
  - {name: ids, use: request-id, match: {prefix: /api}}
listeners:
  - name: web
    address: 127.0.0.1:8080
    rate_limits:
      - shared
      - {name: posts, rate: 5/m, match: {methods: [POST]}, dry_run: true}
    filters:
      - ids
      - {use: request-id, match: {hosts: [other], share: 10%}}
    timeouts: {request: 10s}
    deadlines: {header: x-ms, send: false}
    routes:
      - name: api
        match: {prefix: /api}
        clusters: {app: 1, next: 0}
        filters: [{use: cors, match: {share: 20%}, origins: ["https://shop.test"]}]
        rate_limits: [{name: own, rate: 3/s, status: 503, match: {headers: {x-a: "1"}, share: 50%}}]
        request_headers: {set: {x-client: "%REQUEST_ID%"}, remove: [x-debug]}
        response_headers: {add: {x-served: "%UPSTREAM_HOST%"}}
        priority: high
        faults:
          - {delay: 2s, match: {share: 5%, methods: [GET]}}
          - {abort: 503, match: {headers: {x-fail: "1"}}}
        mirrors:
          - {cluster: next, match: {prefix: /api/x}}
      - {match: {path: /own}, response: {status: 200}, response_headers: {remove: [server]}}
      - {match: {prefix: /}, cluster: next}
  - {name: db, address: 127.0.0.1:8082, protocol: tcp, cluster: next, limits: {connections: 10}}
clusters:
  - name: app
    load_balancer: maglev
    filters: [{use: request-id}]
    balancing:
      hash: {keys: [{header: x-user}, {cookie: home, ttl: 1h}, {query: q}, {source: true}], load_bound: 125%}
      sticky: {cookie: seat, secret: 0123456789abcdef0123}
      panic_threshold: 50%
      spill_below: 60%
    max_requests: 100
    outlier: {base: 10s}
    adaptive: {}
    admission: {}
    high_priority_reserve: 10%
    endpoints: ["127.0.0.1:9000", {address: "127.0.0.1:9001", priority: 1}]
  - name: next
    balancing: {slow_start: {window: 30s}}
    health_check: {http: {path: /up}}
    outlier: {enabled: false}
    endpoints: ["127.0.0.1:9002"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.yaml"
    path.write_text(CONFIG)
    return path


def said(file: Path, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[str]:
    assert main(["explain", str(file), *arguments]) == code
    return capsys.readouterr().out.replace(str(file), "f").splitlines()


def test_limits_and_filters(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(file, capsys, "GET", "/api/x", "--listener", "web")
    assert lines[2:8] == [
        "rate limits of the listener, which may refuse the request before all else:",
        "  shared (f:3): 100/s, at most 200 at once, for each client_address, header x-tenant, else 429; counts this "
        "request",
        "  posts (f:11): 5/m, at most 5 at once, for all together, only tells (dry_run); not this request: the method "
        "GET is none of POST",
        "filters of the listener (what they change is not known here):",
        "  ids, request-id (f:5): is asked",
        "  request-id (f:14): is not asked: the host is none of other"]
    at = lines.index("rate limits of the route, which may refuse the request:")
    assert lines[at + 1:at + 6] == [
        "  own (f:22): 3/s, at most 3 at once, for all together, else 503; not this request: the header x-a is not "
        "exact '1'",
        "filters of the route (what they change is not known here):",
        "  cors (f:21): is asked, 20% of such requests, by chance",
        "filters of the cluster app (what they change is not known here):", "  request-id (f:37): is asked"]


def test_whether_a_match_takes_this_request(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(file, capsys, "POST", "http://other/api/y", "--listener", "web", "-H", "x-a: 1", "-H", "x-fail: 1")
    for line in ("  request-id (f:14): is asked, 10% of such requests, by chance",
                 "  own (f:22): 3/s, at most 3 at once, for all together, else 503; counts this request, 50% of such "
                 "requests, by chance",
                 "fault (f:27): 5% of the requests that its match takes wait 2s; not this one: the method POST is none "
                 "of GET",
                 "fault (f:28): all requests that its match takes get 503; it takes this one",
                 "mirror (f:30): all requests that its match takes are copied to next; not this one: the path does not "
                 "begin with /api/x"):
        assert line in lines, lines
    torn = said(file, capsys, "GET", "/api/y", "--listener", "web", "-H", "x-a: 1", "-H", "x-a: 2")
    assert any(line.endswith("counts this request, in one of the ways in which it can be read, 50% of such requests, "
                             "by chance") for line in torn), torn
    torn = said(file, capsys, "GET", "/z;/..%2fapi/x", "--listener", "web", code=1)
    assert "  ids, request-id (f:5): is asked, perhaps, as its path can be read in two ways" in torn, torn


def test_edits_priority_and_times(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(file, capsys, "GET", "/api", "--listener", "web")
    at = lines.index("request headers (f:23): remove x-debug; set x-client: %REQUEST_ID%")
    assert lines[at + 1:at + 6] == [
        "response headers (f:24): add x-served: %UPSTREAM_HOST%", "priority (f:25): high",
        "  the header x-priority says another priority, from trusted_clients (f:1)", "timeout (f:15): 10s",
        "deadline (f:16): the client's own limit holds too, by grpc-timeout, x-envoy-expected-rq-timeout-ms, x-ms; "
        "upstreams are not told what is left"]
    lines = said(file, capsys, "GET", "/own", "--listener", "web")
    assert lines[-2:] == ["answer 200, the response of the route", "response headers (f:31): remove server"]


def test_a_cluster(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(file, capsys, "GET", "/api", "--listener", "web")
    assert lines[lines.index("cluster app (f:35), maglev"):] == [
        "cluster app (f:35), maglev",
        "  sessions stay where they began (f:40): the cookie seat says where, before anything else",
        "  hash keys (f:39): the header x-user, else the cookie home, set for 1h where it is missing, else the "
        "parameter q, else the client's address, else any endpoint, each at most 125% of its share in flight",
        "  panic (f:41): with less than 50% of them usable, all are asked",
        "  with less than 60% of a group usable (f:42), the next gets what is missing",
        "  group 1 of 2:", "  127.0.0.1:9000  weight 1  100 %", "  group 2 of 2:",
        "  127.0.0.1:9001  weight 1  100 %",
        "  ejected (f:44): who has 7 server_errors, 5 gateway_errors, 3 connect_failures, 5 timeouts in a row",
        "    or by success_rate, failure_percentage in 10s; out for 10s, at most 34% or one at a time",
        "  limits: max_requests 100 (f:43), max_pending 1,024, max_cluster_connections 10,000, max_retries 500",
        "    and what each worker finds (f:45): 10 to 1,000 requests in flight",
        "    and (f:46), with less than 95% of good answers, by chance, up to 80%",
        "    10% of max_requests and max_pending are for routes with priority: high (f:47)"]


def test_a_tcp_listener(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(file, capsys, "--listener", "db")
    assert lines[:5] == [
        "listener db (f:33), 127.0.0.1:8082: TCP connections", "closed when nothing moves: after 1h",
        "connections: at most 10 in each worker", "cluster next (f:49), least_request",
        "  slow start (f:50): new endpoints come to their share in 30s, from 10% on"]
    assert lines[5] == "  127.0.0.1:9002  weight 1  100 %" and "  ejected (f:52): nobody" in lines
    assert any(line.startswith("  health checks (f:51): GET /up") for line in lines)
