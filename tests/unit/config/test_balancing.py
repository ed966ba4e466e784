"""What may be said about balancing, and what contradicts itself."""

import pytest

from fastmesh.config.load import load_text
from fastmesh.errors import ConfigError
from fastmesh.snapshot.compiler import as_written, compile
from fastmesh.snapshot.registry import Registry as Numbers
from probes.snapshot_probe import Snapshot
from probes.wire import SECOND, registry

FRAME = """\
listeners: [{name: l, address: 127.0.0.1:1, routes: [{match: {prefix: /}, cluster: c}]}]
clusters:
  - name: c
    endpoints: [127.0.0.1:2]
    %s
"""


def load(balancer: str, balancing: str = ""):
    line = f"load_balancer: {balancer}" + (f"\n    balancing: {balancing}" if balancing else "")
    return load_text(FRAME % line, "f", {})


def errors(balancer: str, balancing: str = "") -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load(balancer, balancing)
    return [(f"{p.line}:{p.column}: {p.reason}" + (f", allowed: {p.allowed}" if p.allowed else ""), p.hint)
            for p in caught.value.problems]


def settings(balancer: str, balancing: str):
    with registry() as r:
        s = Snapshot(compile(load(balancer, balancing).config, 1, Numbers())[0], r)
        try:
            return s.dump()["clusters"][0]["settings"]
        finally:
            s.close()


def test_what_is_left_out_is_what_the_core_holds():
    """Two places know the defaults: they must agree."""
    silent = settings("round_robin", "{}")
    spoken = settings("peak_ewma", "{ewma: {}}")
    assert spoken == silent
    hashed = settings("maglev", "{hash: {keys: [{source: true}]}}")
    assert hashed | {"keys": []} == silent


def test_ewma_arrives():
    got = settings("peak_ewma", "{ewma: {decay: 1s, initial: 2s, penalty: 3s, retry_after_max: 4s}}")
    assert [got[key] for key in ("decay", "initial", "penalty", "wait_max")] == [n * SECOND for n in (1, 2, 3, 4)]


def test_hash_arrives():
    got = settings("ring_hash", "{hash: {keys: [{header: X-U}, {cookie: C, ttl: 90.5s, path: /p}, {cookie: d}, "
                                "{query: 'ü%20'}, {source: true}], points: 7, load_bound: 125%}}".replace("ü", "u"))
    assert got["keys"] == [(0, b"x-u", 0, 0, b""), (1, b"C", 1, 91, b"/p"), (1, b"d", 0, 0, b""),
                           (2, b"u%20", 0, 0, b""), (3, b"", 0, 0, b"")]
    assert (got["points"], got["load_bound"]) == (7, 125)
    assert settings("maglev", "{hash: {keys: [{source: true}], table_size: 131071}}")["table_size"] == 131_071


def test_what_holds_for_any_algorithm_arrives():
    got = settings("random", "{slow_start: {window: 2s, aggression: 2.5, min_weight: 5%}, panic_threshold: 50%}")
    assert (got["slow_start"], got["exponent"], got["least"], got["panic"]) == (2 * SECOND, 0.4, 0.05, 0.5)
    text = FRAME.replace("[127.0.0.1:2]", "[{address: 127.0.0.1:2, priority: 1}, 127.0.0.1:3, 127.0.0.1:4]")
    with registry() as r:
        config = load_text(text % "balancing: {spill_below: 60%}", "f", {}).config
        s = Snapshot(compile(config, 1, Numbers())[0], r)
        got = s.dump()["clusters"][0]
        s.close()
    assert (got["settings"]["levels"], got["settings"]["spill_below"]) == ([2, 1], 0.6)
    assert [text for _, _, _, text in got["endpoints"]] == [b"127.0.0.1:3", b"127.0.0.1:4", b"127.0.0.1:2"]


@pytest.mark.parametrize(("balancer", "balancing", "reason", "hint"), [
    ("random", "{spill_below: 50%}", "6:17: spill_below is for endpoints with a priority, or with prefer_zone, and "
     "there is neither", "remove spill_below, or give endpoints a priority"),
    ("random", "{slow_start: {window: 1s, aggression: 0}}",
     "6:54: found '0', allowed: a number from 0.1 to 10, with at most "
     "three digits after the point", ""),
    ("random", "{slow_start: {}}", "6:29: the key 'window' is missing",
     "add it, as window: 30s"),
    ("random", "{sticky: {secret: 0123456789abcdef}}", "6:25: sticky says not where names stand",
     "add cookie: NAME, or header: NAME"),
    ("random", "{sticky: {cookie: a, header: b, secret: 0123456789abcdef}}",
     "6:25: sticky has both a cookie and a header", "remove one of them"),
    ("random", "{sticky: {header: b, ttl: 1h, secret: 0123456789abcdef}}",
     "6:37: ttl is for a cookie, and the name stands in a header", "remove ttl"),
    ("random", "{sticky: {cookie: a, secret: short}}",
     "6:45: found a text that is too short, allowed: at least 16 printable "
     "characters", "make one with: openssl rand -hex 16"),
    ("random", "{subset: 0}", "6:25: found '0', allowed: a whole number from 1 to 65536",
     ""),
    ("random", "{ewma: {}}", "6:17: ewma is for load_balancer: peak_ewma or failure_aware_ewma, and it is random",
     "write load_balancer: peak_ewma, or remove ewma"),
    ("least_request", "{hash: {keys: [{source: true}]}}",
     "6:17: hash is for load_balancer: ring_hash or maglev, and it is least_request",
     "write load_balancer: ring_hash, or remove hash"),
    ("maglev", "", "5:20: maglev has nothing to tell requests apart by",
     "add balancing: {hash: {keys: [{header: NAME}]}}, or cookie, query or source instead of header"),
    ("ring_hash", "{hash: {keys: [{source: true}], table_size: 7}}",
     "6:48: table_size is for maglev, and load_balancer is ring_hash",
     "remove table_size, or write load_balancer: maglev"),
    ("maglev", "{hash: {keys: [{source: true}], points: 7}}",
     "6:48: points is for ring_hash, and load_balancer is maglev",
     "remove points, or write load_balancer: ring_hash"),
    ("maglev", "{hash: {keys: [{header: a, query: b}]}}",
     "6:31: the key has both header and query, allowed: one of header, cookie, query and source",
     "write each as an item of its own"),
    ("maglev", "{hash: {keys: [{}]}}",
     "6:31: the key names nothing, allowed: one of header, cookie, query and source",
     "write {header: NAME}, or {source: true}"),
    ("maglev", "{hash: {keys: [{source: false}]}}",
     "6:31: the key names nothing, allowed: one of header, cookie, query and source",
     "write {header: NAME}, or {source: true}"),
    ("maglev", "{hash: {keys: [{header: a, ttl: 1s}]}}", "6:43: ttl is for a cookie", "remove ttl, or name a cookie"),
    ("maglev", "{hash: {keys: [{cookie: a, path: /x}]}}",
     "6:43: the cookie is never made, so its path says nothing",
     "add ttl, and it is made for requests that have no key; or remove path"),
    ("maglev", "{hash: {keys: [{cookie: 'a b'}]}}",
     "6:40: found 'a b', allowed: the name of a cookie: letters, digits and "
     "! # $ % & ' * + - . ^ _ ` | ~", ""),
    ("maglev", "{hash: {keys: [{query: 'a&b'}]}}",
     "6:39: found 'a&b', allowed: the name of a query parameter as it stands "
     "in the URL: visible ASCII without & = and #", ""),
    ("maglev", "{hash: {keys: [{cookie: a, ttl: 0, path: '/a;b'}]}}",
     "6:57: found '/a;b', allowed: a path that begins with /, of visible "
     "ASCII without ;", ""),
    ("maglev", "{hash: {keys: [{source: true}], table_size: 65536}}",
     "6:60: found '65536', allowed: a prime number", "write 65537"),
    ("maglev", "{hash: {keys: [{source: true}], load_bound: 125}}",
     "6:60: found '125', allowed: a percentage from 100% to 1000%, as 125%",
     "write 125%"),
    ("maglev", "{hash: {keys: [{source: true}], load_bound: 99%}}",
     "6:60: found '99%', allowed: a percentage from 100% to 1000%, as 125%", ""),
])
def test_errors_say_what_to_do(balancer, balancing, reason, hint):
    assert errors(balancer, balancing) == [(reason, hint)]


def test_what_is_misspelled_is_one_error():
    assert len(errors("maglevv", "{hash: {keys: [{source: true}]}}")) == 1
    assert len(errors("maglev", "{hsah: {keys: [{source: true}]}}")) == 1
    assert len(errors("maglev", "{hash: {keys: [{haeder: a}]}}")) == 1


def test_a_zone_that_nobody_knows_of_is_an_error():
    assert errors("random", "{prefer_zone: true}") == [
        ("6:30: prefer_zone has no zone to prefer: this proxy does not know its own",
         "add node: {zone: NAME}, or remove prefer_zone"),
        ("6:30: prefer_zone has nothing to go by: no endpoint has a zone",
         "write endpoints as {address: …, zone: NAME}, or remove prefer_zone")]
    text = "node: {zone: a}\n" + FRAME.replace("[127.0.0.1:2]", "[{address: 127.0.0.1:2, zone: b}]")
    assert load_text(text % "balancing: {prefer_zone: true}", "f", {}).warnings == []


def test_a_session_arrives_and_its_secret_is_not_shown():
    text = "{sticky: {cookie: Home, ttl: 1.5s, path: /x, secret: 0123456789abcdef}}"
    assert settings("random", text)["sticky"] == (1, b"Home", 2, b"/x")
    assert settings("random", text.replace("cookie: Home, ttl: 1.5s, path: /x", "header: X-Home"))["sticky"] == (
        2, b"x-home", 0, b"/")
    written = as_written(load("random", text).config)
    assert written["clusters"][0]["balancing"]["sticky"]["secret"] == "(secret)"
    assert "0123456789abcdef" not in str(written)


def test_a_table_has_a_place_for_every_endpoint():
    text = FRAME.replace("[127.0.0.1:2]", "[127.0.0.1:2, 127.0.0.1:3, 127.0.0.1:4, 127.0.0.1:5]")
    line = "load_balancer: maglev\n    balancing: {hash: {keys: [{source: true}], table_size: %d}}"
    assert load_text(text % (line % 5), "f", {}).warnings == []
    with pytest.raises(ConfigError) as caught:
        load_text(text % (line % 3), "f", {})
    assert [p.reason for p in caught.value.problems] == [
        "the table has 3 places for 4 endpoints: some would get no request"]


POLICY = "{use: least-latency, pick_by: %s}"


@pytest.mark.parametrize(("balancer", "balancing", "found"), [
    (POLICY % "maglev", "", ("5:50: found 'maglev', allowed: round_robin, random, least_request, peak_ewma or "
                             "failure_aware_ewma", "")),
    (POLICY % "random", "{ewma: {}}", ("6:17: ewma is for pick_by: peak_ewma or failure_aware_ewma, and it is random",
                                       "write pick_by: peak_ewma, or remove ewma")),
    ("{use: least-latency}", "{hash: {keys: [{source: true}]}}",
     ("6:17: hash is for load_balancer: ring_hash or maglev, and it is round_robin",
      "write load_balancer: ring_hash, or remove hash")),
])
def test_balancing_beside_a_policy(balancer, balancing, found):
    assert errors(balancer, balancing) == [found]


def test_a_policy_may_stand_above_what_goes_by_weights():
    loaded = load(POLICY % "peak_ewma", "{ewma: {decay: 1s}, panic_threshold: 10%}").config.clusters[0]
    assert loaded.load_balancer.pick_by == "peak_ewma" and loaded.balancing.ewma is not None


def found(balancing: str, node: str = "node: {zone: a}\n"):
    text = FRAME.replace("[127.0.0.1:2]", "{use: file, path: /run/app}") % f"balancing: {balancing}"
    return load_text(node + text, "f", {})


def test_what_found_endpoints_cannot_have():
    with pytest.raises(ConfigError) as caught:
        found("{subset: 2}")
    assert [(p.reason, p.hint) for p in caught.value.problems] == [
        ("subset is for endpoints that the file names, and a policy finds those of this cluster", "remove subset")]


def test_found_endpoints_may_say_what_zone_they_are_in():
    """Or have priorities: nobody knows before they are found."""
    assert found("{prefer_zone: true, spill_below: 50%}").config.clusters[0].balancing.prefer_zone
    assert found("{spill_below: 50%}").warnings == []
    with pytest.raises(ConfigError) as caught:
        found("{prefer_zone: true}", "")
    assert [p.reason for p in caught.value.problems] == [
        "prefer_zone has no zone to prefer: this proxy does not know its own"]
