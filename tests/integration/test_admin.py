"""The admin API of a running sidecar."""

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from integration.harness import Origin, Sidecar, ask, cluster, config_of, free_port, http_listener, until

Start = Callable[..., Sidecar]


def test_ready_means_that_every_listener_accepts(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin), wait=False)

    def first_ready() -> bool:
        try:
            return one.admin("/ready").status == 200
        except ConnectionRefusedError:
            return False
    until(first_ready, seconds=20)
    assert ask(port, "/").text == "origin"      # no second try


def test_it_is_not_ready_while_no_worker_serves(sidecar: Start, origin: Origin) -> None:
    one = sidecar(config_of(free_port(), origin))
    for deaths in range(1, 5):
        pid = until(lambda: one.workers()[0]["state"] == "serving" and one.workers()[0]["pid"])
        os.kill(pid, signal.SIGKILL)
        one.wait_log("the next one starts", deaths)
    answer = one.admin("/ready")
    assert answer.status == 503
    assert answer.text == "no worker serves: all have died or hang, and are being replaced\n"
    until(one.is_ready)


def test_pages_are_what_they_say(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin, node={"service": "shop", "version": "v1"}))
    assert ask(port, "/").status == 200
    index = one.admin("/")
    assert index.headers["content-type"].startswith("text/plain")
    for path in ("/ready", "/live", "/metrics", "/stats", "/config", "/clusters", "/workers", "/reload", "/drain"):
        assert path in index.text
    assert "<table>" in one.admin("/", headers={"accept": "text/html"}).text
    assert one.admin("/live").status == 200
    assert one.admin("/config").json["node"]["service"] == "shop"
    found = one.admin("/clusters").json
    assert [c["name"] for c in found] == ["app"]
    endpoint = found[0]["endpoints"][0]
    assert endpoint["address"] == origin.address
    assert endpoint["health"] == "healthy"
    assert endpoint["total"] == 1
    assert endpoint["ewma_ms"] > 0
    assert endpoint["ejected"] is False
    stats = one.stats()
    assert stats["ready"] is True
    assert stats["globals"]["requests"] == 1
    assert stats["listeners"]["web"]["requests"] == 1
    assert {p["process"] for p in stats["processes"]} == {"control", "worker"}
    assert one.admin("/nothing").status == 404
    assert one.admin("/reload").status == 405
    assert one.admin("/ready", "POST").status == 405
    head = one.admin("/metrics", "HEAD")
    assert head.status == 200
    assert head.body == b""


def test_an_endpoint_that_cannot_be_reached_is_avoided(sidecar: Start, origin: Origin) -> None:
    port, dead = free_port(), free_port()
    config = config_of(port, origin)
    config["clusters"][0]["endpoints"].append(f"127.0.0.1:{dead}")
    config["clusters"][0]["load_balancer"] = "round_robin"
    one = sidecar(config)
    assert [ask(port, "/").status for _ in range(4)] == [200] * 4
    endpoints = {e["address"]: e for e in one.admin("/clusters").json[0]["endpoints"]}
    assert endpoints[f"127.0.0.1:{dead}"]["health"] == "avoided"
    assert endpoints[f"127.0.0.1:{dead}"]["connect_failures"] >= 1
    assert endpoints[origin.address]["health"] == "healthy"


def test_metrics_are_istios(sidecar: Start, origin: Origin) -> None:
    port, inbound, tcp, dead = free_port(), free_port(), free_port(), free_port()
    one = sidecar({
        "node": {"service": "shop", "version": "v1", "namespace": "sales", "workload": "shop-v1"},
        "listeners": [
            http_listener(port, "app"),
            http_listener(inbound, "app", name="in", direction="inbound"),
            {"name": "db", "address": f"127.0.0.1:{tcp}", "protocol": "tcp", "cluster": "app"},
            http_listener(dead, "dead", name="dead"),
        ],
        "clusters": [cluster("app", origin.address), cluster("dead", f"127.0.0.1:{free_port()}")],
    })
    for _ in range(3):
        assert ask(port, "/").status == 200
    assert ask(inbound, "/").status == 200
    assert ask(tcp, "/", headers={"connection": "close"}).status == 200
    assert ask(dead, "/").status == 503
    until(lambda: one.metrics()["fastmesh_downstream_connections"] == 0)
    found = one.metrics()

    def of(name: str, **labels: str) -> float:
        return sum(value for key, value in found.items()
                   if key.startswith(name + "{") and all(f'{k}="{v}"' in key for k, v in labels.items()))

    assert of("istio_requests_total", reporter="source", response_code="200", response_flags="-",
              source_canonical_service="shop", source_canonical_revision="v1", source_workload="shop-v1",
              source_workload_namespace="sales", destination_service_name="app", request_protocol="http",
              connection_security_policy="unknown") == 3
    assert of("istio_requests_total", reporter="destination", response_code="200",
              destination_canonical_service="shop", destination_workload="shop-v1", source_workload="unknown",
              connection_security_policy="none") == 1
    failed = {key for key in found if key.startswith("istio_requests_total") and 'response_code="503"' in key}
    assert len(failed) == 1
    assert "UF" in failed.pop()
    assert of("istio_request_duration_milliseconds_count", response_code="200") == 4
    assert of("istio_request_bytes_count", response_code="200") == 4
    assert of("istio_response_bytes_sum", response_code="200", reporter="destination") > 0
    assert of("istio_tcp_connections_opened_total", reporter="source", destination_service_name="app") == 1
    assert of("istio_tcp_connections_closed_total") == 1
    assert of("istio_tcp_sent_bytes_total") > 0
    assert of("istio_tcp_received_bytes_total") > 0
    assert of("fastmesh_upstream_time_seconds_count", cluster="app") >= 4
    assert of("fastmesh_proxy_time_seconds_count", cluster="app") >= 4
    assert of("fastmesh_cluster_responses_total", cluster="app", code_class="2xx") == 4
    assert of("envoy_cluster_upstream_rq_total", cluster_name="app") >= 4
    assert found["envoy_server_uptime"] > 0
    assert found["fastmesh_snapshot_version"] == 1


def test_a_tcp_connection_is_counted_once(sidecar: Start, origin: Origin) -> None:
    """Also one whose endpoint cannot be reached."""
    port, dead = free_port(), free_port()
    one = sidecar({"listeners": [{"name": name, "address": f"127.0.0.1:{at}", "protocol": "tcp", "cluster": name}
                                 for name, at in (("db", port), ("dead", dead))],
                   "clusters": [cluster("db", origin.address), cluster("dead", f"127.0.0.1:{free_port()}")]})

    def count(what: str, name: str) -> float:
        return sum(value for key, value in one.metrics().items()
                   if key.startswith(f"istio_tcp_connections_{what}_total{{")
                   and f'destination_service="{name}"' in key)

    with socket.create_connection(("127.0.0.1", port)):
        until(lambda: count("opened", "db") == 1)
        assert count("closed", "db") == 0
    until(lambda: count("closed", "db") == 1)
    with socket.create_connection(("127.0.0.1", dead)) as client, contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""
    until(lambda: count("closed", "dead") == 1)
    assert (count("opened", "db"), count("opened", "dead")) == (1, 1)


def test_no_counter_goes_back(sidecar: Start, origin: Origin) -> None:
    """Not when a worker dies, nor when it is replaced, nor when there are fewer of them."""
    port = free_port()
    one = sidecar(config_of(port, origin, workers=2))

    def settled() -> dict[str, float]:
        for _ in range(10):
            ask(port, "/")
        return {key: value for key, value in one.metrics().items()
                if key.partition("{")[0].endswith(("_total", "_count", "_sum", "_bucket"))}

    before = settled()
    for change in ("kill", "replace", "shrink", "grow", "reload"):
        if change == "kill":
            os.kill(one.worker_pids()[0], signal.SIGKILL)
            until(lambda: one.stats()["worker_restarts"] == 1)
        elif change == "replace":
            assert one.admin("/workers/1/replace", "POST").status == 200
        elif change == "shrink":
            one.reload(config_of(port, origin, workers=1))
        elif change == "grow":
            one.reload(config_of(port, origin, workers=3))
            until(lambda: len(one.worker_pids()) == 3)
        else:
            one.reload()
        after = settled()
        assert {key for key, value in before.items() if after.get(key, -1) < value} == set(), change
        before = after


def test_what_is_removed_keeps_its_counts_under_its_labels(sidecar: Start, origin: Origin) -> None:
    port, other = free_port(), free_port()
    less = config_of(port, origin)
    more = {"listeners": [*less["listeners"], http_listener(other, "past", name="in", direction="inbound"),
                          http_listener(free_port(), "past", name="out")],
            "clusters": [*less["clusters"], cluster("past", origin.address)]}
    one = sidecar(more)
    ask(port, "/")
    ask(other, "/")
    ask(int(more["listeners"][2]["address"].rpartition(":")[2]), "/")

    def counts() -> dict[str, float]:
        return {key: value for key, value in one.metrics().items() if key.startswith("istio_")}

    before = counts()
    assert any('destination_service="past"' in key for key in before)
    assert sum(value for key, value in before.items() if key.startswith("istio_requests_total")) == 3
    for config in (less, more, less):
        one.reload(config)
        assert counts() == before


def test_requests_that_a_web_page_could_send_are_refused(sidecar: Start, origin: Origin) -> None:
    one = sidecar(config_of(free_port(), origin))
    assert one.admin("/stats", headers={"host": "evil.example"}).status == 403
    assert one.admin("/reload", "POST", headers={"origin": "http://evil.example"}).status == 403
    assert one.admin("/drain", "POST", headers={"sec-fetch-site": "cross-site"}).status == 403
    assert one.admin("/stats", headers={"host": f"localhost:{one.admin_port}"}).status == 200
    assert one.is_ready()


def test_hostile_clients_do_not_stop_it(sidecar: Start, origin: Origin) -> None:
    one = sidecar(config_of(free_port(), origin))
    for raw in (b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 5000, b"GET /" + b"a" * 20000,
                b"POST /reload HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99999999\r\n\r\n" + b"x" * 100_000,
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", one.admin_port), timeout=5) as client:
            try:
                client.sendall(raw)
                answer = client.recv(4096)
            except ConnectionError:
                continue
            assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), (raw[:40], answer)
    idle = [socket.create_connection(("127.0.0.1", one.admin_port), timeout=5) for _ in range(100)]
    assert idle[-1].recv(100).startswith(b"HTTP/1.1 503")
    for sock in idle:
        sock.close()
    until(one.is_ready)


def test_the_api_on_a_unix_socket(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    one = sidecar(config_of(free_port(), origin, admin={"address": f"unix:{path}"}), wait=False)
    until(lambda: "is ready after" in one.log, seconds=20)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert one.stop() == 0
    assert not path.exists()


def test_the_access_log_reaches_its_file_and_follows_rotation(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "access.log"
    one = sidecar(config_of(port, origin, access_log={"path": str(log)}))
    assert ask(port, "/first?x=1").status == 200
    until(lambda: log.exists() and log.read_text().count("\n") == 1)
    line = json.loads(log.read_text())
    assert line["path"] == "/first?x=1"
    assert line["response_code"] == 200
    log.rename(tmp_path / "access.log.1")
    one.signal(signal.SIGUSR1)
    one.wait_log("opens .* again")
    assert ask(port, "/second").status == 200
    until(lambda: log.exists() and "/second" in log.read_text())
    one.reload(config_of(port, origin))         # without a log
    assert ask(port, "/third").status == 200
    one.reload(config_of(port, origin, access_log={"path": str(tmp_path / "other.log")}))
    assert ask(port, "/fourth").status == 200
    assert one.stop() == 0
    assert "/fourth" in (tmp_path / "other.log").read_text()        # the last lines leave before the end
    assert "/third" not in log.read_text() + (tmp_path / "other.log").read_text()


def test_a_log_that_cannot_be_written_refuses_the_reload(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    one.write(config_of(port, origin, access_log={"path": str(tmp_path / "no" / "such" / "log")}))
    answer = one.admin("/reload", "POST")
    assert answer.status == 400
    assert "access log" in answer.text
    assert ask(port, "/").status == 200


def test_a_log_reader_that_hangs_costs_lines_not_requests(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    one = sidecar({"listeners": [{"name": "web", "address": f"127.0.0.1:{port}",
                                  "routes": [{"match": {"prefix": "/"}, "response": {"status": 204}}]}],
                   "access_log": {"path": str(pipe), "format": "text", "template": "%REQ(X)% " * 8}})
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        request = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 2000 + b"\r\n\r\n"
        for _ in range(150):        # 8 copies of 2,000 bytes each: more than the ring, the pipe and the sink hold
            client.sendall(request)
            assert client.recv(65536).startswith(b"HTTP/1.1 204")
    assert one.metrics()["fastmesh_log_dropped_total"] > 0
    assert one.admin("/ready").status == 200
    os.close(reader)
