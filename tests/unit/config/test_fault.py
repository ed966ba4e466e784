"""Faults of routes: what may be written, and what is said when it may not."""

import pytest

from fastmesh.config.load import load_text
from fastmesh.errors import ConfigError

TEXT = """listeners:
  - name: in
    address: 127.0.0.1:1
    routes:
      - match: {{prefix: /}}
        {where}
        faults: {faults}
clusters:
  - name: app
    endpoints: [127.0.0.1:2]
"""


def problems(faults: str, where: str = "cluster: app") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(TEXT.format(faults=faults, where=where), "f", {})
    return [str(problem) for problem in caught.value.problems]


def test_what_is_written() -> None:
    text = TEXT.format(faults="[{delay: 200ms}, {abort: 503, match: {share: 1%, methods: [GET]}}]",
                       where="cluster: app")
    slow, broken = load_text(text, "f", {}).config.listeners[0].routes[0].faults
    assert (slow.delay, slow.abort, slow.match) == (200_000_000, None, None)
    assert broken.abort == 503 and broken.match is not None and broken.match.share == 10_000


def test_all_that_one_may_have() -> None:
    text = TEXT.format(faults="[{grpc_status: unavailable, request_bandwidth: 1KiB/s, max_active: 7}, "
                              "{from_headers: true}, {grpc_status: 16}]", where="cluster: app")
    one, asked, last = load_text(text, "f", {}).config.listeners[0].routes[0].faults
    assert (one.grpc_status, one.request_bandwidth, one.max_active, one.from_headers) == (14, 1024, 7, False)
    assert asked.from_headers and last.grpc_status == 16
    assert one.model_dump(mode="json")["grpc_status"] == "UNAVAILABLE"


@pytest.mark.parametrize(("faults", "why"), [
    ("[{}]", "f:7:18: listeners[0].routes[0].faults[0]: the fault does nothing, allowed: delay, abort, "
     "bandwidth, or several of them"),
    ("[{match: {share: 5%}}]", "f:7:18: listeners[0].routes[0].faults[0]: the fault does nothing"),
    ("[{delay: 10m}]", "f:7:26: listeners[0].routes[0].faults[0].delay: found '10m', allowed: from 1ms to 5m"),
    ("[{abort: 101}]", "f:7:26: listeners[0].routes[0].faults[0].abort: found '101', allowed: a"),
    ("[{bandwidth: 64KiB}]", "f:7:30: listeners[0].routes[0].faults[0].bandwidth: found '64KiB', allowed: a size a "
     "second from 16B/s to 1GiB/s, as 64KiB/s"),
    ("[{bandwidth: 64kb/s}]", "f:7:30: listeners[0].routes[0].faults[0].bandwidth: found '64kb/s', allowed: a size a "
     "second from 16B/s to 1GiB/s, as 64KiB/s"),
    ("[{bandwidth: 15B/s}]", "f:7:30: listeners[0].routes[0].faults[0].bandwidth: found '15B/s'"),
    ("[{bandwidth: 0/s}]", "f:7:30: listeners[0].routes[0].faults[0].bandwidth: found '0/s'"),
    ("[{delay: 1s, match: {prefix: /a, path: /b}}]",
     "f:7:50: listeners[0].routes[0].faults[0].match.path: the match has both a prefix and a path"),
    ("[{delay: 1s, abort: 503, share: 5%}]", "f:7:42: listeners[0].routes[0].faults[0]: unknown key 'share'"),
    ("[{grpc_status: OK}]", "f:7:32: listeners[0].routes[0].faults[0].grpc_status: found 'OK', allowed: a status of "
     "gRPC but OK, as UNAVAILABLE, or its number from 1 to 16"),
    ("[{grpc_status: 17}]", "f:7:32: listeners[0].routes[0].faults[0].grpc_status: found '17'"),
    ("[{abort: 503, grpc_status: 14}]",
     "f:7:31: listeners[0].routes[0].faults[0].grpc_status: the fault has both an abort and a grpc_status"),
    ("[{from_headers: true, delay: 1s}]",
     "f:7:39: listeners[0].routes[0].faults[0].delay: the fault does what the request asks for, and has a delay of"),
    ("[{from_headers: false}]", "f:7:18: listeners[0].routes[0].faults[0]: the fault does nothing"),
    ("[{max_active: 5}]", "f:7:18: listeners[0].routes[0].faults[0]: the fault does nothing"),
    ("[" + ", ".join(["{abort: 500}"] * 9) + "]",
     "f:7:17: listeners[0].routes[0].faults: found a longer list, allowed: at most 8 items"),
])
def test_what_may_not_be_written(faults: str, why: str) -> None:
    (found,) = problems(faults)
    assert found.startswith(why)


def test_where_nobody_gets_the_request() -> None:
    (found,) = problems("[{delay: 1s}]", "response: {status: 204}")
    assert found.startswith("f:7:9: listeners[0].routes[0].faults: the route has a response, so nobody gets")


@pytest.mark.parametrize("text", ["64KiB", "64kb/s", "64k/s"])
def test_what_was_meant_by_a_bandwidth(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(TEXT.format(faults=f"[{{bandwidth: {text}}}]", where="cluster: app"), "f", {})
    assert caught.value.problems[0].hint == "write 64KiB/s"


def test_a_bandwidth_is_shown_as_it_is_written() -> None:
    (fault,) = load_text(TEXT.format(faults="[{bandwidth: 64KiB/s}]", where="cluster: app"), "f", {}
                         ).config.listeners[0].routes[0].faults
    assert fault.bandwidth == 65_536 and fault.model_dump(mode="json")["bandwidth"] == "64KiB/s"
