"""What `fastmesh reference` says of keys: all of them, by every name that an error gives them."""

import subprocess
import sys

import pytest

from fastmesh.cli.main import main
from fastmesh.config.describe import places
from fastmesh.config.reference import UnknownKey, plain_path, reference
from fastmesh.config.report import anchor


def said(key: str) -> str:
    return " ".join(reference(key).split())


def test_every_key_is_explained():
    whole = " ".join(reference().split())
    for place in places():
        steps = tuple(step for part in place.path.split(".") if part
                      for step in ((part[:-2], 0) if part.endswith("[]") else (part.removesuffix("{}"),)))
        for key, field in place.section.model_fields.items():
            first = " ".join((field.description or "").replace("`", "").split()[:4])
            name = ".".join([step for step in steps if isinstance(step, str)] + [key])
            assert first.partition("[")[0] in said(name) and said(name).startswith(name), name
            assert first.partition("[")[0] in whole
            assert said(anchor((*steps, key)))      # as an error names it


def test_a_key_with_its_kind_and_default():
    assert reference("clusters.avoid.base") == (
        "clusters.avoid.base\n"
        "  duration, 1ms to 1h; default 1s\n"
        "  After the first failed connect; doubles with each further one.\n")
    assert "duration, 1ms to 24h; default 30s" in reference("clusters.avoid.max")
    assert "true | false; default" in reference("listeners.plain_answers")
    assert "text; required" in reference("filters.use")


@pytest.mark.parametrize("key", ["listeners[0].timeouts.header", "listeners[].timeouts.header",
                                 "listeners-timeouts-header", " listeners.timeouts.header "])
def test_forms_of_the_same_key(key):
    assert reference(key) == reference("listeners.timeouts.header") and plain_path(key) == "listeners.timeouts.header"


def test_a_section_has_all_its_keys():
    text = said("clusters.avoid")
    assert text.startswith("clusters.avoid clusters[].avoid") and "base duration" in text and "max duration" in text


def test_what_may_be_one_of_two():
    text = said("clusters.endpoints")
    assert "clusters[].endpoints[] One instance" in text and "clusters[].endpoints{} Endpoints that a policy" in text


def test_a_key_that_is_described_elsewhere():
    assert reference("listeners[0].routes[2].filters[0].use") == reference("filters.use")


def test_names_of_a_mapping_are_nobodys_keys():
    assert said("listeners.routes.clusters.blue").startswith("listeners.routes.clusters mapping")


def test_operators_of_the_access_log():
    for key in ("access_log.template", "access_log.fields"):
        text = said(key)
        assert "%REQ(:METHOD)% Method of the request." in text and "%RESPONSE_FLAGS%" in text and "%TRACE_ID%" in text


@pytest.mark.parametrize(("key", "close"), [
    ("clusters.weigth", ["clusters.endpoints.weight", "listeners.routes.clusters.weight"]),
    ("connect_timeout", ["clusters.connect_timeout"]),
    ("clusters.name.x", []), ("nothing.like.it", []), ("\x1b[2J", [])])
def test_a_key_that_is_not(key, close):
    with pytest.raises(UnknownKey) as caught:
        reference(key)
    assert caught.value.close == close


def test_it_is_no_longer_than_a_terminal_is_wide():
    assert max(len(line) for line in reference().splitlines()) <= 100


def test_the_command(capsys):
    assert main(["reference", "clusters.avoid.base"]) == 0
    assert capsys.readouterr().out == reference("clusters.avoid.base")
    assert main(["reference", "clusters.connect_timeou"]) == 1
    assert capsys.readouterr().err == (
        "fastmesh reference: there is no key 'clusters.connect_timeou'\n"
        "  to do: write clusters.connect_timeout; fastmesh reference prints all of them\n")
    assert main(["reference", "zzz"]) == 1
    assert "to do: fastmesh reference prints all of them" in capsys.readouterr().err


def test_what_an_error_names_works(tmp_path):
    (tmp_path / "mesh.yaml").write_text("listeners: []\ndrain_timeout: 10 sec\n")
    check = subprocess.run([sys.executable, "-m", "fastmesh", "check", "mesh.yaml"], cwd=tmp_path, capture_output=True,
                           text=True, check=False)
    named = check.stderr.rpartition("(fastmesh ")[2].partition(")")[0].split()
    assert named == ["reference", "drain_timeout"]
    assert main(named) == 0
