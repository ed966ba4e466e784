"""What is doubtful is said, and only that."""

import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh.config.load import load_text
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry as Numbers
from probes.snapshot_probe import Request, Snapshot
from probes.wire import registry


def warnings(text: str) -> list[str]:
    return [str(problem) for problem in load_text(text, "f", {}).warnings]


def routes(*lines: str) -> str:
    return ("listeners:\n- name: web\n  address: 127.0.0.1:80\n  routes:\n" + "".join(
        f"  - {{match: {{{line}}}, response: {{status: 200}}}}\n" for line in lines))


@pytest.mark.parametrize(("text", "said"), [
    ("listeners: []", ["f:1:12: listeners: there are no listeners: nothing is proxied"]),
    ("admin: {address: 0.0.0.0:15000}\n" + routes("prefix: /"),
     ["f:1:18: admin.address: the admin API listens on 0.0.0.0:15000, beyond this machine"]),
    ("admin: {address: 'unix:/run/x'}\n" + routes("prefix: /"), []),
    (routes("prefix: /") + "clusters: [{name: a, endpoints: []}]\n",
     ["f:6:19: clusters[0].name: no route leads to the cluster 'a'",
      "f:6:33: clusters[0].endpoints: the cluster 'a' has no endpoints: requests to it get 503"]),
    ("listeners: [{name: a, address: 127.0.0.1:1, protocol: tcp, cluster: c}]\n"
     "clusters: [{name: c, endpoints: [127.0.0.1:1, '127.0.0.1:2']}]\n",
     ["f:2:34: clusters[0].endpoints[0]: the endpoint 127.0.0.1:1 is the listener 'a', which leads here: requests go "
      "round in circles"]),
    ("listeners: [{name: a, address: 0.0.0.0:1, protocol: tcp, cluster: c}]\n"
     "clusters: [{name: c, endpoints: [127.0.0.1:1, '[::1]:1', '10.0.0.1:1']}]\n",
     ["f:2:34: clusters[0].endpoints[0]: the endpoint 127.0.0.1:1 is the listener 'a', which leads here: requests go "
      "round in circles"]),
    ("listeners:\n- {name: a, address: 0.0.0.0:1, protocol: tcp, cluster: c}\n"
     "- {name: b, address: 10.0.0.9:1, protocol: tcp, cluster: c}\nclusters: [{name: c, endpoints: [127.0.0.1:2]}]\n",
     ["f:3:22: listeners[1].address: the address 10.0.0.9:1 is part of that of listener 'a': connections to it come "
      "here"]),
    (routes("prefix: //a/%62"), ["f:5:22: listeners[0].routes[0].match.prefix: the prefix '//a/%62' is compared in its "
                                 "normal form, '/a/b'"]),
    (routes("path: /é"), ["f:5:20: listeners[0].routes[0].match.path: the path '/é' is compared in its normal form, "
                          "'/%C3%A9'"]),
    ("listeners:\n- name: a\n  address: 127.0.0.1:1\n  timeouts: {stream_idle: 0}\n"
     "  routes: [{match: {path: /a}, cluster: c, timeout: 1s}, {match: {path: /b}, cluster: c},\n"
     "    {name: last, match: {prefix: /c}, cluster: c}, {match: {path: /}, response: {status: 404}}]\n"
     "clusters: [{name: c, endpoints: [127.0.0.1:2]}]\n",
     ["f:4:27: listeners[0].timeouts.stream_idle: nothing ends a request of the route 'route-1' and of 1 more that is "
      "never answered"]),
    ("listeners:\n- name: a\n  address: 127.0.0.1:1\n  timeouts: {stream_idle: 0, request: 1m}\n"
     "  routes: [{match: {}, cluster: c}]\nclusters: [{name: c, endpoints: [127.0.0.1:2]}]\n", []),
    (routes("methods: [get]"), ["f:5:24: listeners[0].routes[0].match.methods[0]: the method 'get' matches only "
                                "requests that write it so"]),
    ("access_log: {fields: {a: '%TRACE_ID%', b: '%REQ(X)%'}}\n" + routes("prefix: /"),
     ["f:1:26: access_log.fields.a: %TRACE_ID% never has a value in this version"]),
    ("access_log: {format: text, template: '%TRACE_ID% %GRPC_STATUS%'}\n" + routes("prefix: /"),
     ["f:1:38: access_log.template: %GRPC_STATUS%, %TRACE_ID% never have a value in this version"]),
    ("access_log:\n" + routes("prefix: /"), []),
])
def test_warnings(text, said):
    assert warnings(text) == said


@pytest.mark.parametrize(("lines", "unreachable"), [
    (["prefix: /", "prefix: /a"], [1]),
    (["prefix: /a", "prefix: /"], []),
    (["prefix: /a", "prefix: /a/"], [1]),
    (["prefix: /a/", "prefix: /a"], []),
    (["prefix: /a/", "path: /a"], []),
    (["prefix: /a/", "path: /a/b", "path: /a/"], [1, 2]),
    (["prefix: /a", "prefix: /ab", "path: /a"], [2]),
    (["path: /a", "path: /a", "prefix: /a"], [1]),
    (["hosts: [a.b]", "hosts: [A.B]", "prefix: /"], [1]),
    (["hosts: [a.b, c.d]", "hosts: [c.d]", "hosts: [c.d, e.f]"], [1]),
    (["hosts: ['*.b']", "hosts: [a.b]", "hosts: [x.a.b]", "hosts: [b]", "hosts: ['*.a.b']"], [1, 2, 4]),
    (["hosts: ['*']", "hosts: [a]"], [1]),
    (["hosts: [a]", "hosts: ['*', a]"], []),
    (["methods: [GET, PUT]", "methods: [GET]", "methods: [GET, POST]", "prefix: /"], [1]),
    (["headers: {a: x}", "headers: {A: x, b: y}", "headers: {a: z}"], [1]),
    (["prefix: /", "path: '*'"], []),
    (["prefix: /a", "starts_with: /a", "starts_with: /a/b", "regex: '/a/.*'", "template: '/a/{x}'"], [2, 3, 4]),
    (["prefix: /a/", "regex: '/a(/.*)?'", "template: '/a/**'"], []),
    (["prefix: /a", "template: '/a/**'", "regex: '/a(/.*)?'", "regex: '/a/b?'", "regex: '/a.?'"], [1, 2, 3]),
    (["regex: /x+", "regex: /x+", "path: /x", "path: /y"], [1, 2]),
    (["regex: /x.*", "prefix: /x", "prefix: /x/", "starts_with: /xy", "prefix: /"], [1, 2, 3]),
    (["template: '/**'", "prefix: /"], []),
    (["regex: '.*'", "prefix: /"], [1]),
    (["template: '/{x}'", "template: '/{y}'", "template: '/{x}'"], [2]),
    (["grpc: {service: a.B}", "grpc: {service: a.B}", "prefix: /a.B/"], [1]),
    (["prefix: /a.B", "grpc: {service: a.B, method: C}", "grpc: {}"], [1]),
    (["share: 10%", "prefix: /", "share: 10%"], [2]),
    (["sources: [10.0.0.0/8]", "sources: [10.0.0.0/8], methods: [GET]", "prefix: /"], [1]),
    (["query: {a: x}", "query: {a: x}, cookies: {c: d}", "cookies: {c: d}"], [1]),
    (["headers: {a: {prefix: x}}", "headers: {a: {prefix: x}}", "headers: {a: xy}"], [1]),
    (["hosts: ['a.*']", "hosts: [a.b]", "hosts: [a.b.c]", "hosts: [a]", "hosts: ['a.b.*']", "hosts: ['*.b']"], [1, 2,
                                                                                                                4]),
])
def test_routes_that_no_request_reaches(lines, unreachable):
    found = [line for line in warnings(routes(*lines)) if "no request reaches" in line]
    assert [line.split(" this")[0] for line in found] == [
        f"f:{5 + i}:5: listeners[0].routes[{i}]: no request reaches" for i in unreachable]


_SEGMENT = st.sampled_from(["/", "/a", "/a/", "/a/b", "/ab"])
_HOSTS = st.lists(st.sampled_from(["a.b", "b", "x.a.b", '"*.b"', '"*.a.b"', '"*"', '"a.*"', '"x.a.*"']), max_size=2)
_METHODS = st.lists(st.sampled_from(["GET", "PUT"]), max_size=2)


@st.composite
def _route(draw: st.DrawFn) -> str:
    parts = [f"{draw(st.sampled_from(['prefix', 'path', 'starts_with']))}: {draw(_SEGMENT)}"]
    if draw(st.integers(0, 3)) == 0:
        parts = [draw(st.sampled_from(["regex: '/a/?b?'", "regex: '/a.*'", "template: '/a/**'", "template: '/{x}'"]))]
    parts += [f"hosts: [{', '.join(hosts)}]"] if (hosts := draw(_HOSTS)) else []
    parts += [f"methods: [{', '.join(methods)}]"] if (methods := draw(_METHODS)) else []
    parts += ["headers: {h: x}"] if draw(st.booleans()) else []
    return ", ".join(parts)


@settings(max_examples=tries(300), deadline=None)
@given(st.lists(_route(), min_size=2, max_size=5))
def test_the_data_plane_agrees_that_no_request_reaches_them(lines):
    text = routes(*lines)
    loaded = load_text(text, "f", {})
    dead = {int(str(problem).split("routes[")[1].split("]")[0]) for problem in loaded.warnings
            if "no request reaches" in str(problem)}
    with registry() as r:
        snapshot = Snapshot(compile(loaded.config, 1, Numbers())[0], r)
        reached = {snapshot.route(Request(method, host, path, headers))
                   for method in (b"GET", b"PUT", b"POST")
                   for host in (b"a.b", b"b", b"x.a.b", b"y.a.b", b"c.b", b"a.c", b"x.a.c", b"a.b.c", b"other")
                   for path in (b"/", b"/a", b"/a/", b"/a/b", b"/ab", b"/ac", b"/abc", b"/a/bc", b"/a/b/c",
                                b"/ab/c", b"/z", b"*")
                   for headers in ([], [(b"h", b"x")])}
        snapshot.close()
    assert not dead & reached
    # Everything that is alive can be reached by one of these, unless several earlier routes cover it together.
    singles = [i for i in range(len(lines)) if i not in dead and i not in reached]
    patterns = [i for i, line in enumerate(lines) if "regex" in line or "template" in line]
    assert all(i >= 2 or patterns[:2] == [0, 1] for i in singles)


def test_ten_thousand_hosts_are_compared_in_no_time():
    text = routes(*(f"hosts: [h{i}.example.com]" for i in range(10_000)))
    assert warnings(text) == []


def test_filters_that_are_not_asked():
    text = """\
filters: [{name: a, use: "x:Y"}, {name: b, use: "x:Y"}]
listeners:
- {name: web, address: 127.0.0.1:80, filters: [a], routes: [{match: {}, cluster: app}]}
- {name: db, address: 127.0.0.1:81, protocol: tcp, cluster: app}
clusters: [{name: app, endpoints: [127.0.0.1:1], filters: [a]}]
"""
    assert [(warning.line, warning.message) for warning in load_text(text).warnings] == [
        (1, "nothing refers to the filter 'b'"),
        (4, "the filters of the cluster 'app' are not asked about connections")]
