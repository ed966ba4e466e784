"""What a fallback may say, what it may not, and what `explain` says of it."""

from pathlib import Path
from typing import Any

import pytest

from fastmesh.cli.main import main
from fastmesh.config.fallback import escape_of, statuses_of
from fastmesh.config.load import load_text
from fastmesh.errors import ConfigError
from fastmesh.snapshot.fallbacks import fallbacks

CLUSTERS = "clusters: [{name: a, endpoints: ['127.0.0.1:1']}, {name: b, endpoints: ['127.0.0.1:2']}]"


def text_of(fallback: str, route: str = "match: {prefix: /api}, cluster: a") -> str:
    return (f"listeners:\n  - name: web\n    address: 127.0.0.1:8080\n    routes:\n"
            f"      - {{{route}, fallback: {fallback}}}\n      - {{match: {{prefix: /b}}, cluster: b}}\n{CLUSTERS}\n")


def chains(fallback: str, route: str = "match: {prefix: /api}, cluster: a") -> list[Any]:
    found: list[Any] = fallbacks(load_text(text_of(fallback, route), "x", {}).config, {"a": 0, "b": 1})
    return found


@pytest.mark.parametrize(("fallback", "route", "said"), [
    ("[{cluster: a}]", None, "'a' is the route's own cluster"),
    ("[{cluster: a}]", "match: {prefix: /x}, clusters: {a: 1}", "'a' is the route's own cluster"),
    ("[{cluster: c}]", None, "there is no cluster 'c'"), ("[{}]", None, "the step does nothing"),
    ("[{cluster: b, stale: {}}]", None, "both a cluster and a stale"),
    ("[{response: {status: 200}}, {cluster: b}]", None, "the step is never reached"),
    ("[{response: {status: 200}, on: [5xx]}, {cluster: b, on: [timeout, 500-503]}]", None, "the step is never reached"),
    ("[{stale: {}}, {stale: {}, on: [429]}]", None, "the copies are asked already"),
    ("[{stale: {}}]", "match: {prefix: /x, methods: [POST]}, cluster: a", "there is never a copy"),
    ("[{stale: {}, timeout: 1s}]", None, "timeout is of a step with a cluster"),
    ("[{stale: {max_body: 1MiB, max_bytes: 64KiB}}]", None, "all copies together only 64KiB"),
    ("[{cluster: b, rewrite: {prefix: /v}}]", "match: {path: /x}, cluster: a", "there is no prefix"),
    ("[{cluster: b, rewrite: {prefix: /v, path: /w}}]", None, "both a prefix and a path"),
    ("[{response: {status: 204, body: x}}]", None, "status 204 has no body"),
    ("[{response: {status: 200}}]", "match: {prefix: /x}, response: {status: 200}", "so nothing fails"),
    ("[{on: [], stale: {}}]", None, "on"), ("[{on: [499-400], stale: {}}]", None, "499-400"),
    ("[{on: [399], stale: {}}]", None, "399"), ("[{on: [breaker-open], stale: {}}]", None, "write overflow"),
    ("[{response: {status: 200, body: '%BYTES_SENT%'}}]", None, "%BYTES_SENT%"),
    ("[{response: {status: 200, body: '100% of it'}}]", None, "write %% for the character % itself"),
    ("[{response: {status: 200, headers: {connection: close}}}]", None, "connection"),
    (f"[{', '.join(['{cluster: b}'] * 9)}]", None, "8")])
def test_what_is_refused(fallback: str, route: str | None, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text_of(fallback, route) if route else text_of(fallback), "x", {})
    assert any(said in f"{problem.reason} {problem.allowed} {problem.hint}" for problem in caught.value.problems), (
        caught.value.problems)


def test_a_tcp_listener_has_none() -> None:
    with pytest.raises(ConfigError, match="a tcp listener has no requests"):
        load_text(f"listeners: [{{name: t, address: 127.0.0.1:1, protocol: tcp, cluster: a, fallback: "
                  f"[{{stale: {{}}}}]}}]\n{CLUSTERS}", "x", {})


@pytest.mark.parametrize(("condition", "found"), [
    ("503", (503,)), ("500-502", (500, 501, 502)), ("400-599", tuple(range(400, 600))), ("600", None), ("5xx", None),
    ("503-502", None), ("50", None), ("-1", None), ("\u0665\u0660\u0663", None)])
def test_statuses(condition: str, found: tuple[int, ...] | None) -> None:
    assert statuses_of(condition) == found


@pytest.mark.parametrize(("kind", "how"), [
    ("application/json", 1), ("application/problem+json; charset=utf-8", 1), ("TEXT/HTML", 2), ("image/svg+xml", 2),
    ("text/plain", 0), ("text/plain; x=json", 0)])
def test_how_values_are_escaped(kind: str, how: int) -> None:
    assert escape_of(kind) == how


def test_the_record_of_a_chain() -> None:
    found = chains("[{cluster: b, on: [timeout, 501], rewrite: {prefix: /v}}, {stale: {}}, "
                   "{response: {status: 200, body: \"a\\n%PROTOCOL%\"}}]")
    [cluster, stale, response], = found[0]
    assert cluster == [1, 1 << 5, [501], [1, False, 0, "", "", "/api", "/v", []]]
    assert stale[:3] == [2, 127, [502, 503, 504]] and stale[3][0] == "web/route-0"
    assert response[3] == [200, "text/plain; charset=utf-8", 0, [], [[0, b"a\n"], [4, ""]]]
    assert found[1] == [[0, 0, 0]]


def test_a_listener_s_chain_is_one_for_its_routes() -> None:
    config = load_text(f"listeners: [{{name: w, address: 127.0.0.1:1, fallback: [{{stale: {{}}}}], routes: ["
                       f"{{match: {{prefix: /1}}, cluster: a}}, {{match: {{prefix: /2}}, response: {{status: 200}}}}, "
                       f"{{match: {{prefix: /3}}, cluster: b, fallback: []}}, {{match: {{prefix: /}}, cluster: b}}]}}]"
                       f"\n{CLUSTERS}", "x", {}).config
    found, uses = fallbacks(config, {"a": 0, "b": 1})
    assert len(found) == 1 and found[0][0][3][0] == "w"
    assert uses == [[0, 0, 0], [0, 3, 0]]


def test_what_explain_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(text_of("[{cluster: b, timeout: 1s}, {stale: {}}, {on: [rate-limit], response: {status: 503}}]"))
    assert main(["explain", str(file), "POST", "/api/x"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("fallback")]
    assert lines == [
        f"fallback 1 of 3 ({file}:5), after gateway-error: cluster b, within 1s; as POST is not safe to repeat, only "
        "what was not sent",
        f"fallback 2 of 3 ({file}:5), after gateway-error: no copy, as there is none of POST",
        f"fallback 3 of 3 ({file}:5), after rate-limit: answer 503"]
