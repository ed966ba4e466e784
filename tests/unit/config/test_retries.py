"""Rules for further attempts as a file has them: what they mean, and what they must not say."""

from typing import Any

import pytest

from fastmesh.config.load import load_text
from fastmesh.errors import ConfigError
from fastmesh.snapshot.retries import retries

HEAD = "listeners:\n  - name: web\n    address: 127.0.0.1:8080\n"
TAIL = "clusters:\n  - {name: app, endpoints: ['127.0.0.1:9000']}\n"
CONNECT, RESET, PROTOCOL, TIMEOUT = 1 << 1 | 1 << 2, 1 << 3, 1 << 4, 1 << 6
MS = 1_000_000


def text(route: str = "", listener: str = "") -> str:
    return (f"{HEAD}{''.join(f'    {line}' + chr(10) for line in listener.splitlines())}    routes:\n"
            f"      - {{match: {{prefix: /}}, cluster: app{route}}}\n{TAIL}")


def rule(said: str) -> list[Any]:
    rules, uses, budgets = retries(load_text(text(f", retry: {said}"), env={}).config)
    assert uses == [[0, 0, 0]] and budgets == []
    return list(rules[0])


def problems(whole: str) -> list[tuple[int, int, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_text(whole, env={})
    return [(problem.line, problem.column, problem.reason, problem.hint) for problem in caught.value.problems]


def test_the_defaults() -> None:
    assert rule("{}") == [2, CONNECT | RESET, [503], [], 25 * MS, 250 * MS, 25_000 * MS, 0, False, True, False, 0]


@pytest.mark.parametrize(("on", "faults", "statuses"), [
    ("[connect-failure]", CONNECT, []), ("[reset]", RESET, []), ("[protocol-error]", PROTOCOL, []),
    ("[gateway-error]", CONNECT | RESET | PROTOCOL | TIMEOUT, [502, 503, 504]),
    ("[5xx]", CONNECT | RESET | PROTOCOL | TIMEOUT, list(range(500, 600))), ("[retriable-4xx]", 0, [409]),
    ("[429, 503, '429']", 0, [429, 503])])
def test_conditions(on: str, faults: int, statuses: list[int]) -> None:
    assert rule(f"{{on: {on}}}")[1:3] == [faults, statuses]


def test_a_limit_of_an_attempt_is_a_condition() -> None:
    found = rule("{on: [503], per_try_timeout: 200ms}")
    assert (found[1], found[7]) == (TIMEOUT, 200 * MS)


def test_everything_else() -> None:
    assert rule("{on: [], headers: [X-Again], attempts: 8, backoff: {base: 1ms, max: 2ms}, retry_after_max: 0, "
                "non_idempotent: true, tell: false, of_retries: true}") == [
        8, 0, [], ["x-again"], MS, 2 * MS, 0, 0, True, False, True, 0]


def test_one_attempt_is_a_rule_with_nothing_in_it() -> None:
    assert rule("{attempts: 1}") == [1, 0, [], [], 25 * MS, 250 * MS, 25_000 * MS, 0, False, False, False, 0]


def test_conditions_of_grpc() -> None:
    found = rule("{on: [cancelled, deadline-exceeded, internal, resource-exhausted, unavailable]}")
    assert (found[1], found[2], found[11]) == (0, [], 1 << 1 | 1 << 4 | 1 << 8 | 1 << 13 | 1 << 14)


def test_a_limit_behind_this_proxy_says_so_in_a_field() -> None:
    assert rule("{on: [envoy-ratelimited], headers: [x-again]}")[3] == ["x-again", "x-envoy-ratelimited"]
    assert rule("{on: [envoy-ratelimited], headers: [x-envoy-ratelimited]}")[3] == ["x-envoy-ratelimited"]


def test_a_rule_stands_in_the_snapshot_once() -> None:
    config = load_text(HEAD + """\
    retry: {attempts: 3}
    routes:
      - {match: {prefix: /a}, cluster: app}
      - {match: {prefix: /b}, response: {status: 200}}
      - {match: {prefix: /c}, cluster: app, retry: {attempts: 1}}
      - {match: {prefix: /}, clusters: {app: 1}}
clusters:
  - {name: other, endpoints: []}
  - {name: app, endpoints: ['127.0.0.1:9000'], retry_budget: {share: 5%}}
""", env={}).config
    rules, uses, budgets = retries(config)
    assert [record[0] for record in rules] == [3, 1]
    assert uses == [[0, 0, 0], [0, 2, 1], [0, 3, 0]]
    assert budgets == [[1, 50_000, 10]]


def test_without_any_rule() -> None:
    assert retries(load_text(text(), env={}).config) == [[], [], []]


@pytest.mark.parametrize(("whole", "place", "reason", "hint"), [
    (text(", timeout: 500ms, retry: {per_try_timeout: 500ms}"), "500ms}",
     "one attempt may take 500ms, and the whole request only 500ms: there is never another attempt",
     "make per_try_timeout the smaller one, small enough for two attempts"),
    (text(", timeout: 1s", "retry: {per_try_timeout: 2s}"), "1s}",
     "one attempt may take 2s, and the whole request only 1s: there is never another attempt", None),
    (text("", "timeouts: {request: 1s}\nretry: {per_try_timeout: 2s}"), "2s}",
     "one attempt may take 2s, and a whole request only 1s: there is never another attempt", None),
    (text(", retry: {attempts: 1, on: [503]}"), "on: [503]",
     "attempts is 1, so there is no further one that on could be about", "remove on, or make attempts larger"),
    (text(", retry: {on: [timeout]}"), "timeout]",
     "no attempt is ever too slow, as there is no per_try_timeout", "add per_try_timeout, or remove timeout"),
    (text(", retry: {on: []}"), "on: []", "the list is empty: nothing is tried again",
     "name what is, as on: [reset, 503], or write attempts: 1"),
    (text(", retry: {backoff: {base: 1s}}"), "1s}", "backoff.base is 1s, more than backoff.max, 250ms",
     "make backoff.max the larger one"),
    (text(", retry: {on: [refused-stream]}"), "refused-stream", None, "write connect-failure"),
    (text(", retry: {on: [retriable-headers]}"), "retriable-headers", None, "name them in headers"),
    (text(", retry: {on: [gateway-eror]}"), "gateway-eror", None, "write gateway-error"),
    (text(", retry: {on: [200]}"), "200]", None, None), (text(", retry: {on: [600]}"), "600]", None, None),
    (text(", retry: {on: [true]}"), "true]", None, None), (text(", retry: {on: [0503]}"), "0503]", None, None),
    (text(", retry: {attempts: 0}"), "0}", None, None), (text(", retry: {attempts: 9}"), "9}", None, None),
    (text(", retry: {per_try_timeout: 0}"), "0}", None, None),
    (text().replace("cluster: app", "response: {status: 200}, retry: {}"), "retry: {}",
     "the route has a response, so nothing is tried", "remove retry"),
    (HEAD + "    protocol: tcp\n    cluster: app\n    retry: {}\n" + TAIL, "retry: {}",
     "a tcp listener has no requests to try again", None),
    (text().replace("endpoints", "retry_budget: {share: 101%}, endpoints"), "101%", None, None),
])
def test_what_contradicts_itself(whole: str, place: str, reason: str | None, hint: str | None) -> None:
    found = problems(whole)
    assert len(found) == 1
    line, column = found[0][:2]
    assert whole.splitlines()[line - 1][column - 1:].startswith(place), found
    if reason is not None:
        assert found[0][2] == reason
    if hint is not None:
        assert found[0][3] == hint


def test_a_long_list_of_routes_is_told_of_a_listeners_rule_once() -> None:
    routes = "".join(f"      - {{match: {{prefix: /{i}}}, cluster: app}}\n" for i in range(50))
    found = problems(f"{HEAD}    timeouts: {{request: 1s}}\n    retry: {{per_try_timeout: 2s}}\n    routes:\n"
                     f"{routes}{TAIL}")
    assert len(found) == 1
