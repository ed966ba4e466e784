"""The examples are good, by every measure there is."""

import json
from pathlib import Path

import pytest

from fastmesh.config.json_schema import json_schema
from fastmesh.config.load import load, load_text
from fastmesh.filters.look import look_at_filters
from fastmesh.snapshot.chains import Chains
from fastmesh.snapshot.compiler import as_written, compile
from fastmesh.snapshot.registry import Registry as Numbers
from probes.snapshot_probe import Snapshot
from probes.wire import registry

EXAMPLES = sorted(Path("examples/config").glob("*.yaml"))


def test_there_are_some():
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_has_neither_errors_nor_warnings_and_compiles(path):
    loaded = load(str(path), {}, look_at_filters)
    assert loaded.warnings == []
    numbers = Numbers()
    snapshot, _ = compile(loaded.config, 1, numbers, chains=Chains(loaded.config, loaded.filters, numbers))
    with registry() as r:
        Snapshot(snapshot, r).close()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_editors_find_nothing_in_an_example(path):
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("yaml")
    validator = jsonschema.Draft202012Validator(json_schema("1"))
    assert [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))] == []


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.stem in ("first", "routing", "redirects")],
                         ids=lambda path: path.name)
def test_what_is_shown_of_an_example_is_one_too(path):
    """As the admin API shows it, with all defaults."""
    loaded = load(str(path), {}, look_at_filters)
    again = load_text(json.dumps(as_written(loaded.config)), str(path), {})
    assert again.config == loaded.config
