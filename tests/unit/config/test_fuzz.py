"""Whatever the file holds: a configuration, or problems with places. Never another exception."""

from pathlib import Path

import msgpack
import pytest
from effort import tries
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fastmesh.config.load import load, load_text
from fastmesh.config.render import render
from fastmesh.errors import ConfigError
from fastmesh.snapshot.compiler import compile, describe
from fastmesh.snapshot.registry import Registry

EXAMPLES = sorted(Path("examples/config").glob("*.yaml"))
# Those with filters load classes, which is tested by itself: a mutated name must not be imported here.
TEXTS = [text for text in (path.read_text() for path in EXAMPLES) if "filters:" not in text]
# Pieces that matter to YAML, to substitution, and to the models.
PIECES = st.sampled_from([
    "${X}", "${", "$${", "${X:-y}", "&a ", "*a", "<<: *a", "!!int ", "!x ", "- ", ": ", "? ", "|\n", ">-\n", "'", '"',
    "[", "]", "{", "}", ",", "#", "\t", "\n", "  ", "---\n", "...\n", "%YAML 1.2\n", "null", "~", "0", "-1", "1e9",
    "true", "listeners:", "clusters:", "routes:", "match:", "name:", "\x00", "\x01", "\u2028", "\ufeff", "é", "😀",
    "\\", "%", "\r", "99999999999999999999", "127.0.0.1:80", "unix:/x", "10s", "64KiB", "%REQ(:PATH)%", "/a/../b",
    "a" * 300])


def one_of_two(text: str) -> None:
    try:
        loaded = load_text(text, "f", {"X": "1", "HOME": "/"})
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.message and problem.severity == "error"
            lines = text.count("\n") + 1
            assert 0 <= problem.line <= lines and problem.column >= 0
        render(error.problems).encode()
        msgpack.packb([problem.to_dict() for problem in error.problems])
    else:
        registry = Registry()
        snapshot, registry = compile(loaded.config, 1, registry)
        assert msgpack.unpackb(snapshot)[0] == "fmsn"
        msgpack.packb(describe(loaded.config, registry))
        render(loaded.warnings).encode()


@given(st.sampled_from(TEXTS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), PIECES), min_size=1, max_size=4))
@settings(max_examples=tries(400), suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_mutated_examples(text, changes):
    for where, removed, piece in changes:
        at = int(where * len(text))
        text = text[:at] + piece + text[at + removed:]
    one_of_two(text)


@given(st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=30).map("".join))
@settings(max_examples=tries(300), deadline=None)
@example('a: "\\ud800"')
@example("listeners: \"\\ud800\"")
@example("? \n")
@example("!<tag:yaml.org,2002:str> a: 1")
@example("a: &a\nb: *a\n")
@example("- &x\n- *x\n")
@example("<<: *a\n")
@example("<<:\n  <<:\n    a: 1\n")
@example("listeners: &a [*a]")
def test_soup(text):
    one_of_two(text)


@given(st.binary(max_size=400))
@settings(max_examples=tries(200), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_bytes(tmp_path, raw):
    path = tmp_path / "mesh.yaml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        load(str(path), {})
    render(caught.value.problems).encode()


VALUES = st.recursive(
    st.one_of(st.none(), st.sampled_from(["web", "/", "127.0.0.1:80", "http", "tcp", "10s", "0", "x", "204", ""])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([
        "name", "address", "match", "prefix", "routes", "cluster", "response", "status", "body", "limits", "headers",
        "endpoints", "weight", "format", "fields", "template", "path", "hosts", "avoid", "base", "x"]), inner,
        max_size=4)), max_leaves=12)


def flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return "~" if value is None else f"'{value}'"


@given(st.dictionaries(st.sampled_from(["listeners", "clusters", "node", "admin", "access_log", "workers"]), VALUES))
@settings(max_examples=tries(300), deadline=None)
def test_any_shape(value):
    one_of_two(flow(value) + "\n")


def test_every_prefix_of_every_example():
    for text in TEXTS:
        for end in range(0, len(text), 7):
            one_of_two(text[:end])
