"""docs/explain.md shows what `fastmesh explain` says of its configuration."""

import re
from pathlib import Path

import pytest

from fastmesh.cli.main import main

PAGE = (Path(__file__).parents[3] / "docs" / "explain.md").read_text()
TEXT, SHOP = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


def test_what_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mesh.yaml").write_text(TEXT)
    (shown,) = re.findall(r"^```\n\$ fastmesh explain mesh.yaml GET /cart\n(.*?)^```", PAGE, re.M | re.S)
    assert main(["explain", "mesh.yaml", "GET", "/cart"]) == 0
    assert capsys.readouterr().out == shown


def test_what_a_request_meets(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text(SHOP)
    begin = "```\n$ fastmesh explain shop.yaml GET /cart -H 'x-slow: 1'\n"
    shown, dots, _ = PAGE.partition(begin)[2].partition("...\n```")
    assert shown and dots
    assert main(["explain", "shop.yaml", "GET", "/cart", "-H", "x-slow: 1"]) == 0
    assert capsys.readouterr().out.startswith(shown)
    assert main(["explain", "shop.yaml", "--listener", "db"]) == 0
    assert capsys.readouterr().out.startswith("listener db (shop.yaml:11), 127.0.0.1:5432: TCP connections\n")
