"""docs/cors.md: its configuration is taken, its table is complete, and what it shows is what is said."""

import re
from pathlib import Path

import pytest

from fastmesh.cli.main import main
from fastmesh.config.cors import Cors
from fastmesh.config.load import load_text
from fastmesh.observe.families import GLOBAL
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from probes.snapshot_probe import Snapshot
from probes.wire import registry

PAGE = (Path(__file__).parents[3] / "docs" / "cors.md").read_text()
(YAML,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


def test_its_example_becomes_its_rules() -> None:
    loaded = load_text(YAML, "cors.md", {})
    assert loaded.warnings == []
    with registry() as r:
        snapshot = Snapshot(compile(loaded.config, 1, Registry())[0], r)
        got = snapshot.dump()
        assert got["cors"] == [(0, 0, 0), (0, 2, 1), (0, 3, 1)]
        assert [rule["any"] for rule in got["cors_rules"]] == [True, False]
        for origin, found in ((b"https://app.example.com", True), (b"https://pr-12.example.net", True),
                              (b"https://pr-12.example.net.evil.test", False), (b"https://a.example.org", True),
                              (b"https://example.org", False)):
            assert snapshot.finds_origin(1, origin) == found, origin
        snapshot.close()


def test_all_keys_are_in_its_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ", PAGE, re.M)
    assert sorted(row for row in rows if not row.startswith("fastmesh_")) == sorted(Cors.model_fields)
    names = re.findall(r"^\| `fastmesh_(\w+)_total` \|", PAGE, re.M)
    assert len(names) == 3 and {*names} <= {*GLOBAL}


def test_explain_says_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mesh.yaml").write_text(YAML)
    monkeypatch.chdir(tmp_path)
    (shown,) = re.findall(r"^```\n\$ fastmesh (explain mesh.yaml .*?)\n(.*?)^```", PAGE, re.M | re.S)
    assert main(shown[0].split()) == 0
    said = capsys.readouterr().out.splitlines()
    at = 0
    for line in shown[1].splitlines():
        if line == "...":
            continue
        assert line in said[at:], (line, said)
        at = said.index(line, at) + 1


@pytest.mark.parametrize(("method", "origin", "takes", "said"), [
    ("PUT", "https://app.example.com", 2, "it is a preflight for PUT, and answered here"),
    ("POST", "https://app.example.com", 3, "it is a preflight for POST, and answered here"), ("PUT", "", 3, "")])
def test_explain_matches_a_preflight_as_workers_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str], method: str, origin: str,
                                                   takes: int, said: str) -> None:
    (tmp_path / "mesh.yaml").write_text(YAML)
    monkeypatch.chdir(tmp_path)
    fields = ["-H", f"access-control-request-method: {method}", *(["-H", f"origin: {origin}"] if origin else [])]
    assert main(["explain", "mesh.yaml", "OPTIONS", "/api/x", *fields]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"  routes[{takes}] ") and line.endswith(": takes it") for line in lines), lines
    assert lines[-1] == said if said else not any("preflight" in line for line in lines)
    no = next(line for line in lines if line.startswith("  routes[2] ")) if takes == 3 else ""
    assert not no or no.endswith(f"no, the method {method if said else 'OPTIONS'} is none of GET, PUT, DELETE")
