"""The configuration of docs/policies.md is taken as the page says, and `explain` says what it shows."""

import re
from pathlib import Path

import pytest

from fastmesh.cli.main import main
from fastmesh.config.load import load_text

PAGE = (Path(__file__).parents[3] / "docs" / "policies.md").read_text()
(TEXT,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


def test_who_has_what() -> None:
    loaded = load_text(TEXT, "policies.md", {})
    assert loaded.warnings == []
    report, upload, rest = loaded.config.listeners[0].routes
    assert [route.timeout for route in (report, upload, rest)] == [60 * 10**9, 30 * 10**9, 2 * 10**9]
    assert {route.retry.attempts for route in (report, upload, rest) if route.retry is not None} == {3}
    (app,) = loaded.config.clusters
    assert (app.connect_timeout, app.outlier.gateway_errors) == (250_000_000, 3)


def test_what_explain_says(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mesh.yaml").write_text(TEXT)
    assert main(["explain", "mesh.yaml", "GET", "/report"]) == 0
    (shown,) = re.findall(r"^```\n(policies: .*?)^```", PAGE, re.M | re.S)
    assert shown in capsys.readouterr().out
