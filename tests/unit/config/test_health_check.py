"""Health checks in a configuration: what is taken, what is refused and how, and what of it goes where."""

from typing import Any

import msgpack
import pytest

from fastmesh.config.load import load_text
from fastmesh.errors import ConfigError
from fastmesh.snapshot.checks import checks_record
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from fastmesh.snapshot.wire import CLUSTERS

HEAD = """\
listeners: [{name: web, address: "127.0.0.1:1", routes: [{match: {prefix: /}, cluster: app}]}]
clusters:
  - name: app
    endpoints: %s
    health_check: %s
"""


def loaded(check: str, endpoints: str = "['127.0.0.1:2']") -> Any:
    return load_text(HEAD % (endpoints, check), "x.yaml", {}).config.clusters[0]


def wrong(check: str, endpoints: str = "['127.0.0.1:2']") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(check, endpoints)
    return [f"{p.line}: {p.reason} | {p.allowed} | {p.hint}" for p in caught.value.problems]


def test_what_holds_where_nothing_is_said() -> None:
    assert checks_record(loaded("{http: {}}")) == {
        "http": ["GET", "/", "", [], [(200, 299)], [], b""], "tcp": None, "port": 0, "addresses": {}, "timeout": 1.0,
        "interval": 5.0, "unhealthy_interval": 5.0, "edge_interval": 1.0, "jitter": 0.1, "healthy": 2, "unhealthy": 3,
        "keep_alive": False, "end_ejection": True}


def test_all_that_can_be_said() -> None:
    cluster = loaded("""
      http: {method: POST, path: '/up?deep=1', host: 'a.b:80', headers: {X-Probe: '1'}, expect: [200, 204-206],
             retriable: [500-599], body: ready}
      port: 9100
      interval: 500ms
      unhealthy_interval: 2s
      timeout: 300ms
      jitter: 0%
      healthy: 1
      unhealthy: 5
      keep_alive: true
      close_connections: false
      end_ejection: false""", "[{address: '127.0.0.1:2', check_address: '127.0.0.1:3'}, '127.0.0.1:4']")
    assert checks_record(cluster) == {
        "http": ["POST", "/up?deep=1", "a.b:80", [["x-probe", "1"]], [(200, 200), (204, 206)], [(500, 599)], b"ready"],
        "tcp": None, "port": 9100, "addresses": {"127.0.0.1:2": "127.0.0.1:3"}, "timeout": 0.3, "interval": 0.5,
        "unhealthy_interval": 2.0, "edge_interval": 0.5, "jitter": 0.0, "healthy": 1, "unhealthy": 5,
        "keep_alive": True, "end_ejection": False}


def test_bytes_as_text_and_as_digits() -> None:
    record = checks_record(loaded('{tcp: {send: "PING\\r\\n", expect: "hex:2b504f4e47"}}'))
    assert record is not None and record["tcp"] == [b"PING\r\n", b"+PONG"]
    record = checks_record(loaded("{tcp: {}}"))
    assert record is not None and record["tcp"] == [b"", b""]


@pytest.mark.parametrize(("check", "bits"), [("{tcp: {}}", 3), ("{tcp: {}, close_connections: false}", 1)])
def test_what_workers_are_told(check: str, bits: int) -> None:
    config = load_text(HEAD % ("['127.0.0.1:2']", check), "x.yaml", {}).config
    assert msgpack.unpackb(compile(config, 1, Registry())[0])[CLUSTERS][0][18] == bits


@pytest.mark.parametrize(("check", "said"), [
    ("yes", "a mapping with http or tcp"),
    ("{}", "it does not say what is asked"),
    ("{interval: 1s}", "it does not say what is asked"),
    ("{http: {}, tcp: {}}", "there is http already"),
    ("{grpc: {}}", "grpc.health.v1 comes with HTTP/2"),
    ("{http: {path: healthz}}", "write /healthz"),
    ("{http: {path: '/a b'}}", "visible ASCII"),
    ("{http: {path: \"/a\\r\\nx: y\"}}", "visible ASCII"),
    ("{http: {host: \"a\\r\\nx: y\"}}", "a host name"),
    ("{http: {headers: {x: \"a\\nb\"}}}", "control characters"),
    ("{http: {headers: {Host: a}}}", "write http.host"),
    ("{http: {headers: {Content-Length: 5}}}", "is written by fastmesh itself"),
    ("{http: {expect: [2xx]}}", "write 200-299"),
    ("{http: {expect: [299-200]}}", "write 200-299"),
    ("{http: {expect: [600]}}", "from 100 to 599"),
    ("{http: {expect: []}}", "at least one item"),
    ("{http: {method: HEAD, body: ok}}", "an answer to HEAD has no body"),
    ("{tcp: {send: 'hex:0'}}", "an even number"),
    ("{tcp: {send: ''}}", "text of 1 to 1,024 bytes"),
    ("{tcp: {}, keep_alive: true}", "expects no bytes"),
    ("{tcp: {}, interval: 500ms}", "a check may take 1s, and the next is due after 500ms"),
    ("{tcp: {}, healthy: 0}", "from 1 to 1000"),
    ("{tcp: {}, port: 0}", "from 1 to 65535"),
    ("{tcp: {}, every: 1s}", "every"),
])
def test_contradictions(check: str, said: str) -> None:
    assert any(said in line for line in wrong(check)), wrong(check)


def test_a_path_has_no_port() -> None:
    assert "has no port" in wrong("{tcp: {}, port: 5}", "['unix:/run/a']")[0]
    assert loaded("{tcp: {}, port: 5}", "[{address: 'unix:/run/a', check_address: '127.0.0.1:5'}]")


def test_an_address_that_nobody_asks() -> None:
    with pytest.raises(ConfigError, match="the cluster has no health_check"):
        load_text(HEAD.replace("    health_check: %s\n", "")
                  % "[{address: '127.0.0.1:1', check_address: '127.0.0.1:2'}]", "x.yaml", {})
