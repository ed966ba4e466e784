"""What may be said about subsets, and what contradicts itself."""

import msgpack
import pytest

from fastmesh.config.load import load_text
from fastmesh.errors import ConfigError
from fastmesh.snapshot.compiler import as_written, compile
from fastmesh.snapshot.registry import Registry
from fastmesh.snapshot.subsets import subsets

FRAME = """\
listeners:
  - name: l
    address: 127.0.0.1:1
    routes: [{match: {prefix: /}, %s}]
clusters:
  - name: c
    endpoints:
      - {address: 127.0.0.1:2, metadata: {version: v1}}
      - {address: 127.0.0.1:3, metadata: {version: v2, stage: beta}}
    %s
  - {name: d, endpoints: [127.0.0.1:4]}
"""
SPLIT = "subsets: {selectors: [{keys: [version]}, {keys: [version, stage]}]%s}"


def load(route: str, more: str = "", cluster: str = SPLIT):
    return load_text(FRAME % (route, cluster % more if "%s" in cluster else cluster), "f", {})


def errors(route: str, more: str = "", cluster: str = SPLIT) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load(route, more, cluster)
    return [(p.path, p.reason, p.hint) for p in caught.value.problems]


TO = "cluster: c, subset: {version: v2}"


def test_what_is_said_arrives():
    config = load("clusters: [{cluster: c, weight: 1, subset: {version: v1}}, {cluster: d, weight: 2}, {cluster: c, "
                  "weight: 3, subset: {version: {header: X-V, default: v1}, stage: {header: x-s}}}]",
                  ", fallback: default, default: {version: v1}, max: 7").config
    assert subsets(config, {"c": 0, "d": 1}, ()) == [
        [[0, [["version"], ["stage", "version"]], 2, ["version", "v1"], 7]],
        [[0, 0, 0, [["version", "", True, "v1"]]],
         [0, 0, 2, [["stage", "x-s", False, ""], ["version", "x-v", True, "v1"]]]], [], []]
    assert config.listeners[0].routes[0].leads_to() == ["c", "d"]
    assert compile(config, 1, Registry(), 1024)


def test_it_is_written_as_a_file_would_say_it():
    config = load("cluster: c, subset: {version: 2, stage: {header: x-s}}").config
    assert as_written(config)["listeners"][0]["routes"][0]["subset"] == {"version": "2", "stage": {"header": "x-s"}}
    again = as_written(load("clusters: [{cluster: c, weight: 1, subset: {version: v1}}]").config)
    assert again["listeners"][0]["routes"][0]["clusters"] == [
        {"cluster": "c", "weight": 1, "subset": {"version": "v1"}}]


def test_none_is_said_of_none():
    assert subsets(load("cluster: d", cluster="idle_timeout: 1s").config, {}, ()) == [[], [], [], []]


def test_mirrors_and_steps_of_fallbacks_ask_for_some():
    config = load("cluster: d, mirrors: [{cluster: d}, {cluster: c, subset: {version: v2}}], fallback: "
                  "[{response: {status: 503}, on: [timeout]}, {cluster: c, subset: {version: {header: X-V}}}]").config
    found = msgpack.unpackb(compile(config, 1, Registry(), 1024)[0], strict_map_key=False)[13]
    assert found[1:] == [[], [[0, 0, 1, [["version", "", True, "v2"]]]], [[0, 1, [["version", "x-v", False, ""]]]]]


def test_a_chain_that_routes_share_asks_once():
    text = FRAME.replace("routes: [{", "fallback: [{cluster: c, subset: {version: v1}}]\n    routes: [{match: {path: "
                         "/x}, cluster: d}, {match: {path: /y}, cluster: d, fallback: []}, {")
    config = load_text(text % ("cluster: d", SPLIT % ""), "f", {}).config
    found = msgpack.unpackb(compile(config, 1, Registry(), 1024)[0], strict_map_key=False)
    assert (found[11][1], found[13][3]) == ([[0, 0, 0], [0, 2, 0]], [[0, 0, [["version", "", True, "v1"]]]])


@pytest.mark.parametrize(("route", "more", "path", "reason", "hint"), [
    ("cluster: c, subset: {stage: beta}", "", "listeners[0].routes[0].subset",
     "the cluster 'c' is not split by stage", "add {keys: [stage]} to its selectors"),
    ("cluster: d, subset: {version: v1}", "", "listeners[0].routes[0].subset", "the cluster 'd' has no subsets",
     "add subsets: {selectors: [{keys: [version]}]} to it"),
    ("cluster: d, mirrors: [{cluster: d}, {cluster: c, subset: {stage: beta}}]", "",
     "listeners[0].routes[0].mirrors[1].subset", "the cluster 'c' is not split by stage",
     "add {keys: [stage]} to its selectors"),
    ("cluster: c, fallback: [{cluster: d, subset: {version: v1}}]", "", "listeners[0].routes[0].fallback[0].subset",
     "the cluster 'd' has no subsets", "add subsets: {selectors: [{keys: [version]}]} to it"),
    ("cluster: d, fallback: [{response: {status: 503}, subset: {version: v1}}]", "",
     "listeners[0].routes[0].fallback[0].subset", "subset is of a step with a cluster", "remove subset"),
    ("cluster: c, subset: {version: v2}, fallback: [{cluster: c, subset: {version: v2}}]", "",
     "listeners[0].routes[0].fallback[0].subset", "this is the route's own subset, which has just failed",
     "name another one; retry says how often the same is tried"),
    ("cluster: c, subset: {version: v2}, fallback: [{cluster: c}]", "",
     "listeners[0].routes[0].fallback[0].cluster", "'c' is the route's own cluster, which has just failed",
     "name another one, or a subset of it; retry says how often the same is tried"),
    ("cluster: c, subset: {}", "", "listeners[0].routes[0].subset", "the subset names nothing",
     "write {version: v2}, or remove subset"),
    ("clusters: {c: 1}, subset: {version: v1}", "", "listeners[0].routes[0].subset",
     "subset is of cluster, and the route has clusters",
     "write clusters: [{cluster: app, weight: 90, subset: {version: v1}}, …]"),
    ("response: {status: 200}, subset: {version: v1}", "", "listeners[0].routes[0].subset",
     "the route has a response, so no endpoint is chosen", "remove subset"),
    ("cluster: c, subset: {version: {header: x, value: v1}}", "", "listeners[0].routes[0].subset.version",
     "there is both a value and a header", "write a text, or {header: NAME}"),
    ("cluster: c, subset: {version: {}}", "", "listeners[0].routes[0].subset.version",
     "there is neither a value nor a header", "write a text, or {header: NAME}"),
    ("cluster: c, subset: {version: {value: v1, default: v2}}", "", "listeners[0].routes[0].subset.version.default",
     "default is for a header, and the value is always there", "remove default, or write header"),
    ("clusters: [{cluster: d, weight: 1, subset: {version: v1}}]", "", "listeners[0].routes[0].clusters[0].subset",
     "the cluster 'd' has no subsets", "add subsets: {selectors: [{keys: [version]}]} to it"),
    ("clusters: [{cluster: e, weight: 1}]", "", "listeners[0].routes[0].clusters[0].cluster",
     "there is no cluster 'e'", None),
    ("clusters: [{cluster: c, weight: 0}, {cluster: d, weight: 0}]", "", "listeners[0].routes[0].clusters",
     "all weights are 0, so no request goes anywhere", "give one of them a weight"),
    ("clusters: []", "", "listeners[0].routes[0].clusters", "the route leads to none of several clusters", None),
    (TO, ", fallback: default", "clusters[0].subsets.fallback", "there is no default to fall back on",
     "add default: {version: v1}, with names of a selector"),
    (TO, ", default: {version: v1}", "clusters[0].subsets.default",
     "default is for fallback: default, and it is any", "write fallback: default, or remove default"),
    (TO, ", fallback: default, default: {stage: v1}", "clusters[0].subsets.default", "no selector has stage",
     "add {keys: [stage]} to selectors"),
    (TO, ", max: 1", "clusters[0].subsets.max", "the endpoints make 3 subsets, and at most 1 are made",
     "write max: 3, or fewer names in a selector"),
    (TO, ", max: 4097", "clusters[0].subsets.max", "found '4097'", None),
])
def test_what_contradicts_itself(route, more, path, reason, hint):
    [found] = errors(route, more)
    assert found[:2] == (path, reason)
    assert hint is None or found[2] == hint


@pytest.mark.parametrize(("selectors", "path", "reason"), [
    ("[]", "selectors", "the cluster is split by nothing"),
    ("[{keys: []}]", "selectors[0].keys", "the selector names nothing"),
    ("[{keys: ['']}]", "selectors[0].keys", "one of the names is empty"),
    ("[{keys: [a, a]}]", "selectors[0].keys", "the name 'a' is there twice"),
    ("[{keys: [a, b]}, {keys: [b, a]}]", "selectors[1].keys", "these are the names of selectors[0], too"),
    ("[{keys: [a, b, c, d, e, f, g, h, i]}]", "selectors[0].keys", "found a longer list"),
])
def test_what_selectors_cannot_be(selectors, path, reason):
    [found] = errors("cluster: c", cluster=f"subsets: {{selectors: {selectors}}}")
    assert found[:2] == (f"clusters[0].subsets.{path}", reason)


def test_a_policy_weighs_all_endpoints():
    found = errors("cluster: c", cluster="load_balancer: {use: least-latency}\n    " + SPLIT % "")
    assert [(path, reason) for path, reason, _ in found] == [
        ("clusters[0].subsets", "a policy in Python weighs all endpoints of this cluster, and subsets would take its "
                                "choice from it")]


def test_no_lots_are_drawn_among_subsets():
    found = errors("cluster: c", cluster="balancing: {subset: 1}\n    " + SPLIT % "")
    assert found == [("clusters[0].balancing.subset", "subset draws endpoints without a look at their metadata: one of "
                      "the cluster's subsets might be left with none", "remove it, or subsets")]


def test_what_is_doubtful():
    loaded = load("clusters: [{cluster: c, weight: 1, subset: {version: v3}}, {cluster: d, weight: 1}]",
                  ", fallback: default, default: {version: v9}")
    assert [(p.path, p.reason) for p in loaded.warnings] == [
        ("listeners[0].routes[0].clusters[0].subset", "no endpoint of 'c' is in this subset"),
        ("clusters[0].subsets.default", "no endpoint is in the default subset")]
    assert [p.reason for p in load("cluster: c, subset: {version: {header: x}}").warnings] == [
        "no route leads to the cluster 'd'"]
