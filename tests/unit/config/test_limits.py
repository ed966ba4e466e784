"""Rate limits in a file: what they are read as, and every contradiction with its place and its way out."""

import pytest

from fastmesh.config.load import load_text
from fastmesh.config.rate_limit import KeyPart
from fastmesh.errors import ConfigError, WrongValue
from fastmesh.units import Rate, parse_rate

GOOD = """\
rate_limits:
- {name: client, rate: 100/s, burst: 200, key: [client_address, header X-Tenant], keys: 500, missing: skip}
- {name: all, rate: 5/m, match: {prefix: /api, share: 10%}, status: 503, dry_run: true, headers: true}
listeners:
- name: web
  address: 127.0.0.1:8080
  rate_limits: [all, {name: own, rate: 1/h}]
  routes:
  - {match: {prefix: /}, cluster: app, rate_limits: [client]}
- {name: db, address: 127.0.0.1:5432, protocol: tcp, cluster: app}
clusters: [{name: app, endpoints: [127.0.0.1:1]}]
"""


def problems(text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "f", {})
    return [(str(problem), problem.hint) for problem in caught.value.problems]


def test_good() -> None:
    loaded = load_text(GOOD, "f", {})
    assert loaded.warnings == []
    client, every = loaded.config.rate_limits
    assert (client.rate, client.depth, client.keys, client.missing) == (Rate(100, "s"), 200, 500, "skip")
    assert client.key == [KeyPart("client_address", ""), KeyPart("header", "x-tenant")]
    assert (every.depth, every.status, every.dry_run, every.headers, every.key) == (5, 503, True, True, [])
    assert every.match is not None and every.match.share == 100_000
    by_name, in_place = loaded.config.listeners[0].rate_limits
    assert by_name.is_reference and not in_place.is_reference
    written = loaded.config.model_dump(mode="json", exclude_none=True)
    assert written["listeners"][0]["rate_limits"][0] == "all"
    assert written["rate_limits"][0]["key"] == ["client_address", "header x-tenant"]
    assert written["rate_limits"][0]["rate"] == "100/s"


@pytest.mark.parametrize(("text", "rate"), [
    ("1/s", Rate(1, "s")), ("1000000/s", Rate(1_000_000, "s")), ("5/m", Rate(5, "m")), ("1/d", Rate(1, "d")),
    ("60000000/m", Rate(60_000_000, "m")), ("007/h", Rate(7, "h"))])
def test_rates(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize(("text", "message", "hint"), [
    ("100", "found '100', allowed: a whole number, a slash, and one of s, m, h, d, as 100/s",
     "write 100/s for so many a second"),
    ("100/sec", "found '100/sec', allowed: a whole number, a slash, and one of s, m, h, d, as 100/s", "write 100/s"),
    ("100 / minutes", "found '100 / minutes', allowed: a whole number, a slash, and one of s, m, h, d, as 100/s",
     "write 100/m"),
    ("10r/s", "found '10r/s', allowed: a whole number, a slash, and one of s, m, h, d, as 100/s", "write 10/s"),
    ("10rps", "found '10rps', allowed: a whole number, a slash, and one of s, m, h, d, as 100/s", "write 10/s"),
    ("5 per hour", "found '5 per hour', allowed: a whole number, a slash, and one of s, m, h, d, as 100/s",
     "write 5/h"),
    ("0.5/s", "found '0.5/s', allowed: a whole number, a slash, and one of s, m, h, d, as 100/s",
     "count by a longer unit: 30/m for one every two seconds"),
    ("x/s", "found 'x/s', allowed: a whole number, a slash, and one of s, m, h, d, as 100/s", ""),
    ("1/ms", "found '1/ms', allowed: a whole number, a slash, and one of s, m, h, d, as 100/s", ""),
    ("-1/s", "found '-1/s', allowed: a whole number, a slash, and one of s, m, h, d, as 100/s", ""),
    ("0/s", "found '0/s', allowed: 1 or more", "to refuse every request, give the route response: {status: 429}"),
    ("1000001/s", "found '1000001/s', allowed: at most 1,000,000 a second", ""),
    ("60000001/m", "found '60000001/m', allowed: at most 1,000,000 a second", ""),
])
def test_wrong_rates(text: str, message: str, hint: str) -> None:
    with pytest.raises(WrongValue) as caught:
        parse_rate(text)
    assert (str(caught.value), caught.value.hint) == (message, hint)


PARTS = ("client_address, client_network, method, host, path, route, or header NAME, cookie NAME, query NAME, "
         "label NAME")


@pytest.mark.parametrize(("old", "new", "message", "hint"), [
    ("rate: 100/s", "rate: 0/s", "f:2:24: rate_limits[0].rate: found '0/s', allowed: 1 or more",
     "to refuse every request, give the route response: {status: 429}"),
    ("burst: 200", "burst: 0", "f:2:38: rate_limits[0].burst: found '0', allowed: a whole number from 1 to 1000000000",
     ""),
    ("rate: 100/s, burst: 200", "rate: 1/d, burst: 500", "f:2:36: rate_limits[0].burst: a burst of 500 takes 500 days "
     "to come back at 1/d, allowed: at most 8760h", "make it smaller"),
    ("{name: all, rate: 5/m,", "{name: all,", "f:3:3: rate_limits[1]: the key 'rate' of 'all' is missing",
     "add it, as rate: 100/s"),
    ("{name: own, rate: 1/h}", "{rate: 1/h}", "f:7:22: listeners[0].rate_limits[1]: the key 'name' is missing",
     "add it, as name: per-client"),
    ("key: [client_address,", "key: [client_adress,",
     f"f:2:49: rate_limits[0].key[0]: found 'client_adress', allowed: {PARTS}", "write client_address"),
    ("key: [client_address,", "key: [ip,", f"f:2:49: rate_limits[0].key[0]: found 'ip', allowed: {PARTS}",
     "write client_address"),
    ("header X-Tenant", "header:x-tenant", f"f:2:65: rate_limits[0].key[1]: found 'header:x-tenant', allowed: {PARTS}",
     "write header x-tenant"),
    ("header X-Tenant", "x-tenant", f"f:2:65: rate_limits[0].key[1]: found 'x-tenant', allowed: {PARTS}",
     "write header x-tenant"),
    ("header X-Tenant", "header", f"f:2:65: rate_limits[0].key[1]: found 'header', allowed: {PARTS}",
     "write header and a name, as header x-tenant"),
    ("header X-Tenant", "path /x", f"f:2:65: rate_limits[0].key[1]: found 'path /x', allowed: {PARTS}", "write path"),
    ("header X-Tenant", "client_address", "f:2:65: rate_limits[0].key[1]: the key has 'client_address' twice",
     "remove one of them"),
    ("key: [client_address, header X-Tenant]", "key: client_address",
     "f:2:48: rate_limits[0].key: found 'client_address', allowed: a list", "write [client_address]"),
    ("key: [client_address, header X-Tenant]", "key: [method, host, path, header a, header b]",
     "f:2:48: rate_limits[0].key: found a longer list, allowed: at most 4 items", ""),
    ("keys: 500", "keys: 0", "f:2:89: rate_limits[0].keys: found '0', allowed: a whole number from 1 to 1000000", ""),
    ("key: [client_address, header X-Tenant], keys: 500, missing: skip", "keys: 500",
     "f:2:43: rate_limits[0].keys: keys is there, but no key: all requests share one bucket",
     "add key: [client_address], or remove keys"),
    ("status: 503", "status: 200", "f:3:69: rate_limits[1].status: found '200', allowed: a whole number from 400 to "
     "599", ""),
    ("match: {prefix: /api,", "match: {prefix: /api, path: /x,",
     "f:3:48: rate_limits[1].match.path: the match has both a prefix and a path",
     "remove one of them: prefix is the beginning, path the whole"),
    ("[all, {", "[alll, {",
     "f:7:17: listeners[0].rate_limits[0]: there is no rate limit 'alll', allowed: client, all", "write all"),
    ("rate_limits: [client]", "rate_limits: [client, client]",
     "f:9:62: listeners[0].routes[0].rate_limits[1]: the rate limit 'client' is there twice, first on line 9",
     "remove one of them"),
    ("rate_limits: [client]", "rate_limits: client",
     "f:9:53: listeners[0].routes[0].rate_limits: found 'client', allowed: a list", "write [client]"),
    ("rate_limits: [client]", "rate_limits: [[]]", "f:9:54: listeners[0].routes[0].rate_limits[0]: found a list, "
     "allowed: the name of a rate limit, or a mapping with name and rate", ""),
    ("name: own", "name: all", "f:7:29: listeners[0].rate_limits[1].name: the name 'all' is taken by rate_limits[1] "
     "on line 3", "give each rate limit a name of its own; to use one twice, name it at the top level and write its "
                  "name alone"),
    ("protocol: tcp,", "protocol: tcp, rate_limits: [all],",
     "f:10:54: listeners[1].rate_limits: a tcp listener has no requests to limit",
     "remove rate_limits, or write protocol: http; limits.connections bounds connections"),
    ("rate: 1/h}", "rate: 1/h, key: [label plan]}", "f:7:51: listeners[0].rate_limits[1].key[0]: the key has "
     "'label plan', and at a listener no filter has set a label yet", "put the limit at the routes"),
    ("match: {prefix: /api, share: 10%}", "key: [route]", "f:7:17: listeners[0].rate_limits[0]: the key has 'route', "
     "and at a listener the route is not known yet", "put the limit at the routes"),
    ("- {name: client,", "- {name: " + "c" * 101 + ",",
     "f:2:10: rate_limits[0].name: the name has 101 characters, allowed: at most 100", ""),
])
def test_one_thing_wrong(old: str, new: str, message: str, hint: str) -> None:
    assert GOOD.count(old) == 1
    found = problems(GOOD.replace(old, new))
    assert (message, hint) in found
    # A limit that has another name is missing where it is referred to, too.
    assert len(found) == 1 or "cccc" in new


def test_the_top_level_has_whole_limits() -> None:
    assert problems("rate_limits: [client]\nlisteners: []\n") == [
        ("f:1:15: rate_limits[0]: found 'client', allowed: a mapping with name and rate",
         "write {name: client, rate: 100/s}; names alone stand at listeners and routes")]


def listed(listener: int, route: int) -> str:
    def some(first: int, count: int) -> str:
        return "[" + ", ".join(f"{{name: l{first + i}, rate: 1/s}}" for i in range(count)) + "]"
    return (f"listeners: [{{name: l, address: '127.0.0.1:1', rate_limits: {some(0, listener)}, routes: [{{match: {{}}, "
            f"response: {{status: 200}}, rate_limits: {some(100, route)}}}]}}]\n")


def test_a_request_passes_at_most_8() -> None:
    load_text(listed(5, 3), "f", {})
    ((said, _),) = problems(listed(5, 4))
    assert said.endswith("there are 9 rate limits on the way of a request: 5 of the listener, 4 of the route, allowed: "
                         "at most 8")
    assert any("there are 9 rate limits, allowed: at most 8" in said for said, _ in problems(listed(9, 0)))


def test_a_file_has_at_most_256_and_a_million_keys() -> None:
    def text(count: int, more: str) -> str:
        return "listeners: []\nrate_limits:\n" + "".join(
            f"- {{name: l{i}, rate: 1/s{more}}}\n" for i in range(count))
    load_text(text(256, ""), "f", {})
    load_text(text(100, ", key: [path]"), "f", {})
    assert [said for said, _ in problems(text(257, ""))] == [
        "f:3:1: rate_limits: found a longer list, allowed: at most 256 items",
        "f:3:1: rate_limits: there are 257 rate limits, allowed: at most 256, those in place included"]
    assert problems(text(101, ", key: [path]")) == [
        ("f:3:1: rate_limits: the rate limits have 1,010,000 keys together, allowed: at most 1,000,000",
         "make keys smaller; a limit has 10,000 when it is left out")]


def test_one_that_nobody_has() -> None:
    loaded = load_text("rate_limits: [{name: a, rate: 1/s}]\nlisteners: []\n", "f", {})
    assert "nothing refers to the rate limit 'a'" in [warning.message for warning in loaded.warnings]
