"""Files that are wrong, and exactly what is said about each."""

import pytest

from fastmesh.config import checks
from fastmesh.config.load import MAX_PROBLEMS, load_text
from fastmesh.config.value_match import ValueMatch
from fastmesh.errors import ConfigError

GOOD = """\
node: {service: shop, version: v1}
admin: {address: 127.0.0.1:15000}
workers: 1
reactor: auto
listeners:
  - name: web
    address: 127.0.0.1:8080
    protocol: http
    routes:
      - match: {prefix: /api, methods: [GET], headers: {x-canary: "1"}}
        cluster: api
      - match: {prefix: /internal}
        response: {status: 403}
      - match: {prefix: /}
        cluster: app
  - name: db
    address: 127.0.0.1:5432
    protocol: tcp
    cluster: postgres
clusters:
  - name: app
    load_balancer: least_request
    endpoints: [127.0.0.1:9000, {address: 127.0.0.1:9001, weight: 2}]
  - name: api
    endpoints: [127.0.0.1:9002]
  - name: postgres
    endpoints: [127.0.0.1:5433]
"""


def refusals(text: str, **env: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "f", env)
    return [(str(problem), problem.hint) for problem in caught.value.problems]


def test_a_good_file():
    loaded = load_text(GOOD, "f", {})
    config = loaded.config
    assert loaded.warnings == []
    assert (config.node.service, config.node.version, config.workers, config.reactor) == ("shop", "v1", 1, "auto")
    web, db = config.listeners
    assert (str(web.address), web.protocol, len(web.routes)) == ("127.0.0.1:8080", "http", 3)
    assert web.routes[0].match.headers == {"x-canary": ValueMatch(exact="1")}
    assert web.routes[1].response is not None and web.routes[1].response.status == 403
    assert (db.protocol, db.cluster) == ("tcp", "postgres")
    assert [endpoint.weight for endpoint in config.clusters[0].endpoints] == [1, 2]
    assert config.drain_timeout == 30_000_000_000 and web.limits.head == 60 << 10
    assert config.access_log is None


def test_sections_may_be_left_empty():
    text = GOOD.replace("admin: {address: 127.0.0.1:15000}", "admin:\naccess_log:").replace(
        "    protocol: tcp", "    protocol: tcp\n    limits:\n    timeouts:")
    config = load_text(text, "f", {}).config
    assert str(config.admin.address) == "127.0.0.1:15000" and config.listeners[1].limits.header_count == 100


@pytest.mark.parametrize(("value", "workers"), [("auto", "auto"), ("4", 4), ("'4'", 4), ("${N}", 2), ("${M:-3}", 3)])
def test_numbers_from_the_environment(value, workers):
    assert load_text(GOOD.replace("workers: 1", f"workers: {value}"), "f", {"N": "2"}).config.workers == workers


# What is replaced in the good file, by what, and what is said about it.
WRONG: list[tuple[str, str, str, str]] = [
    # --- types
    ("workers: 1", "workers: many",
     "f:3:10: workers: found 'many', allowed: a whole number from 1 to 256, or auto", ""),
    ("workers: 1", "workers: 0", "f:3:10: workers: found '0', allowed: a whole number from 1 to 256, or auto", ""),
    ("workers: 1", "workers: 1.5", "f:3:10: workers: found '1.5', allowed: a whole number from 1 to 256, or auto", ""),
    ("workers: 1", "workers:", "f:3:9: workers: found nothing, allowed: a whole number from 1 to 256, or auto", ""),
    ("workers: 1", "workers: [1]", "f:3:10: workers: found a list, allowed: a whole number from 1 to 256, or auto", ""),
    ("reactor: auto", "reactor: io-uring",
     "f:4:10: reactor: found 'io-uring', allowed: auto, io_uring or epoll", "write io_uring"),
    ("reactor: auto", "reactor: kqueue", "f:4:10: reactor: found 'kqueue', allowed: auto, io_uring or epoll", ""),
    ("reactor: auto", "drain_timeout: 10 sec",
     "f:4:16: drain_timeout: found '10 sec', allowed: a number with one of ms, s, m, h", "write 10s"),
    ("reactor: auto", "drain_timeout: 30",
     "f:4:16: drain_timeout: found '30', allowed: a number with one of ms, s, m, h", "write 30s"),
    ("reactor: auto", "drain_timeout: 25h", "f:4:16: drain_timeout: found '25h', allowed: at most 24h", ""),
    ("reactor: auto", "max_connections: 1e3",
     "f:4:18: max_connections: found '1e3', allowed: a whole number from 0 to 16777216", ""),
    ("    protocol: http", "    plain_answers: yes",
     "f:8:20: listeners[0].plain_answers: found 'yes', allowed: true or false", "write true"),
    ("    protocol: http", "    limits: {head: 64}",
     "f:8:20: listeners[0].limits.head: found '64', allowed: a number with one of B, KiB, MiB, GiB", "write 64B"),
    ("    protocol: http", "    limits: {head: 1MiB}",
     "f:8:20: listeners[0].limits.head: found '1MiB', allowed: from 1KiB to 63KiB", ""),
    ("    protocol: http", "    limits: {header_count: 241}",
     "f:8:28: listeners[0].limits.header_count: found '241', allowed: a whole number from 1 to 240", ""),
    ("    protocol: http", "    limits: 5", "f:8:13: listeners[0].limits: found '5', allowed: a mapping with the keys "
     "head, request_line, header_count, requests_per_connection, connections and buffer", ""),
    ("    protocol: http", "    protocol: https",
     "f:8:15: listeners[0].protocol: found 'https', allowed: http or tcp", "write http"),
    ("node: {service: shop, version: v1}", "node: shop",
     "f:1:7: node: found 'shop', allowed: a mapping with the keys service, version, namespace, workload, "
     "zone, instance and cluster",
     ""),
    ("node: {service: shop, version: v1}", 'node: {service: "a\\tb"}',
     "f:1:17: node.service: found 'a\\tb', allowed: text without control characters, at most 1,024 characters", ""),
    ("weight: 2", "weight: 0",
     "f:23:67: clusters[0].endpoints[1].weight: found '0', allowed: a whole number from 1 to 2147483648", ""),
    ("weight: 2", "weight: 2147483649",
     "f:23:67: clusters[0].endpoints[1].weight: found '2147483649', allowed: a whole number from 1 to 2147483648", ""),
    ("endpoints: [127.0.0.1:9002]", "endpoints: 127.0.0.1:9002",
     "f:25:16: clusters[1].endpoints: found '127.0.0.1:9002', allowed: a list", "write [127.0.0.1:9002]"),
    ("endpoints: [127.0.0.1:9002]", "endpoints: [[127.0.0.1:9002]]", "f:25:17: clusters[1].endpoints[0]: found a list, "
     "allowed: an address, or a mapping of address, weight, priority, zone and metadata", ""),
    ("methods: [GET]", "methods: GET",
     "f:10:40: listeners[0].routes[0].match.methods: found 'GET', allowed: a list", "write [GET]"),
    # --- keys
    ("reactor: auto", "reacter: auto", "f:4:1: unknown key 'reacter', allowed: node, admin, workers, reactor, "
     "drain_timeout, orphan_grace, hang_timeout, max_connections, filter_host, access_log, listeners, clusters, "
     "filters and rate_limits",
     "write reactor"),
    ("    protocol: http", "    keepalive_idle: 5s", "f:8:5: listeners[0]: unknown key 'keepalive_idle', allowed: "
     "name, address, protocol, direction, cluster, routes, filters, rate_limits, retry, fallback, backlog, "
     "plain_answers, trusted_clients, via, deadlines, limits and timeouts",
     "keepalive_idle is a key of listeners[].timeouts"),
    ("    load_balancer: least_request", "    loadBalancer: random",
     "f:22:5: clusters[0]: unknown key 'loadBalancer', allowed: name, load_balancer, balancing, endpoints, "
     "connect_timeout, idle_timeout, max_connections, max_pending, pending_timeout, max_requests, "
     "max_requests_per_connection, connect_attempts, retry_budget, avoid, outlier, heal and filters",
     "write load_balancer"),
    ("    load_balancer: least_request", "    x: 1", "f:22:5: clusters[0]: unknown key 'x', allowed: name, "
     "load_balancer, balancing, endpoints, connect_timeout, idle_timeout, max_connections, max_pending, "
     "pending_timeout, max_requests, max_requests_per_connection, connect_attempts, retry_budget, avoid, outlier, heal "
     "and filters", "remove it"),
    ("weight: 2}", "wieght: 2}", "f:23:59: clusters[0].endpoints[1]: unknown key 'wieght', allowed: address, "
     "weight, priority, zone and metadata", "write weight"),
    ("weight: 2}", "weight: 2, wieght: 3}", "f:23:70: clusters[0].endpoints[1]: unknown key 'wieght', allowed: "
     "address, weight, priority, zone and metadata", "weight is there already; remove this one"),
    ("workers: 1", "workers: 1\nworkers: 2", "f:4:1: the key 'workers' is there twice",
     "the first is on line 3; remove one of them"),
    ("    endpoints: [127.0.0.1:9002]\n", "", "f:24:5: clusters[1]: the key 'endpoints' of 'api' is missing",
     "add it, as endpoints: [127.0.0.1:9000, {address: 127.0.0.1:9001, weight: 2}]"),
    ("    address: 127.0.0.1:8080\n", "", "f:6:5: listeners[0]: the key 'address' of 'web' is missing",
     "add it, as address: 127.0.0.1:8080"),
    ("    address: 127.0.0.1:8080\n", "    adress: 127.0.0.1:8080\n", "f:7:5: listeners[0]: unknown key 'adress', "
     "allowed: name, address, protocol, direction, cluster, routes, filters, rate_limits, retry, fallback, backlog, "
     "plain_answers, trusted_clients, via, deadlines, limits and timeouts", "write address"),
    ("{address: 127.0.0.1:9001, weight: 2}", "{weight: 2}",
     "f:23:33: clusters[0].endpoints[1]: the key 'address' is missing", "add it, as address: 127.0.0.1:9000"),
    # --- addresses and names
    ("127.0.0.1:8080", "8080", "f:7:14: listeners[0].address: found '8080', allowed: IPv4 as 127.0.0.1:8080, IPv6 as "
     "[::1]:8080, or unix:/path/to/socket", "write 127.0.0.1:8080"),
    ("[127.0.0.1:9002]", "[api.internal:80]", "f:25:17: clusters[1].endpoints[0].address: found the host name "
     "'api.internal', allowed: an IP address: IPv4 as 127.0.0.1:8080, IPv6 as [::1]:8080, or unix:/path/to/socket",
     "write the IP address; a cluster finds endpoints by name with endpoints: {use: dns, hosts: [...]}"),
    ("  - name: db", "  - name: d b", "f:16:11: listeners[1].name: found 'd b', allowed: a name of 1 to 127 letters, "
     "digits and . _ - : / | @ that begins with a letter, a digit or _", ""),
    # --- between the parts
    ("cluster: api", "cluster: ap", "f:11:18: listeners[0].routes[0].cluster: there is no cluster 'ap', allowed: app, "
     "api, postgres", "write app"),
    ("cluster: postgres", "cluster: postgre",
     "f:19:14: listeners[1].cluster: there is no cluster 'postgre', allowed: app, api, postgres", "write postgres"),
    ("cluster: postgres", "cluster: quite_different",
     "f:19:14: listeners[1].cluster: there is no cluster 'quite_different', allowed: app, api, postgres", ""),
    ("  - name: db", "  - name: web", "f:16:11: listeners[1].name: the name 'web' is taken by listeners[0] on line 6",
     "give each of the listeners a name of its own"),
    ("  - name: postgres\n", "  - name: postgres\n    endpoints: []\n  - name: postgres\n",
     "f:28:11: clusters[3].name: the name 'postgres' is taken by clusters[2] on line 26",
     "give each of the clusters a name of its own"),
    ("127.0.0.1:5432", "127.0.0.1:8080",
     "f:17:14: listeners[1].address: the address 127.0.0.1:8080 is taken by listeners[0] on line 7",
     "choose another port"),
    ("127.0.0.1:5432", "127.0.0.1:15000",
     "f:17:14: listeners[1].address: the address 127.0.0.1:15000 is taken by admin on line 2", "choose another port"),
    ("127.0.0.1:5432", "0.0.0.0:15000", "f:17:14: listeners[1].address: the address 0.0.0.0:15000 overlaps with that "
     "of the admin API, 127.0.0.1:15000", "choose another port"),
    ("{address: 127.0.0.1:9001, weight: 2}", "localhost:9000",
     "f:23:33: clusters[0].endpoints[1]: the endpoint 127.0.0.1:9000 is there twice, first on line 23",
     "remove one of them; to give it more requests, give it a weight"),
    ("    cluster: postgres\n", "", "f:16:5: listeners[1]: the tcp listener 'db' has no cluster",
     "add cluster: and the name of a cluster"),
    ("    cluster: postgres\n", "    cluster: postgres\n    routes: []\n",
     "f:20:5: listeners[1].routes: a tcp listener has no routes", "name a cluster instead, or write protocol: http"),
    ("    protocol: tcp\n", "", "f:18:5: listeners[1].cluster: an http listener has routes, not a cluster",
     "write routes: [{match: {prefix: /}, cluster: postgres}], or protocol: tcp"),
    ("    protocol: tcp\n    cluster: postgres\n", "", "f:16:5: listeners[1]: the http listener 'db' has no routes",
     "add routes: [{match: {prefix: /}, cluster: NAME}], or write protocol: tcp and a cluster"),
    ("        response: {status: 403}\n", "        response: {status: 403}\n        cluster: app\n",
     "f:13:9: listeners[0].routes[1].response: the route has both a cluster and a response", "remove one of them"),
    ("        response: {status: 403}\n", "", "f:12:9: listeners[0].routes[1]: the route leads nowhere",
     "add cluster: and the name of a cluster, or response: {status: 403}"),
    ("        response: {status: 403}\n", "        response:\n", "f:12:9: listeners[0].routes[1]: the route leads "
     "nowhere", "add cluster: and the name of a cluster, or response: {status: 403}"),
    ("      - match: {prefix: /internal}\n        response", "      - response",
     "f:12:9: listeners[0].routes[1]: the key 'match' is missing", "add it, as match: {prefix: /}"),
    ("{prefix: /internal}", "{prefix: /internal, path: /x}",
     "f:12:36: listeners[0].routes[1].match.path: the match has both a prefix and a path",
     "remove one of them: prefix is the beginning, path the whole"),
    ("    protocol: http", "    limits: {head: 8KiB}", "f:8:20: listeners[0].limits.head: the request line may be "
     "16KiB, the whole head only 8KiB", "make limits.head the larger one"),
    ("    load_balancer: least_request", "    avoid: {base: 1m}",
     "f:22:19: clusters[0].avoid.base: avoid.base is 1m, more than avoid.max, 30s", "make avoid.max the larger one"),
    ("    load_balancer: least_request", "    outlier: {base: 10m}",
     "f:22:21: clusters[0].outlier.base: outlier.base is 10m, more than outlier.max, 5m",
     "make outlier.max the larger one"),
    ("    load_balancer: least_request", "    outlier: {success_rate: {factor: 1.98765}}",
     "f:22:38: clusters[0].outlier.success_rate.factor: found '1.98765', "
     "allowed: a number from 0 to 100, with at most three places, as 1.9", ""),
    ("    load_balancer: least_request", "    heal: {run: [restart]}",
     "f:22:17: clusters[0].heal.run: found 'restart', allowed: the whole path of a program, which begins with /", ""),
    # --- HTTP
    ("/internal", "internal", 'f:12:25: listeners[0].routes[1].match.prefix: found \'internal\', allowed: a path that '
     'begins with "/", without query or fragment', "write /internal"),
    ("/internal", "/internal?x=1", 'f:12:25: listeners[0].routes[1].match.prefix: found \'/internal?x=1\', allowed: a '
     'path that begins with "/", without query or fragment',
     "rules see the path only: leave out the query, or write %3F for the character itself"),
    ("status: 403", "status: 103",
     "f:13:28: listeners[0].routes[1].response.status: found '103', allowed: a whole number from 200 to 599", ""),
    ("{status: 403}", "{body: x}", "f:13:19: listeners[0].routes[1].response: the key 'status' is missing",
     "add it, as status: 403"),
    ("{status: 403}", "{status: 204, body: x}",
     "f:13:33: listeners[0].routes[1].response.body: an answer with status 204 has no body",
     "remove the body, or choose another status"),
    ("{status: 403}", '{status: 403, content_type: " x"}', "f:13:47: listeners[0].routes[1].response.content_type: "
     "found ' x', allowed: text without control characters and without spaces at its ends", ""),
    ("x-canary:", '"x canary":', "f:10:57: listeners[0].routes[0].match.headers: found the key 'x canary', allowed: a "
     "header name: letters, digits and - (a token of RFC 9110)", ""),
    ("x-canary:", '":authority":', "f:10:57: listeners[0].routes[0].match.headers: found the key ':authority', "
     "allowed: a header name: letters, digits and - (a token of RFC 9110)", "use hosts"),
    ('x-canary: "1"', "x-a: 1, X-A: 2", "f:10:65: listeners[0].routes[0].match.headers.X-A: the header 'X-A' is there "
     "twice, as 'x-a' too", "names are compared without case; remove one of them"),
    ("[GET]", "[GET, 'G T']", "f:10:46: listeners[0].routes[0].match.methods[1]: found 'G T', allowed: a method, as "
     "GET or PURGE", ""),
    ("methods: [GET]", "hosts: ['a.b:80']", "f:10:39: listeners[0].routes[0].match.hosts[0]: found 'a.b:80', allowed: "
     "a host name without port, as shop.example.com, *.example.com or shop.*", "write a.b: every port of it matches"),
    ("methods: [GET]", "hosts: ['a.*.b']", "f:10:39: listeners[0].routes[0].match.hosts[0]: found 'a.*.b', allowed: a "
     "host name without port, as shop.example.com, *.example.com or shop.*",
     "a * stands only at one end, for one or more whole labels: *.example.com or shop.*"),
    ("methods: [GET]", "hosts: [bücher.de]", "f:10:39: listeners[0].routes[0].match.hosts[0]: found 'bücher.de', "
     "allowed: a host name without port, as shop.example.com, *.example.com or shop.*",
     "write its ASCII form, xn--bcher-kva.de"),
    # --- matches
    ("{prefix: /internal}", "{starts_with: /x, regex: /x}",
     "f:12:34: listeners[0].routes[1].match.regex: the match has both a starts_with and a regex", "remove one of them"),
    ("{prefix: /internal}", "{regex: '/(a'}", "f:12:24: listeners[0].routes[1].match.regex: found '/(a' with a ( "
     "that is "
     "not closed at character 2, allowed: a regular expression without back-references and looking around",
     "write \\( for the character itself"),
    ("{prefix: /internal}", "{regex: 'api/.*'}", "f:12:24: listeners[0].routes[1].match.regex: found 'api/.*', "
     "allowed: a "
     "regular expression that takes a whole path, as /api/v[0-9]+/.*", "paths begin with /"),
    ("{prefix: /internal}", "{regex: '/.*a.{30}'}", "f:12:24: listeners[0].routes[1].match.regex: found '/.*a.{30}', "
     "allowed: one whose table has at most 2,048 states", "make what repeats shorter, or write several routes"),
    ("{prefix: /internal}", "{template: '/{a}/**/b'}", "f:12:27: listeners[0].routes[1].match.template: found "
     "'/{a}/**/b', allowed: a path of which {name} or * stands for what is in one segment, and ** at the end for all "
     "that follows", "write ** only as the last segment"),
    ("{prefix: /internal}", "{grpc: {service: shop/Cart}}", "f:12:33: listeners[0].routes[1].match.grpc.service: found "
     "'shop/Cart', allowed: a name of gRPC, as shop.v1.Cart or AddItem", ""),
    ('x-canary: "1"', "x-a: {exact: a, prefix: b}", "f:10:73: listeners[0].routes[0].match.headers.x-a.prefix: the "
     "match "
     "has both exact and prefix", "remove one of them"),
    ('x-canary: "1"', "x-a: {min: 1, regex: b}", "f:10:63: listeners[0].routes[0].match.headers.x-a.min: the match "
     "has both regex and min", "remove one of them"),
    ('x-canary: "1"', "x-a: {invert: true}", "f:10:62: listeners[0].routes[0].match.headers.x-a: the match does not "
     "say "
     "what the value must be, allowed: one of exact, prefix, suffix, contains, regex, present, min and max",
     "write present: true when any value will do"),
    ('x-canary: "1"', "x-a: {present: true, invert: true}", "f:10:78: "
     "listeners[0].routes[0].match.headers.x-a.invert: present with invert says the opposite of what it says",
     "write present: false alone"),
    ('x-canary: "1"', "x-a: {min: 5, max: -1}", "f:10:76: listeners[0].routes[0].match.headers.x-a.max: max is -1, "
     "less "
     "than min, 5", "make max the larger one"),
    ('x-canary: "1"', "x-a: {min: 5.5}", "f:10:68: listeners[0].routes[0].match.headers.x-a.min: found '5.5', "
     "allowed: a "
     "whole number of at most 18 digits", ""),
    ('x-canary: "1"', "x-a: {prefix: ''}", "f:10:71: listeners[0].routes[0].match.headers.x-a.prefix: found '', "
     "allowed: "
     "text of 1 to 8,192 characters without control characters", ""),
    ('x-canary: "1"', "x-a: {exakt: a}", "f:10:63: listeners[0].routes[0].match.headers.x-a: unknown key 'exakt', "
     "allowed: exact, prefix, suffix, contains, regex, present, min, max and invert", "write exact"),
    ('x-canary: "1"', "x-a: [1]", "f:10:62: listeners[0].routes[0].match.headers.x-a: found a list, allowed: a "
     "value, or "
     "a mapping with one of exact, prefix, suffix, contains, regex, present, min and max", ""),
    ("methods: [GET]", "query: {v: {regex: '('}}", "f:10:50: listeners[0].routes[0].match.query.v.regex: found '(' "
     "with a "
     "( that is not closed at character 1, allowed: a regular expression without back-references and looking around",
     "write \\( for the character itself"),
    ("methods: [GET]", "cookies: {'a b': x}", "f:10:41: listeners[0].routes[0].match.cookies: found the key 'a b', "
     "allowed: the name of a cookie (a token of RFC 6265)", ""),
    ("methods: [GET]", "sources: [10.0.0.1/8]", "f:10:41: listeners[0].routes[0].match.sources[0]: found '10.0.0.1/8', "
     "allowed: a network whose address has no bits beyond its length",
     "write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address"),
    ("methods: [GET]", "share: 101%", "f:10:38: listeners[0].routes[0].match.share: found '101%', allowed: a number "
     "from 0 "
     "to 100 with %", ""),
    # --- what routes do
    ("response: {status: 403}", "redirect: {status: 304}", "f:13:28: listeners[0].routes[1].redirect.status: found "
     "'304', "
     "allowed: 301, 302, 303, 307 or 308", ""),
    ("response: {status: 403}", "redirect: {}\n        cluster: app", "f:13:9: listeners[0].routes[1].redirect: the "
     "route "
     "has both a cluster and a redirect", "remove one of them"),
    ("response: {status: 403}", "redirect: {prefix: /a, path: /b}", "f:13:32: listeners[0].routes[1].redirect.path: "
     "the "
     "redirect has both a prefix and a path", "remove one of them"),
    ("{prefix: /internal}\n        response: {status: 403}", "{regex: /x}\n        redirect: {prefix: /a}",
     "f:13:20: listeners[0].routes[1].redirect.prefix: the match has no prefix that this could take the place of",
     "write prefix in the match, or path here"),
    ("{prefix: /internal}\n        response: {status: 403}", "{template: '/{a}'}\n        redirect: {template: '/{b}'}",
     "f:13:30: listeners[0].routes[1].redirect.template: found '/{b}', allowed: of what was there, {1}, {a}",
     "{b} is no name of the match, or a group that repeats, may be missing or stands within another"),
    ("response: {status: 403}", "redirect: {template: '/{b}'}", "f:13:20: listeners[0].routes[1].redirect.template: "
     "the match has no template or regex whose parts this could be made of",
     "write template in the match, or path here"),
    ("response: {status: 403}", "redirect: {host: '*.a.b'}", "f:13:26: listeners[0].routes[1].redirect.host: found "
     "'*.a.b', allowed: one host name, as shop.example.com", ""),
    ("{status: 403}", "{status: 403}\n        rewrite: {path: /}", "f:14:9: listeners[0].routes[1].rewrite: the "
     "route has "
     "a response, so nobody gets the request", "remove rewrite"),
    ("{status: 403}", "{status: 403}\n        request_headers: {remove: [x]}", "f:14:9: "
     "listeners[0].routes[1].request_headers: the route has a response, so nobody gets the request",
     "remove request_headers"),
    ("{status: 403}", "{status: 403}\n        response_headers: {set: {x-a: b, X-A: c}}", "f:14:42: "
     "listeners[0].routes[1].response_headers.set.X-A: the header 'X-A' is there twice",
     "names are compared without case; remove one of them"),
    ("{status: 403}", "{status: 403}\n        response_headers: {set: {x-a: b}, remove: [X-A]}", "f:14:34: "
     "listeners[0].routes[1].response_headers.set.x-a: the header 'x-a' is set and removed",
     "set replaces what was there: leave it out of remove, or remove it here"),
    ("{status: 403}", "{status: 403}\n        response_headers: {set: {Content-Length: 1}}", "f:14:34: "
     "listeners[0].routes[1].response_headers.set: found the key 'content-length', allowed: the name of a header "
     "that is "
     "not the proxy's own", "it says where a message ends, or concerns one connection: leave it to the proxy"),
    ("cluster: api\n", "cluster: api\n        request_headers: {set: {host: a}}\n", "f:12:33: "
     "listeners[0].routes[0].request_headers.set: found the key 'host', allowed: the name of a header that is not the "
     "proxy's own", "write rewrite: {host: NAME}"),
    ("cluster: api\n", "cluster: api\n        request_headers: {set: {a: '%RESPONSE_CODE%'}}\n", "f:12:36: "
     "listeners[0].routes[0].request_headers.set.a: found '%RESPONSE_CODE%', allowed: of operators, %START_TIME%, "
     "%REQ(:METHOD)%, %REQ(:PATH)%, %PROTOCOL%, %REQ(NAME)%, %REQ(:AUTHORITY)%, %UPSTREAM_CLUSTER%, %ROUTE_NAME%, "
     "%LISTENER%, %DOWNSTREAM_REMOTE_ADDRESS%, %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%, %REQUEST_ID% and "
     "%CONNECTION_ID%", "the others are not known at this time"),
    ("cluster: api\n", "cluster: api\n        request_headers: {set: {a: '%NO%'}}\n", "f:12:36: "
     "listeners[0].routes[0].request_headers.set.a: found the unknown operator '%NO%', allowed: the operators "
     "that `fastmesh reference access_log.template` lists, as %REQ(:METHOD)% or %RESPONSE_CODE%", ""),
    ("response: {status: 403}", "clusters: {app: 1, aap: 2}", "f:13:28: listeners[0].routes[1].clusters.aap: there "
     "is no "
     "cluster 'aap', allowed: app, api, postgres", "write app"),
    ("response: {status: 403}", "clusters: {app: 0, api: 0}", "f:13:9: listeners[0].routes[1].clusters: all weights "
     "are 0, "
     "so no request goes anywhere", "give one of them a weight"),
    ("response: {status: 403}", "clusters: {}", "f:13:9: listeners[0].routes[1].clusters: the route leads to none of "
     "several clusters", "write {app: 90, app-next: 10}, with names of clusters"),
    ("response: {status: 403}", "clusters: {app: 1000001}", "f:13:25: listeners[0].routes[1].clusters.app: found "
     "'1000001', allowed: a whole number from 0 to 1000000", ""),
    ("response: {status: 403}", "clusters: {app: 1}\n        sticky: {}", "f:14:9: listeners[0].routes[1].sticky: "
     "sticky "
     "names nothing", "name one header or one cookie"),
    ("response: {status: 403}", "clusters: {app: 1}\n        sticky: {header: a, cookie: b}", "f:14:9: "
     "listeners[0].routes[1].sticky: sticky has both a header and a cookie", "name one header or one cookie"),
    ("response: {status: 403}", "cluster: app\n        sticky: {header: a}", "f:14:9: listeners[0].routes[1].sticky: "
     "sticky is for clusters, and the route has none to choose between",
     "remove sticky, or write clusters: {app: 90, app-next: 10}"),
    # --- access log
    ("reactor: auto", "access_log: {path: log.txt}",
     "f:4:20: access_log.path: found 'log.txt', allowed: an absolute path, as /dev/stdout or /var/log/fastmesh.log",
     ""),
    ("reactor: auto", 'access_log: {fields: {a: "%REQ(:METHOD%"}}', "f:4:26: access_log.fields.a: found "
     "'%REQ(:METHOD%', allowed: the operators that `fastmesh reference access_log.template` lists, as %REQ(:METHOD)% "
     "or %RESPONSE_CODE%",
     "write %% for the character % itself"),
    ("reactor: auto", 'access_log: {fields: {a: "%RESPONSE_COD%"}}', "f:4:26: access_log.fields.a: found the unknown "
     "operator '%RESPONSE_COD%', allowed: the operators that `fastmesh reference access_log.template` lists, as "
     "%REQ(:METHOD)% or %RESPONSE_CODE%",
     "write %RESPONSE_CODE%"),
    ("reactor: auto", "access_log: {fields: {}}",
     "f:4:22: access_log.fields: found an empty one, allowed: at least one item, or leave the key out", ""),
    ("reactor: auto", "access_log: {template: x}",
     "f:4:14: access_log.template: template is for format: text, and the format is json",
     "write format: text, or remove template"),
    # --- the environment
    ("service: shop", 'service: "${SERVICE}"', "f:1:18: the environment variable SERVICE is not set",
     "set it, or give a default: ${SERVICE:-value}"),
    ("workers: 1", "workers: ${BAD}",
     "f:3:10: workers: found 'x1' (from ${BAD}), allowed: a whole number from 1 to 256, or auto", ""),
    ("cluster: postgres", "cluster: ${NONE}", "f:19:14: the environment variable NONE is not set",
     "set it, or give a default: ${NONE:-value}"),
]


@pytest.mark.parametrize(("old", "new", "message", "hint"), WRONG, ids=[new.strip()[:40] for _, new, _, _ in WRONG])
def test_one_thing_wrong(old, new, message, hint):
    assert old in GOOD
    found = refusals(GOOD.replace(old, new, 1), BAD="x1")
    assert found == [(message, hint)]


def test_clusters_by_name_instead_of_a_list():
    """Every reference to one of them would be a second report of the same mistake."""
    by_name = "listeners: [{name: web, address: '[::1]:80', routes: [{match: {}, cluster: app}]}]\n"
    assert refusals(by_name + "clusters:\n  app: {endpoints: []}\n") == [
        ("f:3:3: clusters: found a mapping, allowed: a list",
         "begin each item with '- ' and give it its name as a key: '- name: app'")]
    assert refusals(by_name + "clusters:\n  name: app\n") == [
        ("f:3:3: clusters: found a mapping, allowed: a list", "begin each item with '- '")]


def test_a_listener_without_anything():
    assert [said for said, _ in refusals("listeners: [{protocol: http}]")] == [
        "f:1:13: listeners[0]: the key 'name' is missing", "f:1:13: listeners[0]: the key 'address' is missing",
        "f:1:13: listeners[0]: the http listener has no routes"]
    assert "f:1:13: listeners[0]: the tcp listener has no cluster" in [
        said for said, _ in refusals("listeners: [{protocol: tcp}]")]


def test_everything_wrong_at_once():
    text = GOOD
    places = []
    for old, new, message, _ in WRONG:
        # One change a line, so that the places stay; and none that ends the reading.
        line = GOOD[:GOOD.index(old)].count("\n")
        if line not in places and "\n" not in old + new and "YAML" not in message and "on line" not in message:
            text = text.replace(old, new, 1)
            places.append(line)
    found = refusals(text, BAD="x1")
    lines = {int(said.split(":")[1]) - 1 for said, _ in found}
    assert len(places) > 8 and set(places) <= lines


def test_what_follows_from_a_reported_fault_is_not_reported():
    # The misspelt key explains why there is no cluster, and why there are no routes.
    text = GOOD.replace("cluster: postgres", "clutser: postgres").replace("    routes:", "    routs:")
    assert [said.split(", allowed")[0] for said, _ in refusals(text)] == [
        "f:9:5: listeners[0]: unknown key 'routs'", "f:19:5: listeners[1]: unknown key 'clutser'"]


def test_the_message_has_no_more_than_the_eye_can_take():
    text = "listeners: []\nclusters:\n" + "  - 1\n" * 1000
    found = refusals(text)
    assert len(found) == MAX_PROBLEMS + 1 and found[-1][0] == "f: there is more; these are the first 100"


def test_a_large_file_is_checked_part_by_part():
    lines = "".join(f"  - {{name: c{i}, endpoints: [127.0.0.1:{i + 1}], max_pending: 0}}\n" for i in range(9000))
    found = refusals("listeners: []\nworkers: x\nclusters:\n" + lines)
    assert len(found) == MAX_PROBLEMS + 1
    assert found[0][0].startswith("f:4:") and "max_pending: found '0'" in found[0][0]


def test_an_alias_is_reported_once():
    text = GOOD.replace("[127.0.0.1:9002]", "&e [127.0.0.1:x]").replace("[127.0.0.1:5433]", "*e")
    assert [said for said, _ in refusals(text)] == [
        "f:25:20: clusters[1].endpoints[0].address: found '127.0.0.1:x', allowed: a port from 1 to 65535"]


@pytest.mark.parametrize(("text", "message"), [
    ("[]", "f:1:1: found a list, allowed: a mapping that begins with keys such as listeners: and clusters:"),
    ("hello", "f:1:1: found 'hello', allowed: a mapping that begins with keys such as listeners: and clusters:"),
    ("{}", "f:1:1: the key 'listeners' is missing"),
    ("listeners:", "f:1:11: listeners: found nothing, allowed: a list"),
    ("listeners: {}", "f:1:12: listeners: found a mapping, allowed: a list"),
    ("listeners: [a]", "f:1:13: listeners[0]: found 'a', allowed: a mapping with the keys name, address, protocol, "
                       "direction, cluster, routes, filters, rate_limits, retry, fallback, backlog, plain_answers, "
                       "trusted_clients, "
                       "via, deadlines, limits and timeouts"),
])
def test_shapes(text, message):
    assert [said for said, _ in refusals(text)] == [message]


def test_a_log_line_has_room_for_its_own_text():
    def log(count: int) -> str:
        fields = "".join(f"    k{n}: {'v' * 8000}\n" for n in range(count))
        return GOOD.replace("admin: {address: 127.0.0.1:15000}", f"access_log:\n  fields:\n{fields}")
    assert load_text(log(8), "f", {}).warnings == []
    with pytest.raises(ConfigError) as error:
        load_text(log(9), "f", {})
    assert [problem.path for problem in error.value.problems] == ["access_log.fields"]
    assert "72,0" in str(error.value)


def test_half_a_file_is_never_taken_for_a_whole_one():
    """Cut anywhere, the file is refused, or says the same as far as it goes: a name cut short leads nowhere."""
    whole = load_text(GOOD, "f", {}).config
    for end in range(len(GOOD)):
        try:
            part = load_text(GOOD[:end], "f", {}).config
        except ConfigError:
            continue
        assert part.listeners == whole.listeners, end
        # Only the last cluster's list may be cut, and only where its line is complete.
        assert [cluster.name for cluster in part.clusters] == [cluster.name for cluster in whole.clusters]


def test_all_tables_together_are_bounded(monkeypatch):
    monkeypatch.setattr(checks, "MAX_ALL_CELLS", 100)
    routes = "".join(f"      - {{match: {{regex: '/{letter * 20}'}}, cluster: app}}\n" for letter in "aab")
    text = GOOD.replace("      - match: {prefix: /internal}\n", routes + "      - match: {prefix: /internal}\n")
    assert refusals(text) == [
        ("f:14:25: listeners[0].routes[3].match.regex: the tables of all patterns up to here have 138 steps, "
         "allowed: at "
         "most 100", "make the patterns simpler, or fewer")]
