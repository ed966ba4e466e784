"""What must hold between the filters of a file: names, references, lengths, places."""

import pytest

from fastmesh.config.load import load_text
from fastmesh.errors import ConfigError

GOOD = """\
filters:
- {name: tenant, use: "a:Tenant", header: x-team, match: {prefix: /api, share: 10%}}
- {name: stamp, use: ./stamp.py:Stamp, on_error: closed, budget: 0.5ms, quarantine: {failures: 3}}
listeners:
- name: web
  address: 127.0.0.1:8080
  filters: [stamp, {use: "a:B", mode: shadow}]
  routes:
  - {match: {prefix: /}, cluster: app, filters: [tenant]}
- {name: db, address: 127.0.0.1:5432, protocol: tcp, cluster: app, filters: [stamp]}
clusters:
- {name: app, endpoints: [127.0.0.1:1], filters: [{name: own, use: cors}]}
"""


def problems(text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "f", {})
    return [(str(problem), problem.hint) for problem in caught.value.problems]


def test_good():
    config = load_text(GOOD, "f", {}).config
    tenant, stamp = config.filters
    assert tenant.match is not None and tenant.match.share == 100_000
    assert tenant.model_extra == {"header": "x-team"}
    assert (stamp.budget, stamp.quarantine.failures, stamp.on_error) == (500_000, 3, "closed")
    by_name, in_place = config.listeners[0].filters
    assert by_name.is_reference and not in_place.is_reference
    written = config.model_dump(mode="json", exclude_none=True)
    assert written["listeners"][0]["filters"][0] == "stamp"
    assert written["filters"][0]["match"]["share"] == "10%" and written["filters"][0]["header"] == "x-team"


@pytest.mark.parametrize(("old", "new", "message", "hint"), [
    ("filters: [stamp, {", "filters: [stmp, {",
     "f:7:13: listeners[0].filters[0]: there is no filter 'stmp', allowed: tenant, stamp", "write stamp"),
    ("[tenant]", "[zzz]", "f:9:50: listeners[0].routes[0].filters[0]: there is no filter 'zzz', allowed: tenant, stamp",
     "name it at the top level, as filters: [{name: zzz, use: …}], or write a filter in place, as {use: zzz}"),
    ("filters: [stamp, {", "filters: [stamp, stamp, {",
     "f:7:20: listeners[0].filters[1]: the filter 'stamp' is there twice, first on line 7", "remove one of them"),
    ("name: own", "name: stamp", "f:12:58: clusters[0].filters[0].name: the name 'stamp' is taken by filters[1] on "
     "line 3", "give each of the filters a name of its own; to use one twice, write its name alone"),
    ("- {name: stamp,", "- {name: tenant,",
     "f:3:10: filters[1].name: the name 'tenant' is taken by filters[0] on line 2",
     "give each of the filters a name of its own; to use one twice, write its name alone"),
    ("filters: [stamp]}", "filters: [tenant]}",
     "f:10:78: listeners[1].filters[0]: a connection has no prefix to match, allowed: a match with share alone",
     "a tcp listener sees no requests; remove it, or write protocol: http"),
    ("match: {prefix: /api,", "match: {prefix: /api, path: /x,",
     "f:2:73: filters[0].match.path: the match has both a prefix and a path",
     "remove one of them: prefix is the beginning, path the whole"),
    ("share: 10%", "share: 10", "f:2:80: filters[0].match.share: found '10', allowed: a number from 0 to 100 with %",
     "write 10%"),
    ("failures: 3", "pause: 6m", "f:3:93: filters[1].quarantine.pause: quarantine.pause is 6m, more than "
     "quarantine.longest, 5m", "make quarantine.longest the larger one"),
    ("on_error: closed", "on_error: opne", "f:3:50: filters[1].on_error: found 'opne', allowed: closed, open or skip",
     "write open"),
    ("{name: own, use: cors}", "{name: own}", "f:12:51: clusters[0].filters[0]: the key 'use' of 'own' is missing",
     "add it, as use: my_package.tenants:RequireTenant"),
    ("{name: own, use: cors}", "{use: ''}", "f:12:57: clusters[0].filters[0].use: found '', allowed: "
     "my_package.module:Class, ./file.py:Class, or the name of an installed filter", ""),
    ("{name: own, use: cors}", "[]", "f:12:51: clusters[0].filters[0]: found a list, allowed: the name of a filter, or "
     "a mapping with use and its settings", ""),
    ("filters: [{name: own, use: cors}]", "filters: stamp",
     "f:12:50: clusters[0].filters: found 'stamp', allowed: a list", "write [stamp]"),
])
def test_one_thing_wrong(old, new, message, hint):
    assert GOOD.count(old) == 1
    found = problems(GOOD.replace(old, new))
    assert (message, hint) in found
    # A name that is taken away from the top level is missing where it is referred to, too.
    assert len(found) == 1 or "- {name: tenant," in new


def test_the_top_level_has_names():
    assert problems("filters: [cors, {use: 'a:B'}]\nlisteners: []\n") == [
        ("f:1:11: filters[0]: found 'cors', allowed: a mapping with name and use",
         "write {name: cors, use: my_package.module:Class}; names alone stand at listeners, routes and clusters"),
        ("f:1:17: filters[1]: the key 'name' is missing",
         "add name: nobody could refer to the filter without it")]


def chain(listener: int, route: int, cluster: int) -> str:
    def uses(count: int) -> str:
        return "[" + ", ".join(["{use: 'a:B'}"] * count) + "]"
    return (f"listeners: [{{name: l, address: '127.0.0.1:1', filters: {uses(listener)}, routes: [{{match: {{}}, "
            f"response: {{status: 200}}, filters: {uses(route)}}}]}}]\n"
            f"clusters: [{{name: c, endpoints: [], filters: {uses(cluster)}}}]\n")


def test_a_way_has_at_most_64_filters():
    load_text(chain(20, 22, 22), "f", {})
    ((said, hint),) = problems(chain(20, 22, 23))
    assert said.endswith("the chain has 65 filters: 20 of the listener, 22 of the route, 23 of cluster 'c', allowed: "
                         "at most 64 on the way of one request")
    assert hint == "a filter may send a request to any cluster, so the longest of theirs counts"
    assert [said for said, _ in problems(chain(0, 65, 0)) if "at most 64 items" in said]


def test_a_file_has_at_most_256_filters():
    load_text("listeners: []\nfilters:\n" + "".join(f"- {{name: f{i}, use: 'a:B'}}\n" for i in range(256)), "f", {})
    text = chain(1, 0, 0) + "filters:\n" + "".join(f"- {{name: f{i}, use: 'a:B'}}\n" for i in range(256))
    assert [said for said, _ in problems(text)] == [
        "f:4:1: filters: there are 257 filters, allowed: at most 256, those in place, load "
        "balancers and fallbacks included"]
