"""Rules about pages of other origins: what may be written, what is said when it may not, and what comes of it."""

from typing import Any

import pytest

from fastmesh.config.load import load_text
from fastmesh.errors import ConfigError
from fastmesh.snapshot.conditions import Patterns
from fastmesh.snapshot.cors import cors

TEXT = """listeners:
  - name: in
    address: 127.0.0.1:1
    {shared}
    routes:
      - match: {{prefix: /}}
        {where}
        cors: {rule}
clusters:
  - name: app
    endpoints: [127.0.0.1:2]
"""


def written(rule: str, where: str = "cluster: app", shared: str = "via: x") -> str:
    return TEXT.format(rule=rule, where=where, shared=shared)


def records(text: str) -> list[Any]:
    return cors(load_text(text, "f", {}).config, Patterns())


@pytest.mark.parametrize(("rule", "record"), [
    ("{}", [False, [], "GET, HEAD, POST", "", "", 600, False, False]),
    ("{allow_origins: [HTTPS://App.Example.com]}",
     [False, [[0, "https://app.example.com", "", -1]], "GET, HEAD, POST", "", "", 600, False, False]),
    ("{allow_origins: ['https://*.example.com:8443', 'null', 'http://[::1]:3000', 'http://localhost:3000', "
     "'chrome-extension://abcdef']}",
     [False, [[1, "https://", ".example.com:8443", -1], [0, "null", "", -1], [0, "http://[::1]:3000", "", -1],
              [0, "http://localhost:3000", "", -1], [0, "chrome-extension://abcdef", "", -1]],
      "GET, HEAD, POST", "", "", 600, False, False]),
    ("{allow_origins: [{regex: 'https://pr-[0-9]+[.]example[.]com'}, {exact: 'https://a.test'}]}",
     [False, [[2, "", "", 0], [0, "https://a.test", "", -1]], "GET, HEAD, POST", "", "", 600, False, False]),
    ("{allow_origins: ['*'], allow_methods: ['*'], allow_headers: ['*'], expose_headers: [X-Id, etag], max_age: 1h}",
     [True, [], "*", "*", "x-id, etag", 3600, False, False]),
    ("{allow_origins: [https://a.test], allow_methods: [PUT], allow_headers: [X-A, x-b], allow_credentials: true, "
     "max_age: 0}", [False, [[0, "https://a.test", "", -1]], "PUT", "x-a, x-b", "", 0, True, False]),
    ("{allow_origins: [https://a.test], allow_private_network: true}",
     [False, [[0, "https://a.test", "", -1]], "GET, HEAD, POST", "", "", 600, False, True])])
def test_what_is_written(rule: str, record: list[object]) -> None:
    assert records(written(rule)) == [[record], [[0, 0, 0]]]


def test_a_route_without_has_that_of_its_listener() -> None:
    shared = "cors: {allow_origins: [https://a.test]}"
    (rule,), uses = records(written("", shared=shared))
    assert rule[1] == [[0, "https://a.test", "", -1]] and uses == [[0, 0, 0]]
    assert records(written("{enabled: false}", shared=shared)) == [[], []]
    (own,), _ = records(written("{allow_origins: [https://b.test]}", shared=shared))
    assert own[1] == [[0, "https://b.test", "", -1]]


def test_equal_rules_are_one() -> None:
    text = written("{allow_origins: [https://a.test]}").replace("clusters:", """      - match: {prefix: /b}
        cluster: app
        cors: {allow_origins: [https://a.test]}
clusters:""")
    rules, uses = records(text)
    assert len(rules) == 1 and uses == [[0, 0, 0], [0, 1, 0]]


def test_routes_that_answer_by_themselves_have_one_too() -> None:
    assert records(written("{}", where="response: {status: 200}"))[1] == [[0, 0, 0]]


def test_a_policy_may_have_it() -> None:
    text = written("", shared="policies: [pages]") + """policies:
  - name: pages
    listeners: {cors: {allow_origins: [https://a.test]}}
"""
    assert len(records(text)[0]) == 1


ORIGINS = ("allowed: an origin as browsers write it, https://app.example.com or http://localhost:3000; "
           "https://*.example.com for every host below it; null; or * for all")


@pytest.mark.parametrize(("rule", "why"), [
    ("{allow_origins: [https://a.test/]}", f"{ORIGINS}, write https://a.test: an origin has no path"),
    ("{allow_origins: [a.test]}", "write https://a.test"),
    ("{allow_origins: ['https://a.test:443']}", "leave out :443, as browsers do"),
    ("{allow_origins: ['http://a.test:80']}", "leave out :80, as browsers do"),
    ("{allow_origins: ['https://*']}", "a * stands for hosts below a domain; write {regex: …} for anything else"),
    ("{allow_origins: ['https://a*.test']}", "a * stands for hosts below a domain"),
    ("{allow_origins: ['https://ä.test']}", "write the host in its ASCII form"),
    ("{allow_origins: [1]}", "an origin as browsers write it"), ("{allow_origins: [{}]}", "does not say which origin"),
    ("{allow_origins: [{exact: https://a.test, regex: b}]}", "the origin has both exact and regex"),
    ("{allow_origins: [{regex: '(a'}]}", "regular expression"),
    ("{allow_origins: ['*'], allow_credentials: true}", "with credentials any page could act as its visitor"),
    ("{allow_origins: [https://a.test, HTTPS://A.test]}", "the origin 'https://a.test' is in the list already"),
    ("{allow_methods: ['*', GET]}", "* stands for all of them, and there are others beside it"),
    ("{allow_headers: [x-a, '*']}", "* stands for all of them"), ("{allow_methods: [get it]}", "allowed"),
    ("{allow_headers: ['a b']}", "a header name"), ("{max_age: 25h}", "24h"), ("{origins: []}", "allow_origins")])
def test_what_makes_no_sense(rule: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(written(rule), "f", {})
    said = " ".join(f"{problem}, {problem.hint}" for problem in caught.value.problems)
    assert why in said, said


def test_edits_beside_it() -> None:
    where = "cluster: app\n        response_headers: {set: {Access-Control-Allow-Origin: x}}"
    with pytest.raises(ConfigError) as caught:
        load_text(written("{}", where=where), "f", {})
    assert "the route has cors, which says this by itself" in str(caught.value)
    assert load_text(written("{enabled: false}", where=where), "f", {}).warnings == []
    with pytest.raises(ConfigError):
        load_text(written("", where=where, shared="cors: {}"), "f", {})


def test_a_tcp_listener_has_none() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text("listeners: [{name: a, address: '127.0.0.1:1', protocol: tcp, cluster: app, cors: {}}]\n"
                  "clusters: [{name: app, endpoints: ['127.0.0.1:2']}]\n", "f", {})
    assert "a tcp listener has no requests that pages could send" in str(caught.value)
