"""What `fastmesh explain` says, and that the documents show what it says."""

import re
from pathlib import Path

import pytest

from fastmesh.cli.main import main

CONFIG = """\
listeners:
  - name: web
    address: 127.0.0.1:8080
    routes:
      - match: {prefix: /admin, sources: [10.0.0.0/8]}
        cluster: app
      - name: writes
        match: {prefix: /api, methods: [POST, PUT]}
        cluster: app
      - match: {path: /api/x}
        response: {status: 403}
      - match: {starts_with: /old, headers: {x-v: {min: 2, max: 3}}}
        redirect: {path: /new}
      - match: {template: "/users/{id}", hosts: ["*.ex.test"], cookies: {t: {prefix: b}}, query: {q: {present: true}}}
        cluster: empty
      - match: {grpc: {service: a.B}}
        cluster: app
      - match: {regex: "/s+", share: 0%}
        cluster: app
      - name: split
        match: {prefix: /s}
        clusters: {app: 9, empty: 1}
        rewrite: {prefix: /t, host: a.b}
        sticky: {header: x-user}
        timeout: 2s
  - name: other
    address: 127.0.0.1:8081
    routes: [{match: {hosts: [h], headers: {x-a: {exact: "1", invert: true}}}, cluster: app}]
  - {name: db, address: 127.0.0.1:8082, protocol: tcp, cluster: app}
clusters:
  - name: app
    endpoints: [127.0.0.1:9000, {address: 127.0.0.1:9001, weight: 3}]
  - name: empty
    endpoints: []
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.yaml"
    path.write_text(CONFIG)
    return path


def said(file: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = main(["explain", str(file), *arguments])
    out, err = capsys.readouterr()
    return code, (out or err).replace(str(file), "f").splitlines()


EJECTED = ["  ejected: who has 7 server_errors, 5 gateway_errors, 3 connect_failures, 5 timeouts in a row",
           "    or by success_rate, failure_percentage in 10s; out for 30s, at most 34% or one at a time",
           "  limits: max_requests 10,000, max_pending 1,024, max_cluster_connections 10,000, max_retries 500"]
WEB = ["listener web (f:2), 127.0.0.1:8080"]
POSTED = "retry: failed connects at up to 3 endpoints; no rule"
RETRY = "retry: failed connects at up to 3 endpoints, lost connections too (budget 20% and 10/s); no rule"
APP = ["cluster app (f:31), least_request", "  127.0.0.1:9000  weight 1  25 %", "  127.0.0.1:9001  weight 3  75 %",
       *EJECTED]


def test_the_whole_way(file, capsys):
    assert said(file, capsys, "PUT", "http://x:8080/api/./x?q=1") == (0, [
        "PUT /api/./x?q=1, host x:8080, from 127.0.0.1", *WEB, "path compared: /api/x",
        "  routes[0] route-0 (f:5): no, the path does not begin with /admin", "  routes[1] writes (f:7): takes it",
        "timeout: none", RETRY, *APP])


@pytest.mark.parametrize(("arguments", "code", "tail"), [
    (["GET", "/api/x"], 0, ["  routes[1] writes (f:7): no, the method GET is none of POST, PUT",
                            "  routes[2] route-2 (f:10): takes it", "answer 403, the response of the route"]),
    (["GET", "/admin", "--source", "11.0.0.1"], 1, None),
    (["GET", "/admin", "--source", "10.0.0.1"], 0,
     ["  routes[0] route-0 (f:5): takes it", "timeout: none", RETRY, *APP]),
    (["GET", "/oldest", "-H", "X-V: 3"], 0, ["  routes[3] route-3 (f:12): takes it",
                                             "answer 302, a redirect: path /new"]),
    (["GET", "//users/7?q", "-H", "host: a.ex.test", "-H", "cookie: t=blue"], 0,
     ["  routes[4] route-4 (f:14): takes it", "timeout: none", RETRY, "cluster empty (f:33), least_request",
      "  no endpoint: answer 503", *EJECTED]),
    (["POST", "/a.B/C", "-H", "content-type: application/grpc"], 0,
     ["  routes[5] route-5 (f:16): takes it", "timeout: none", POSTED, *APP]),
    (["GET", "/s", "-H", "x-user: 1"], 0, None),
    (["GET", "/%zz"], 1, ["answer 400: the path has a broken percent escape or an encoded NUL"]),
    (["GET", "/api%2fx"], 1, None),
    (["get", "/api", "-H", "x: y"], 1, None),
    (["GET", "/old", "-H", "x-v: 2", "-H", "x-v: 3"], 1,
     ["  routes[3] route-3 (f:12): takes it", "answer 400: a header, parameter or cookie that the route asks for is "
      "there "
      "with different values, or can be read in two ways"]),
    (["GET", "/nowhere"], 1, ["answer 404: no route takes it"]),
    (["G T", "/"], 1, None),
])
def test_ends(file, capsys, arguments, code, tail):
    found, lines = said(file, capsys, *arguments, "--listener", "web")
    assert found == code
    if tail is not None:
        assert lines[-len(tail):] == tail


WANTS_B = "the cookie t is not prefix 'b'"


def test_why_not(file, capsys):
    _, lines = said(file, capsys, "GET", "/admin", "--listener", "web", "--source", "11.0.0.1")
    assert lines[3] == "  routes[0] route-0 (f:5): no, the client 11.0.0.1 is none of 10.0.0.0/8"
    _, lines = said(file, capsys, "GET", "http://x/old", "--listener", "web")
    assert lines[6] == "  routes[3] route-3 (f:12): no, the header x-v is not at least 2 and at most 3"
    assert lines[7] == "  routes[4] route-4 (f:14): no, the host is none of *.ex.test"
    assert lines[9] == "  routes[6] route-6 (f:18): no, the path is none of /s+"
    for more, why in ((["-H", "cookie: t=blue"], "the parameter q is not there"), ([], WANTS_B)):
        _, lines = said(file, capsys, "GET", "http://a.ex.test/users/1", "--listener", "web", *more)
        assert lines[7].endswith(f"no, {why}")
    _, lines = said(file, capsys, "GET", "/a.B/C", "--listener", "web")
    assert lines[8].endswith("no, the content-type is not that of gRPC")
    _, lines = said(file, capsys, "GET", "/s", "--listener", "web")
    assert lines[9].endswith("no, it takes 0% of such requests, and this is none of them")
    _, lines = said(file, capsys, "GET", "http://h:8081/", "-H", "x-a: 1")
    assert lines[3].endswith("no, the header x-a is not other than exact '1'")


def test_a_split(file, capsys):
    ends = set()
    for user in range(40):
        code, lines = said(file, capsys, "GET", "/s", "--listener", "web", "-H", f"x-user: {user}")
        assert code == 0
        at = lines.index("split (f:22) by the header x-user: app 90 %, empty 10 %")
        assert lines[at + 1:at + 4] == ["rewrite (f:23): prefix /t, host a.b", "timeout (f:25): 2s", RETRY]
        ends.add(lines[at + 4])
        assert said(file, capsys, "GET", "/s", "--listener", "web", "-H", f"x-user: {user}", "--seed", "7")[1] == lines
    assert ends == {"cluster app (f:31), least_request", "cluster empty (f:33), least_request"}


def test_the_listener_is_that_of_the_port_or_named(file, capsys):
    assert said(file, capsys, "GET", "http://h:8081/")[1][1] == "listener other (f:26), 127.0.0.1:8081"
    assert said(file, capsys, "GET", "h:8081/")[1][1] == "listener other (f:26), 127.0.0.1:8081"
    code, lines = said(file, capsys, "GET", "http://h/")
    assert (code, lines[-1]) == (2, "  to do: write --listener and one of web, other")
    code, lines = said(file, capsys, "GET", "/", "--listener", "bd")
    assert (code, lines[0]) == (2, "fastmesh explain: f has no listener 'bd' for HTTP")
    code, lines = said(file, capsys, "GET", "/", "--listener", "db")
    assert (code, lines[-1]) == (2, "  to do: leave METHOD and URL out")


@pytest.mark.parametrize(("arguments", "said_last"), [
    (["GET", "http://h:x/"], "  to do: write it as http://host:port/path"),
    (["GET", "/", "-H", "x"], "  to do: write it as 'name: value'"),
    (["GET", "/", "--listener", "web", "--source", "localhost"], "  to do: write an IP address, or unix"),
])
def test_a_command_line_that_is_not_clear(file, capsys, arguments, said_last):
    code, lines = said(file, capsys, *arguments)
    assert (code, lines[-1]) == (2, said_last)


def test_a_wrong_file(file, capsys):
    file.write_text(CONFIG.replace("cluster: empty", "cluster: emty"))
    code, lines = said(file, capsys, "GET", "/")
    assert code == 1 and "there is no cluster 'emty'" in lines[0]


def test_thousands_of_routes(tmp_path, capsys):
    routes = "".join(f"      - match: {{prefix: /r{i}, methods: [PUT]}}\n        cluster: app\n" for i in range(2000))
    file = tmp_path / "mesh.yaml"
    file.write_text("listeners:\n  - name: web\n    address: 127.0.0.1:1\n    routes:\n" + routes +
                    "clusters: [{name: app, endpoints: ['127.0.0.1:2']}]\n")
    code, lines = said(file, capsys, "GET", "/r1999")
    assert (code, lines[3:]) == (1, [
        "  1,999 routes whose host or path is another, or that are not listed",
        "  routes[1999] route-1999 (f:4003): no, the method GET is none of PUT", "answer 404: no route takes it"])


def test_policies_groups_and_limits(tmp_path, capsys):
    file = tmp_path / "mesh.yaml"
    file.write_text("""\
listeners:
  - name: web
    address: 127.0.0.1:1
    rate_limits: [{name: all, rate: 1/s}]
    routes:
      - {match: {path: /a}, cluster: a, rate_limits: [{name: some, rate: 1/s}]}
      - match: {path: /b}
        cluster: a
        faults:
          - {delay: 2s, match: {share: 5%}}
          - {delay: 1s, abort: 503, match: {headers: {x: y}}}
          - {abort: 418}
          - {bandwidth: 64KiB/s}
        mirrors: [{cluster: b}, {cluster: b, match: {share: 1%}}]
      - {match: {prefix: /}, cluster: b}
clusters:
  - {name: a, load_balancer: {use: least-latency}, endpoints: {use: file, path: ends.yaml}}
  - name: b
    load_balancer: maglev
    balancing: {hash: {keys: [{source: true}]}}
    endpoints: ["127.0.0.1:2", {address: "127.0.0.1:3", priority: 1}, {address: "127.0.0.1:4", priority: 1}]
""")
    code, lines = said(file, capsys, "GET", "/a")
    assert (code, lines[2:]) == (0, [
        "rate limits of the listener, which may refuse the request before all else:",
        "  all (f:4): 1/s, at most 1 at once, for all together, else 429; counts this request",
        "path compared: /a", "  routes[0] route-0 (f:6): takes it",
        "rate limits of the route, which may refuse the request:",
        "  some (f:6): 1/s, at most 1 at once, for all together, else 429; counts this request",
        "timeout: none", RETRY, "cluster a (f:17), the policy least-latency above round_robin",
        "  the policy file finds its endpoints: which ones is not known here", *EJECTED])
    _, lines = said(file, capsys, "GET", "/b")
    assert [line for line in lines if line.startswith(("fault", "mirror"))] == [
        "fault (f:10): 5% of the requests wait 2s",
        "fault (f:11): all requests that its match takes wait 1s and get 503; not this one: the header x is not exact "
        "'y'",
        "fault (f:12): all requests get 418", "fault (f:13): all requests get the body at 64KiB/s",
        "mirror (f:14): all requests are copied to b",
        "mirror (f:14): 1% of the requests are copied to b"]
    code, lines = said(file, capsys, "GET", "/")
    assert (code, lines[-11:]) == (0, [
        "cluster b (f:18), maglev", "  hash keys (f:20): the client's address, else any endpoint",
        "  with less than 70% of a group usable, the next gets what is missing",
        "  group 1 of 2:", "  127.0.0.1:2  weight 1  100 %", "  group 2 of 2:",
        "  127.0.0.1:3  weight 1  50 %", "  127.0.0.1:4  weight 1  50 %", *EJECTED])


RULES = """\
listeners:
  - name: web
    address: 127.0.0.1:8080
    retry: {attempts: 3, per_try_timeout: 500ms, headers: [x-again]}
    routes:
      - {match: {prefix: /own}, cluster: a, retry: {on: [5xx], non_idempotent: true, of_retries: true}}
      - {match: {prefix: /once}, cluster: a, retry: {attempts: 1}}
      - {match: {prefix: /}, cluster: a}
clusters:
  - {name: a, endpoints: ["127.0.0.1:2"], connect_attempts: 2, retry_budget: {share: 5%, per_second: 1}}
"""


@pytest.mark.parametrize(("method", "path", "more", "line"), [
    ("GET", "/", [], "retry (f:4): 3 attempts in all, each at most 500ms, after connect-failure, reset, 503, the field "
     "x-again, timeout; failed connects at up to 2 endpoints; budget 5% and 1/s"),
    ("POST", "/", ["-H", "x-envoy-attempt-count: 2"],
     "retry (f:4): 3 attempts in all, each at most 500ms, after connect-failure, reset, 503, the field x-again, "
     "timeout; as POST is not safe to repeat, only what was not sent; not this request, which is another proxy's "
     "further attempt; failed connects at up to 2 endpoints; budget 5% and 1/s"),
    ("POST", "/own", ["-H", "x-envoy-attempt-count: 2"],
     "retry (f:6): 2 attempts in all, after 5xx; failed connects at up to 2 endpoints; budget 5% and 1/s"),
    ("GET", "/once", [], "retry (f:7): failed connects at up to 2 endpoints, nothing else"),
])
def test_what_is_tried_again(tmp_path, capsys, method, path, more, line):
    file = tmp_path / "mesh.yaml"
    file.write_text(RULES)
    code, lines = said(file, capsys, method, path, *more)
    assert code == 0 and line in lines, lines


HEDGES = """\
listeners:
  - name: web
    address: 127.0.0.1:8080
    hedge: {}
    routes:
      - {match: {prefix: /fixed}, cluster: a, hedge: {delay: 40ms, attempts: 3, non_idempotent: true}}
      - {match: {prefix: /late}, cluster: a, retry: {per_try_timeout: 1s}, hedge: {on: per_try_timeout}}
      - {match: {prefix: /}, cluster: a}
clusters:
  - {name: a, endpoints: ["127.0.0.1:2"]}
"""
EACH = "without an answer"


@pytest.mark.parametrize(("method", "path", "more", "line"), [
    ("GET", "/", [], f"hedge (f:4): 2 attempts beside each other, after p95 of the recent times, at least 5ms {EACH}; "
     "budget 5% and 1/s"),
    ("POST", "/", [], f"hedge (f:4): 2 attempts beside each other, after p95 of the recent times, at least 5ms {EACH}; "
     "not this request, as POST is not safe to repeat; budget 5% and 1/s"),
    ("GET", "/", ["-H", "x-envoy-attempt-count: 2"], "hedge (f:4): 2 attempts beside each other, after p95 of the "
     f"recent times, at least 5ms {EACH}; not this request, which is another proxy's further attempt; "
     "budget 5% and 1/s"),
    ("POST", "/fixed", [], f"hedge (f:6): 3 attempts beside each other, after 40ms {EACH}; budget 5% and 1/s"),
    ("GET", "/late", [], f"hedge (f:7): 2 attempts beside each other, after per_try_timeout {EACH}; budget 5% and 1/s"),
])
def test_what_is_hedged(tmp_path, capsys, method, path, more, line):
    file = tmp_path / "mesh.yaml"
    file.write_text(HEDGES)
    code, lines = said(file, capsys, method, path, *more)
    assert code == 0 and line in lines, lines


def test_the_example_of_the_documents(capsys, monkeypatch):
    text = Path("docs/configuration.md").read_text()
    shown = re.findall(r"```console\n\$ fastmesh (explain [^\n]+)\n(.*?)```", text, re.DOTALL)
    assert shown
    for command, output in shown:
        arguments = [part.strip("'") for part in re.findall(r"'[^']*'|\S+", command)]
        monkeypatch.chdir("examples/config")
        assert main(arguments) == 0
        monkeypatch.undo()
        assert capsys.readouterr().out == output


def test_the_subsets_of_copies_and_of_steps(tmp_path, capsys):
    file = tmp_path / "mesh.yaml"
    file.write_text("""\
listeners:
  - name: web
    address: 127.0.0.1:1
    routes:
      - match: {prefix: /}
        cluster: app
        subset: {version: v1}
        mirrors: [{cluster: app, subset: {version: v2}, match: {share: 1%}}]
        fallback:
          - {cluster: app, subset: {version: {header: x-version, default: v2}}}
clusters:
  - name: app
    subsets: {selectors: [{keys: [version]}]}
    endpoints:
      - {address: 127.0.0.1:2, metadata: {version: v1}}
      - {address: 127.0.0.1:3, metadata: {version: v2}}
""")
    code, lines = said(file, capsys, "GET", "/")
    assert code == 0
    assert "mirror (f:8): 1% of the requests are copied to app (version=v2)" in lines
    assert ("fallback 1 of 1 (f:10), after gateway-error: cluster app (version of the header x-version, else v2), "
            "within what is left of the time") in lines
