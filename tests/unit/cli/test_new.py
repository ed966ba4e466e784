"""What `fastmesh new filter` writes is a package that works as it is."""

import ast
import subprocess
import sys
import tomllib

import pytest

from fastmesh.cli.main import main
from fastmesh.config.load import load_text
from fastmesh.filters.inspection import inspect

VIEW = "fastmesh._core.filter.view"     # only names of it are needed here


def test_the_package(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, VIEW, type("Views", (), {"Request": object, "Response": object}))
    assert main(["new", "filter", "tenant-guard"]) == 0
    out, err = capsys.readouterr()
    made = tmp_path / "tenant-guard"
    written = {str(path.relative_to(tmp_path)) for path in made.rglob("*") if path.is_file()}
    assert written == {f"tenant-guard/{name}" for name in (
        "pyproject.toml", "README.md", "src/tenant_guard/__init__.py", "src/tenant_guard/py.typed",
        "tests/test_tenant_guard.py")}
    assert written <= set(out.split()) and err == ""
    project = tomllib.loads((made / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["fastmesh.filters"] == {"tenant-guard": "tenant_guard:TenantGuard"}
    ast.parse((made / "tests/test_tenant_guard.py").read_text())
    # The example of its README loads what it has written.
    readme = (made / "README.md").read_text()
    text = readme[readme.index("```yaml\n") + 8:readme.rindex("```")]
    text = text.replace("use: tenant-guard", "use: ./tenant-guard/src/tenant_guard/__init__.py:TenantGuard")
    loaded = load_text(text, str(tmp_path / "mesh.yaml"), {}, inspect)
    assert loaded.warnings == []
    assert list(loaded.filters.by_place[("filters", 0)].phases) == ["on_request"]


def test_it_can_be_found_by_its_name(tmp_path):
    """Installed, the entry point leads to the class."""
    assert main(["new", "filter", "by-name", "--dir", str(tmp_path / "p")]) == 0
    site = tmp_path / "site"
    info = site / "by_name-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: by-name\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[fastmesh.filters]\nby-name = by_name:ByName\n")
    (site / "by_name").symlink_to(tmp_path / "p/src/by_name")
    (tmp_path / "mesh.yaml").write_text("filters: [{name: a, use: by-name, header: h}]\nlisteners: []\n")
    code = (f"import sys; sys.path.insert(0, sys.argv[1])\nsys.modules[{VIEW!r}] = v = type(sys)('v')\n"
            "v.Request = v.Response = object\nfrom fastmesh.cli.main import main\n"
            "sys.exit(main(['check', sys.argv[2]]))")
    run = subprocess.run([sys.executable, "-c", code, str(site), str(tmp_path / "mesh.yaml")], capture_output=True,
                         text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "1 filter," in run.stdout


@pytest.mark.parametrize(("name", "why"), [
    ("1st", "found the name '1st', allowed: letters, digits, - and _, beginning with a letter, 64 at most\n"
            "  to do: write st\n"),
    ("../up", "found the name '../up'"), ("a--b", "found the name 'a--b'"), ("é", "found the name 'é'"),
    ("json", "the name 'json' is that of a part of Python or of fastmesh\n  to do: choose another, as json-guard\n"),
    ("fastmesh", "the name 'fastmesh' is that of a part"), ("class", "the name 'class' is that of a part")])
def test_names_that_make_no_package(name, why, tmp_path, capsys):
    assert main(["new", "filter", name, "--dir", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err.startswith(f"fastmesh new: {why}")
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "mine").write_text("x")
    assert main(["new", "filter", "a", "--dir", str(tmp_path)]) == 1
    assert "is there already and not empty\n  to do: choose another place with --dir" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert main(["new", "filter", "a", "--dir", str(tmp_path / "mine" / "b")]) == 1
    told = capsys.readouterr().err
    assert "cannot write" in told and "to do: choose another place" in told
