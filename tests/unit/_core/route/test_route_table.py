"""Routes: what each condition means, and that the index never changes the answer."""

import random
import re
import struct
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh.config.path_rule import on_border
from fastmesh.config.regex import compile_regex
from probes.snapshot_probe import Request
from probes.wire import SHARE_ALL, decoded, further, listener, route, snapshot, value

STARTS, PATTERN = 2, 3
PATTERNS = {"/a/.*": b"/a", "/(a|b)/ab?": b"/", ".*": b"/", "/[ab]+/longer-than-eight(/.*)?": b"/", "/a/b/a": b"/a/b"}


def pattern(text: str) -> list[bytes]:
    automaton = compile_regex(text).automaton
    return [automaton.classes, automaton.flags, struct.pack(f"<{len(automaton.table)}H", *automaton.table)]


PATTERN_LIST = [pattern(text) for text in PATTERNS]


def by_pattern(text: str, **more: Any) -> list[Any]:
    return route(PATTERNS[text], kind=PATTERN, more=further(list(PATTERNS).index(text)), **more)


def table(*routes: list[Any]):
    return decoded(snapshot(listeners=[listener(routes)], patterns=PATTERN_LIST))


def request(path: str = "/", host: str = "", method: str = "GET", fields: Any = (), peer: str = "") -> Request:
    return Request(method.encode(), host.encode("latin-1"), path.encode(),
                   [(name.encode(), text.encode("latin-1")) for name, text in fields], None,
                   f"{peer}:1".encode() if peer else b"")


# So many that the table is indexed, and none of them matches what the tests ask for.
FILLER = [route(f"/filler/{i}", hosts=["filler.test"]) for i in range(6)]


def found(routes: list[list[Any]], head: Request) -> int | None:
    """The index that small, scanned, and large, indexed tables agree on."""
    answers = set()
    with table(*routes) as s:
        answers.add(s.route(head))
        answers.add(s.route(head, scan=True))
    with table(*routes, *FILLER) as s:
        answers.add(s.route(head))
        answers.add(s.route(head, scan=True))
    assert len(answers) == 1
    return answers.pop()


@pytest.mark.parametrize(("prefix", "path", "matches"), [
    ("/", "/", True), ("/", "/x", True), ("/", "*", True), ("/", "", True), ("/", "//", True),
    ("/api", "/api", True), ("/api", "/api/", True), ("/api", "/api/x/y", True), ("/api", "/api//x", True),
    ("/api", "/apix", False), ("/api", "/ap", False), ("/api", "/", False), ("/api", "/API", False),
    ("/api", "/x/api", False), ("/api", "*", False), ("/api", "", False), ("/api", "/api;v=1", False),
    ("/api/", "/api/", True), ("/api/", "/api/x", True), ("/api/", "/api", False), ("/api/", "/apix/", False),
    ("/a/b", "/a/b/c", True), ("/a/b", "/a", False), ("/a/b", "/a/bc", False), ("/a/b/", "/a/b", False),
    ("//", "//", True), ("//", "//x", True), ("//", "/x", False), ("/a//b", "/a//b/c", True), ("/a//b", "/a/b", False),
    ("/%C3%A9", "/%C3%A9/x", True),
])
def test_prefix(prefix, path, matches):
    assert found([route(prefix)], request(path)) == (0 if matches else None)


@pytest.mark.parametrize(("exact", "path", "matches"), [
    ("/", "/", True), ("/", "", True), ("/", "/x", False), ("/", "*", False), ("/api", "/api", True),
    ("/api", "/api/", False), ("/api/", "/api/", True), ("/api/", "/api", False), ("/api", "/api/x", False),
    ("/api", "/apix", False), ("*", "*", True), ("*", "/", False), ("*", "/*", False), ("/*", "/*", True),
    ("/*", "*", False), ("//", "//", True), ("//", "/", False),
])
def test_exact(exact, path, matches):
    assert found([route(exact, exact=True)], request(path)) == (0 if matches else None)


@pytest.mark.parametrize(("host", "authority", "matches"), [
    ("example.com", "example.com", True), ("example.com", "EXAMPLE.com", True), ("example.com", "example.com:80", True),
    ("example.com", "example.com.", True), ("example.com", "example.com.:8080", True),
    ("example.com.", "example.com", True),
    ("example.com", "example.com:80:80", True), ("example.com", "www.example.com", False), ("example.com", "", False),
    ("example.com", "xexample.com", False), ("example.com", "example.co", False), ("*", "", True), ("*", "any", True),
    ("*.example.com", "a.example.com", True), ("*.example.com", "A.B.Example.com:1", True),
    ("*.example.com", "example.com", False), ("*.example.com", ".example.com", False),
    ("*.example.com", "aexample.com", False), ("*.example.com", "a.example.com.evil", False),
    ("*.com", "a.b.com", True),
    ("[::1]", "[::1]", True), ("[::1]", "[::1]:80", True), ("::1", "[::1]:80", True), ("[::1]", "[::2]", False),
    ("[fe80::a]", "[FE80::A]:80", True), ("[::1]", "[::1", False), ("127.0.0.1", "127.0.0.1:80", True),
    ("a" * 255, "a" * 255 + ":80", True), ("a" * 255, "a" * 256, False),
    ("shop.*", "shop.example", True), ("shop.*", "SHOP.a.b:80", True), ("shop.*", "shop", False),
    ("shop.*", "shop.", False), ("shop.*", "ashop.example", False), ("shop.*", "shopx.example", False),
    ("a.b.*", "a.b.c", True), ("a.b.*", "a.b", False), ("a.b.*", "a.bc.d", False), ("10.*", "10.0.0.1", True),
    ("*." + "b" * 250, "a." + "b" * 250, True),
])
def test_host(host, authority, matches):
    assert found([route("/", hosts=[host])], request("/", authority)) == (0 if matches else None)


@pytest.mark.parametrize(("text", "path", "matches"), [
    ("/api", "/api", True), ("/api", "/apix", True), ("/api", "/api/x", True), ("/api", "/ap", False), ("/api", "*",
                                                                                                        False),
    ("/", "/x", True), ("/", "*", False), ("/", "", True), ("/a/b", "/a/bc/d", True), ("/a/b", "/a/", False),
    ("/a/", "/a/", True), ("/a/", "/a/x", True), ("/a/", "/a", False), ("/a/b", "/x/a/b", False), ("//a", "//ab", True),
])
def test_a_beginning_wherever_it_ends(text, path, matches):
    assert found([route(text, kind=STARTS)], request(path)) == (0 if matches else None)


@pytest.mark.parametrize(("text", "path", "matches"), [
    ("/a/.*", "/a/", True), ("/a/.*", "/a/x/y", True), ("/a/.*", "/a", False), ("/a/.*", "/b/x", False),
    ("/(a|b)/ab?", "/b/a", True), ("/(a|b)/ab?", "/a/ab", True), ("/(a|b)/ab?", "/a/abb", False), (".*", "*", True),
    (".*", "", True), ("/a/b/a", "/a/b/a", True), ("/a/b/a", "/a/b/a/", False), ("/a/b/a", "/a/b", False),
])
def test_a_pattern(text, path, matches):
    assert found([by_pattern(text)], request(path)) == (0 if matches else None)


@pytest.mark.parametrize(("sources", "peer", "matches"), [
    (["10.0.0.0/8"], "10.1.2.3:80", True), (["10.0.0.0/8"], "11.1.2.3:80", False), (["10.0.0.0/8"], "[::1]:80", False),
    (["10.0.0.0/8", "::1/128"], "[::1]:80", True), (["10.0.0.0/8"], "", False), ([], "", True),
    (["0.0.0.0/0"], "1.2.3.4:1", True), (["10.0.0.128/25"], "10.0.0.127:1", False), (["10.0.0.128/25"], "10.0.0.128:1",
                                                                                     True),
])
def test_sources(sources, peer, matches):
    head = Request(b"GET", b"", b"/", (), None, peer.encode())
    assert found([route(more=further(sources=[cidr(text) for text in sources]))], head) == (0 if matches else None)


def cidr(text: str) -> list[Any]:
    network = ip_network(text)
    return [network.version, network.prefixlen, network.network_address.packed.ljust(16, b"\0")]


def drawn(draw: int) -> Request:
    return Request(b"GET", b"", b"/", (), None, b"", draw)


def test_a_share_is_that_of_the_requests():
    rng = random.Random(1)
    routes = [route(more=further(share=50_000)), route(more=further(share=500_000)), route()]
    with table(*routes) as s:
        counts = [0, 0, 0]
        for _ in range(40_000):
            counts[s.route(drawn(rng.getrandbits(64)))] += 1
    # 5%, and half of the rest: six standard deviations.
    assert abs(counts[0] - 2_000) < 6 * (40_000 * 0.05 * 0.95) ** 0.5
    assert abs(counts[1] - 19_000) < 6 * (40_000 * 0.475 * 0.525) ** 0.5


def test_shares_of_none_and_all():
    rng = random.Random(2)
    with table(route(more=further(share=0)), route(more=further(share=SHARE_ALL))) as s:
        assert {s.route(drawn(rng.getrandbits(64))) for _ in range(500)} == {1}


def test_a_host_longer_than_any_rule_still_meets_routes_without_hosts():
    assert found([route("/", hosts=["*.a"]), route("/")], request("/", "a." * 20_000 + "a")) == 1


def test_any_among_hosts_is_any():
    assert found([route("/", hosts=["a", "*", "b"])], request("/", "c")) == 0


@pytest.mark.parametrize(("methods", "method", "matches"), [
    ([], "GET", True), ([], "BREW", True), (["GET"], "GET", True), (["GET"], "HEAD", False), (["GET"], "get", False),
    (["GET", "POST"], "POST", True), (["BREW"], "BREW", True), (["BREW"], "GET", False), (["GET"], "BREW", False),
    (["BREW", "WHEN"], "WHEN", True), (["BREW", "GET"], "GET", True), (["CONNECT"], "CONNECT", True),
    (["PATCH", "TRACE", "OPTIONS", "DELETE", "PUT"], "DELETE", True),
    (["PATCH", "TRACE", "OPTIONS", "DELETE", "PUT"], "POST", False),
])
def test_method(methods, method, matches):
    assert found([route("/", methods=methods)], request(method=method)) == (0 if matches else None)


@pytest.mark.parametrize(("wanted", "fields", "matches"), [
    ([("x-a", "1")], [("x-a", "1")], True), ([("x-a", "1")], [("X-A", "1")], True),
    ([("x-a", "1")], [("x-a", "2")], False),
    ([("x-a", "1")], [], False), ([("x-a", "1")], [("x-ab", "1")], False), ([("x-a", "v")], [("x-a", "V")], False),
    ([("x-a", "")], [("x-a", "")], True), ([("x-a", "")], [], False),
    ([("user-agent", "u")], [("User-Agent", "u")], True), ([("user-agent", "u")], [("x", "u")], False),
    ([("user-agent", "u")], [("user-agent", "v")], False),
    # Any field of a name will do; that the others say something else is noticed afterwards.
    ([("x-a", "1")], [("x-a", "1"), ("x-a", "2")], True), ([("x-a", "2")], [("x-a", "1"), ("x-a", "2")], True),
    ([("x-a", "3")], [("x-a", "1"), ("x-a", "2")], False),
    ([("user-agent", "2")], [("user-agent", "1"), ("user-agent", "2")], True),
    ([("user-agent", "3")], [("user-agent", "1"), ("user-agent", "2")], False),
    ([("x-a", "1"), ("x-b", "2")], [("x-b", "2"), ("x-a", "1")], True),
    ([("x-a", "1"), ("x-b", "2")], [("x-a", "1")], False),
    ([("x-a", "1"), ("host", "h")], [("host", "h"), ("x-a", "1")], True),
])
def test_header(wanted, fields, matches):
    assert found([route("/", headers=wanted)], request(fields=fields)) == (0 if matches else None)


MISSES = {"nothing": 0, "host": 1, "path": 2, "method": 3, "source": 4, "header": 5, "cookie": 6, "query": 7,
          "pattern": 8,
          "share": 9}


@pytest.mark.parametrize(("made", "miss"), [
    (route("/a"), "nothing"), (route("/b"), "path"), (route("/a", hosts=["other"]), "host"),
    (route("/a", methods=["PUT"]), "method"), (route("/a", headers=[("x", "1")]), "header"),
    (route("/a", more=further(sources=[cidr("10.0.0.0/8")])), "source"),
    (route("/a", more=further(cookies=[value("c", "1")])), "cookie"),
    (route("/a", more=further(query=[value("q", "1")])), "query"),
    (route("/aa", kind=STARTS), "path"), (by_pattern("/a/b/a"), "pattern"), (route("/a", more=further(share=0)),
                                                                             "share"),
])
def test_what_is_missing(made, miss):
    with table(made) as s:
        assert s.miss(request("/a", "h"), 0) == MISSES[miss]


def test_patterns_are_filed_where_their_paths_come_by():
    for text, border in PATTERNS.items():
        assert on_border(compile_regex(text).literal) == border


def test_the_first_match_wins_however_specific_a_later_one_is():
    routes = [route("/"), route("/a/b", exact=True, hosts=["h"], methods=["GET"], headers=[("x", "1")])]
    assert found(routes, request("/a/b", "h", fields=[("x", "1")])) == 0
    assert found(routes[::-1], request("/a/b", "h", fields=[("x", "1")])) == 0
    assert found(routes[::-1], request("/a/b", "h")) == 1


def test_order_across_hosts_wildcards_and_depths():
    routes = [
        route("/a/b/c", hosts=["*.test"], methods=["PUT"]),
        route("/a", hosts=["x.y.test"], methods=["POST"]),
        route("/a/b", hosts=["*.y.test"]),
        route("/a", hosts=["x.y.test"]),
        route("/a/b/c", exact=True),
        route("/"),
    ]
    assert found(routes, request("/a/b/c", "x.y.test", "PUT")) == 0
    assert found(routes, request("/a/b/c", "x.y.test", "POST")) == 1
    assert found(routes, request("/a/b/c", "x.y.test")) == 2
    assert found(routes, request("/a/x", "x.y.test")) == 3
    assert found(routes, request("/a/b/c", "elsewhere")) == 4
    assert found(routes, request("/a/b/c/", "elsewhere")) == 5


def test_nothing_matches_an_empty_table():
    with table() as s:
        assert s.route(request()) is None


# --- against a model ---

def strip_host(authority: str) -> str:
    if authority.startswith("[") and "]" in authority:
        return authority[1:authority.index("]")].lower()
    host = authority.split(":")[0]
    return (host[:-1] if host.endswith(".") and len(host) > 1 else host).lower()


def is_path(r: list[Any], path: str) -> bool:
    want = r[2].decode() if isinstance(r[2], bytes) else r[2]
    if r[1] == 1:
        return path == want
    if r[1] == STARTS:
        return path.startswith(want)
    if r[1] == PATTERN:
        return re.fullmatch(list(PATTERNS)[r[11][0]], path) is not None
    return want == "/" or path == want or path.startswith(want if want.endswith("/") else want + "/")


def is_host(want: str, host: str) -> bool:
    if want.startswith("*."):
        return host.endswith(want[1:]) and len(host) > len(want) - 1
    if want.endswith(".*"):
        return host.startswith(want[:-1]) and len(host) > len(want) - 1
    return want in ("*", host)


def is_match(r: list[Any], method: str, authority: str, path: str, fields: list[tuple[str, str]],
             peer: str = "") -> bool:
    hosts, methods, headers, more = r[3], r[4], r[5], r[11]
    host = strip_host(authority)
    there = {(name.lower(), value) for name, value in fields}
    sources = [ip_network((address[:4], bits)) for _, bits, address in more[3]] if more else []
    return (is_path(r, path or "/") and (not hosts or any(is_host(want, host) for want in hosts))
            and (not methods or method in methods)
            and all((name, text) in there for name, text, *_ in headers)
            and (not sources or any(ip_address(peer) in network for network in sources)))


SEGMENTS = st.sampled_from(["a", "b", "ab", "", "longer-than-eight", "longer-than-sixteen-bytes", "*"])
PATHS = st.one_of(st.lists(SEGMENTS, max_size=5).map(lambda parts: "/" + "/".join(parts)), st.just("/"))
HOSTS = st.sampled_from(["a.test", "b.test", "x.a.test", "y.x.a.test", "test", "*.test", "*.a.test", "*.x.a.test", "*",
                         "10.0.0.1", "a.*", "x.*", "y.x.*", "x.a.*", "10.0.*"])
METHODS = st.sampled_from(["GET", "POST", "BREW", "WHEN"])
NAMES = st.sampled_from(["x-one", "x-two", "user-agent", "host"])
VALUES = st.sampled_from(["1", "2", ""])
SOURCES = st.lists(st.sampled_from(["10.0.0.0/8", "10.0.0.0/16", "10.1.0.0/16"]).map(cidr), max_size=2)


@st.composite
def routes_of(draw):
    kind = draw(st.sampled_from([0, 0, 1, 1, STARTS, PATTERN]))
    text = draw(st.sampled_from(list(PATTERNS)))
    more = further(list(PATTERNS).index(text) if kind == PATTERN else -1, sources=draw(SOURCES))
    return route(
        PATTERNS[text] if kind == PATTERN else draw(PATHS), kind=kind,
        hosts=draw(st.one_of(st.just([]), st.lists(HOSTS, max_size=3))),
        methods=draw(st.one_of(st.just([]), st.lists(METHODS, max_size=2))),
        headers=draw(st.one_of(st.just([]), st.lists(st.tuples(NAMES, VALUES), max_size=2))),
        more=more if kind == PATTERN or more[3] else None)


ROUTES = routes_of()
HEADS = st.tuples(
    METHODS, st.one_of(st.sampled_from(["", "A.test:80", "test.", ".test", "..", "[::1]:80", "q.y.x.a.test", "a.",
                                        "x.."]),
                       HOSTS.filter(lambda h: "*" not in h)),
    st.one_of(PATHS, st.just("*"), st.just("")), st.lists(st.tuples(NAMES.map(str.title), VALUES), max_size=4))
PEERS = st.sampled_from(["10.0.0.1", "10.1.0.1", "10.2.0.1", "11.0.0.1"])


@settings(max_examples=tries(400), deadline=None)
@given(st.one_of(st.lists(ROUTES, max_size=6), st.lists(ROUTES, min_size=5, max_size=60)),
       st.lists(HEADS, min_size=1, max_size=20), PEERS)
def test_index_scan_and_model_agree(routes, heads, peer):
    with table(*routes) as s:
        for method, authority, path, fields in heads:
            head = request(path, authority, method, fields, peer)
            expected = next((i for i, r in enumerate(routes) if is_match(r, method, authority, path, fields, peer)),
                            None)
            taken = [i for i in range(len(routes)) if s.miss(head, i) == 0]
            assert taken[:1] == ([] if expected is None else [expected])
            assert s.route(head) == expected
            assert s.route(head, scan=True) == expected


@settings(max_examples=tries(200), deadline=None)
@given(st.lists(ROUTES, min_size=5, max_size=20), st.binary(max_size=40), st.binary(max_size=300))
def test_any_bytes_as_path_and_authority(routes, path, authority):
    """The codec lets less through than this; index and scan agree on it anyway."""
    with table(*routes) as s:
        head = Request(b"GET", authority, path, [])
        assert s.route(head) == s.route(head, scan=True)


def test_a_large_table():
    rng = random.Random(4)
    routes = [route("/" + "/".join(rng.choice("abcdefgh") for _ in range(rng.randrange(1, 5))),
                    exact=rng.random() < 0.2,
                    hosts=[f"h{rng.randrange(100)}.test"] if rng.random() < 0.9 else [],
                    methods=["GET"] if rng.random() < 0.3 else []) for _ in range(5000)]
    with table(*routes) as s:
        for _ in range(3000):
            path = "/" + "/".join(rng.choice("abcdefgh") for _ in range(rng.randrange(1, 6)))
            head = request(path, f"h{rng.randrange(110)}.test", rng.choice(["GET", "POST"]))
            assert s.route(head) == s.route(head, scan=True)


def test_many_hosts_on_one_route():
    hosts = [f"h{i}.test" for i in range(20_000)]
    with table(*FILLER, route("/a", hosts=hosts), route("/a")) as s:
        assert s.route(request("/a/x", "h19999.test")) == len(FILLER)
        assert s.route(request("/a/x", "h20000.test")) == len(FILLER) + 1


def test_very_long_paths():
    deep = "/" + "a/" * 30_000
    with table(*FILLER, route(deep), route("/a/a")) as s:
        assert s.route(request(deep)) == len(FILLER)
        assert s.route(request(deep + "x")) == len(FILLER)
        assert s.route(request(deep[:-1])) == len(FILLER) + 1
