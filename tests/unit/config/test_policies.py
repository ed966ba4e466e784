"""Policies that have a name: what is taken over, and what is said when that cannot be."""

import pytest

from fastmesh.config.load import load_text
from fastmesh.config.yaml_tree import MAX_VALUES
from fastmesh.errors import ConfigError

TEXT = """policies:
  - name: one
    listeners: {{via: edge}}
    routes: {one}
    clusters: {{max_pending: 5}}
  - {{name: two, routes: {{timeout: 2s}}}}
listeners:
  - name: in
    address: 127.0.0.1:1
    policies: [one]
    routes:
      - {{match: {{prefix: /}}, {route}}}
clusters:
  - {{name: app, endpoints: [127.0.0.1:2], policies: [one]{cluster}}}
"""


def text(one: str = "{timeout: 1s}", route: str = "cluster: app, policies: [one, two]", cluster: str = "") -> str:
    return TEXT.format(one=one, route=route, cluster=cluster)


def problems(whole: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(whole, "f", {})
    return [str(problem) for problem in caught.value.problems]


def test_each_part_is_taken_over() -> None:
    loaded = load_text(text(), "f", {})
    assert loaded.warnings == []
    (listener,), (cluster,) = loaded.config.listeners, loaded.config.clusters
    assert (listener.via, listener.routes[0].timeout, cluster.max_pending) == ("edge", 10**9, 5)
    assert (listener.policies, listener.routes[0].policies) == (["one"], ["one", "two"])


def test_the_first_that_has_a_key_counts_and_own_keys_before() -> None:
    def timeout(route: str) -> int | None:
        return load_text(text(route=f"cluster: app, {route}"), "f", {}).config.listeners[0].routes[0].timeout

    assert timeout("policies: [two, one]") == 2 * 10**9
    assert timeout("policies: [two, one], timeout: 3s") == 3 * 10**9
    assert timeout("policies: []") is None
    # An empty one of its own is its own.
    own = load_text(text("{faults: [{delay: 1s}]}", "cluster: app, policies: [one], faults: []"), "f", {})
    assert own.config.listeners[0].routes[0].faults == []


def test_aliases_of_one_who_takes_over() -> None:
    whole = """policies: [{name: one, routes: {timeout: 1s}}]
listeners:
  - {name: a, address: 127.0.0.1:1, routes: &r [{match: {prefix: /}, cluster: app, policies: [one]}]}
  - {name: b, address: 127.0.0.1:3, routes: *r}
clusters: [{name: app, endpoints: [127.0.0.1:2]}]
"""
    assert [listener.routes[0].timeout for listener in load_text(whole, "f", {}).config.listeners] == [10**9, 10**9]


def test_filters_and_limits_of_policies_are_those_of_who_takes_them() -> None:
    whole = """rate_limits: [{name: slow, rate: 1/s}]
policies: [{name: one, routes: {rate_limits: [slow], filters: [{use: request-id}]}}]
listeners:
  - name: a
    address: 127.0.0.1:1
    routes:
      - {match: {prefix: /a}, cluster: app, policies: [one]}
      - {match: {prefix: /}, cluster: app, policies: [one]}
clusters: [{name: app, endpoints: [127.0.0.1:2]}]
"""
    loaded = load_text(whole, "f", {})
    assert loaded.warnings == []
    assert [(route.rate_limits[0].name, route.filters[0].use) for route in loaded.config.listeners[0].routes] == [
        ("slow", "request-id")] * 2


@pytest.mark.parametrize(("whole", "why"), [
    (text(route="cluster: app, policies: [oen]"),
     "f:12:55: listeners[0].routes[0].policies[0]: there is no policy 'oen', allowed: one, two"),
    (text(cluster=", policies: [two]").replace("policies: [one], p", "p"),
     "f:14:54: clusters[0].policies[0]: the policy 'two' says nothing of clusters"),
    (text(route="cluster: app, policies: one"),
     "f:12:54: listeners[0].routes[0].policies: found 'one', allowed: a list"),
    (text(route="cluster: app, policies: [" + ", ".join(["one"] * 9) + "]"),
     "f:12:54: listeners[0].routes[0].policies: found a longer list, allowed: at most 8 items"),
    (text("{cluster: app}"), "f:4:14: policies[0].routes: unknown key 'cluster', allowed: "),
    (text("{name: a}"), "f:4:14: policies[0].routes: unknown key 'name', allowed: "),
    (text("{policies: [two]}"), "f:4:14: policies[0].routes: unknown key 'policies', allowed: "),
    (text("{rate_limits: [{name: x, rate: 1/s}]}"),
     "f:4:28: policies[0].routes.rate_limits[0]: a policy cannot have a rate limit in place"),
    (text().replace("name: two", "name: one"),
     "f:6:12: policies[1].name: the name 'one' is taken by policies[0] on line 2"),
    (text("{faults: [{delay: 1s}]}", "response: {status: 204}, policies: [one]"),
     "f:4:14: listeners[0].routes[0].faults: the route has a response, so nobody gets the request"),
])
def test_what_cannot_be(whole: str, why: str) -> None:
    assert problems(whole)[0].startswith(why)


def test_a_fault_of_a_policy_is_told_once() -> None:
    (found,) = problems(text("{timeout: soon}"))
    assert found.startswith("f:4:23: policies[0].routes.timeout: found 'soon'")


def test_one_that_nobody_refers_to() -> None:
    (warning,) = load_text(text(route="cluster: app, policies: [two]").replace("policies: [one]", "policies: []"),
                           "f", {}).warnings
    assert str(warning).startswith("f:2:11: policies[0].name: nothing refers to the policy 'one'")


def test_as_a_mapping_it_is_told_once() -> None:
    found = problems(text().replace("policies:\n  - name: one\n", "policies:\n  one:\n").replace(
        "  - {name: two, routes: {timeout: 2s}}\n", ""))
    assert [problem.partition(": ")[2].partition(":")[0] for problem in found] == ["policies"]


def test_policies_that_would_fill_the_memory_are_refused() -> None:
    many = ", ".join(f"h{i}: x" for i in range(60))
    routes = "\n".join(f"      - {{match: {{prefix: /{i}}}, cluster: app, policies: [one]}}" for i in range(9000))
    whole = f"""policies: [{{name: one, routes: {{request_headers: {{set: {{{many}}}}}}}}}]
listeners:
  - name: a
    address: 127.0.0.1:1
    routes:
{routes}
clusters: [{{name: app, endpoints: [127.0.0.1:2]}}]
"""
    (found,) = problems(whole)
    assert f"policies expand to more than {MAX_VALUES:,} values" in found
