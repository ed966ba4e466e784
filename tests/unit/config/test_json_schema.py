import copy
import json
from functools import cache
from typing import Any

import pytest

from fastmesh.config.describe import default_of, places
from fastmesh.config.json_schema import json_schema
from fastmesh.config.load import load_text
from fastmesh.errors import ConfigError

jsonschema = pytest.importorskip("jsonschema")

GOOD = {
    "listeners": [{"name": "web", "address": "127.0.0.1:80", "routes": [
        {"match": {"prefix": "/"}, "cluster": "app"}, {"match": {"path": "/x"}, "response": {"status": 403}}]}],
    "clusters": [{"name": "app", "endpoints": ["127.0.0.1:1", {"address": "[::1]:2", "weight": 2}]}]}


@cache
def validator() -> Any:
    return jsonschema.Draft202012Validator(json_schema("1"))


def errors(value: object) -> list[str]:
    return [error.message for error in validator().iter_errors(value)]


def changed(path: str, value: object) -> dict[str, object]:
    whole = copy.deepcopy(GOOD)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    here = whole
    for step in steps:
        here = here.setdefault(step, {}) if isinstance(here, dict) else here[step]
    if value is None:
        del here[last]
    else:
        here[last] = value
    return whole


def test_the_schema_is_a_schema():
    schema = json_schema("0.1.0")
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == "urn:fastmesh:configuration:0.1.0"
    assert errors(GOOD) == []


def test_every_key_is_described():
    schema = json_schema("1")
    for place in places():
        found = schema["$defs"].get(place.section.__name__, schema)
        properties = (found["anyOf"][-1] if "anyOf" in found else found)["properties"]
        for key, field in place.section.model_fields.items():
            assert len(properties[key]["description"]) > 10, (place.path, key)
            assert properties[key].get("default") == default_of(field)


def test_defaults_are_written_as_one_writes_them():
    schema = json_schema("1")
    assert schema["properties"]["drain_timeout"]["default"] == "30s"
    assert schema["$defs"]["Limits"]["properties"]["head"]["default"] == "60KiB"
    assert schema["$defs"]["Listener"]["properties"]["trusted_clients"]["default"] == [
        "127.0.0.0/8", "::1/128", "unix"]
    assert schema["$defs"]["Admin"]["properties"]["address"]["default"] == "127.0.0.1:15000"


@pytest.mark.parametrize(("path", "value"), [
    ("workers", 4), ("workers", "auto"), ("workers", "${N:-2}"), ("drain_timeout", "1.5s"), ("drain_timeout", 0),
    ("drain_timeout", "${D}"), ("reactor", "epoll"), ("node", {"version": 1.10}),
    ("listeners.0.routes.0.timeout", "2m"),
    ("listeners.0.routes.0.match", {"hosts": ["a.b", "*.a.b", "*", "[::1]"], "headers": {"x": 1, "y": True}}),
    ("listeners.0.routes.0.match", {"regex": "/a+", "hosts": ["a.*"], "share": "5%", "sources": ["10.0.0.0/8",
                                                                                                 "unix"]}),
    ("listeners.0.routes.0.match", {"grpc": {"service": "a.B"}, "headers": {"x": {"min": 1, "max": 2,
                                                                                  "invert": True}}}),
    ("listeners.0.routes.0.match", {"template": "/{a}/**", "query": {"a": {"regex": "b"}}, "cookies": {"c": "d"}}),
    ("listeners.0.address", "unix:/run/x"), ("listeners.0.limits", {"head": "32KiB", "header_count": 50}),
    ("listeners.0.trusted_clients", ["10.0.0.0/8", "::1", "unix"]), ("clusters.0.endpoints", []),
    ("filters", [{"name": "a", "use": "x:Y", "own": {"deep": 1}, "match": {"prefix": "/", "share": "1%"}}]),
    ("listeners.0.filters", ["a", {"use": "./x.py:Y", "budget": "0.5ms", "isolated": True, "n": 3}]),
    ("listeners.0.routes.0.filters", ["a"]), ("clusters.0.filters", [{"use": "cors", "quarantine": {"failures": 0}}]),
    ("clusters.0.load_balancer", "random"), ("clusters.0.load_balancer", "${LB:-random}"),
    ("clusters.0.load_balancer", {"use": "x:Y", "own": [1], "interval": "50ms", "quarantine": {"failures": 0}}),
    ("clusters.0.endpoints", {"use": "file", "path": "/run/app", "first_wait": "1s", "allow_empty": "${EMPTY}"}),
    ("access_log", {"fields": {"a": "%PROTOCOL%"}}), ("admin", {"address": "[::1]:15000"})])
def test_what_editors_take(path, value):
    assert errors(changed(path, value)) == []


@pytest.mark.parametrize(("path", "value"), [
    ("workers", 0), ("workers", "many"), ("workers", 257), ("drain_timeout", "10 sec"), ("drain_timeout", 10),
    ("clusters.0.connect_timeout", 0), ("clusters.0.connect_timeout", "0"), ("listeners.0.limits", {"buffer": 0}),
    ("filters", ["a"]), ("filters", [{"use": "x:Y"}]), ("filters", [{"name": "a"}]), ("listeners.0.filters", "a"),
    ("listeners.0.filters", [{"name": "a"}]), ("clusters.0.filters", [{"use": "x:Y", "budget": "2"}]),
    ("clusters.0.filters", [{"use": "x:Y", "match": {"shear": "2%"}}]), ("clusters.0.filters", [{"use": ""}]),
    ("clusters.0.filters", [{"use": "x:Y", "match": {"share": "2"}}]), ("clusters.0.filters", ["a b"]),
    ("reactor", "kqueue"), ("typo", 1), ("listeners", None), ("listeners.0.name", None), ("listeners.0.name", "a b"),
    ("listeners.0.address", "8080"), ("listeners.0.address", "localhost"), ("listeners.0.cluster", "app"),
    ("listeners.0.protocol", "tcp"), ("listeners.0.protocol", "udp"), ("listeners.0.limits", {"head": 64}),
    ("listeners.0.routes.0.match.prefix", "api"), ("listeners.0.routes.0.match.prefix", "/a?b"),
    ("listeners.0.routes.0.match", {"regex": "/a", "template": "/b"}), ("listeners.0.routes.0.match", {"regex": 1}),
    ("listeners.0.routes.0.match", {"headers": {"x": {"exakt": "1"}}}), ("listeners.0.routes.0.match", {"share": "5"}),
    ("listeners.0.routes.0.match", {"headers": {"x": {"min": "a"}}}), ("listeners.0.routes.0.match",
                                                                       {"query": {"x": []}}),
    ("listeners.0.routes.0.match.path", "/a"), ("listeners.0.routes.0.response", {"status": 200}),
    ("listeners.0.routes.0.cluster", None), ("listeners.0.routes.1.response.status", 600),
    ("listeners.0.routes.1.response.status", None), ("listeners.0.routes.0.match.methods", "GET"),
    ("listeners.0.routes.0.match.methods", ["G T"]), ("listeners.0.routes.0.match.hosts", ["a:80"]),
    ("clusters.0.endpoints", None), ("clusters.0.endpoints", "127.0.0.1:1"), ("clusters.0.endpoints", [1]),
    ("clusters.0.endpoints", {"path": "/run/app"}), ("clusters.0.endpoints", {"use": "file", "first_wait": 1}),
    ("clusters.0.endpoints", ["db.internal:1"]), ("clusters.0.endpoints.1.weight", 0),
    ("clusters.0.load_balancer", "roundrobin"), ("clusters.0.load_balancer", {"pick_by": "random"}),
    ("clusters.0.load_balancer", {"use": "x:Y", "interval": "2"}), ("clusters.0.load_balancer", ["random"]),
    ("clusters.0.load_balancer", {"use": "x:Y", "on_error": "skip"}), ("access_log", {"format": "xml"}),
    ("access_log", {"path": "relative"})])
def test_what_editors_refuse_is_refused(path, value):
    wrong = changed(path, value)
    assert errors(wrong) != []
    # JSON is YAML: the loader refuses it too.
    with pytest.raises(ConfigError):
        load_text(json.dumps(wrong), "f", {})
