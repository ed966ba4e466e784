import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastmesh
from fastmesh.cli.main import main, parser

GOOD = ("listeners: [{name: a, address: '127.0.0.1:1', protocol: tcp, cluster: c}]\n"
        "clusters: [{name: c, endpoints: [127.0.0.1:2]}]\n")


def run(*arguments: str, **more: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "fastmesh", *arguments], capture_output=True, text=True, check=False,
                          timeout=60, **more)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("arguments", [[], ["no-such"], ["run"], ["check"], ["check", "a", "b"], ["--nonsense"],
                                       ["check", "--format", "xml", "a"], ["schema", "x"], ["version", "x"],
                                       ["reference", "a", "b"],
                                       ["filters"], ["filters", "x"], ["filters", "top", "x"],
                                       ["filters", "top", "--interval", "0"]])
def test_a_wrong_command_line(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: fastmesh")


@pytest.mark.parametrize(("arguments", "said"), [
    (["chek", "a"], ["fastmesh: there is no command 'chek', only run, check, explain, reference, new, "
                     "schema, filters, simulate and version", "  to do: write fastmesh check"]),
    (["teleport"], ["fastmesh: there is no command 'teleport', only run, check, explain, reference, new, "
                    "schema, filters, simulate and version",
                   "  to do: see fastmesh --help"]),
    (["run"], ["fastmesh run: no configuration is named", "  to do: write fastmesh run -c FILE"]),
    (["run", "mesh.yaml"], ["fastmesh run: found a file without -c", "  to do: write fastmesh run -c mesh.yaml"]),
    (["run", "-c", "a", "--reactor", "epoll"], ["fastmesh run: it takes no --reactor epoll",
                                                "  to do: see fastmesh run --help"]),
    (["run", "--conf", "a"], ["fastmesh run: it takes no --conf a", "  to do: see fastmesh run --help"]),
    (["check"], ["fastmesh check: FILE is missing", "  to do: see fastmesh check --help"]),
    (["new"], ["fastmesh new: filter, NAME are missing", "  to do: see fastmesh new --help"]),
    (["check", "a", "--format", "jsn"], ["fastmesh check: found 'jsn' for --format, allowed: text, json",
                                         "  to do: write json"]),
    (["check", "a", "--format", "xyz"], ["fastmesh check: found 'xyz' for --format, allowed: text, json",
                                         "  to do: see fastmesh check --help"]),
    (["new", "fliter", "a"], ["fastmesh new: found 'fliter', allowed: filter", "  to do: write filter"]),
    (["filters", "tp"], ["fastmesh filters: found 'tp', allowed: top", "  to do: write top"]),
    (["--nonsense"], ["fastmesh: it takes no --nonsense", "  to do: see fastmesh --help"]),
])
def test_what_is_said_about_a_wrong_command_line(arguments, said, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert capsys.readouterr().err.splitlines()[1:] == said


@pytest.mark.parametrize(("arguments", "said"), [
    (["explain", "a", "--seed", "x"], "fastmesh explain: found 'x' for --seed, allowed: a whole number"),
    (["explain", "a", "--wait", "0"], "fastmesh explain: --wait: found 0, allowed: a number from 0.1 to 300"),
    (["filters", "top", "--interval", "x"], "fastmesh filters top: found 'x' for --interval, allowed: a number"),
    (["filters", "top", "--interval", "0"],
     "fastmesh filters top: --interval: found 0, allowed: a number from 0.1 to 3600"),
    (["run", "-c"], "fastmesh run: -c/--config: expected one argument")])
def test_what_is_said_about_a_wrong_value(arguments, said, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert capsys.readouterr().err.splitlines()[-2] == said


def test_without_a_command_there_is_help(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err == parser().format_help()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", [[], ["run"], ["check"], ["explain"], ["new"], ["reference"], ["schema"],
                                     ["filters"], ["filters", "top"], ["simulate"], ["version"]])
def test_help(command, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: fastmesh")
    # But for examples, which are to be copied.
    assert [line for line in text.splitlines() if len(line) > width and not line.startswith("  fastmesh ")] == []


def test_the_help_names_every_command_and_the_exit_codes():
    text = parser().format_help()
    assert all(word in text for word in ("run", "check", "schema", "version", "exit codes", "listeners:"))


def test_the_version():
    done = run("version")
    assert done.returncode == 0 and done.stdout.startswith(f"fastmesh {fastmesh.__version__} (Python ")
    assert run("--version").stdout == f"fastmesh {fastmesh.__version__}\n"


def test_the_version_is_that_of_the_package():
    project = tomllib.loads(Path("pyproject.toml").read_text())
    assert project.get("project", {}).get("version", fastmesh.__version__) == fastmesh.__version__
    assert "version" in project["project"] or project["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "fastmesh.__version__"}


@pytest.mark.parametrize(("code", "banned"), [
    ("import fastmesh", ("re", "typing", "asyncio", "importlib.metadata", "fastmesh.errors")),
    ("from fastmesh.cli.main import parser; parser().format_help()", ("pydantic", "yaml", "asyncio", "msgpack")),
    ("from fastmesh.cli.main import main; main(['version'])", ("pydantic", "yaml", "asyncio", "msgpack")),
    ("from fastmesh.cli.main import main; main(['check', '/dev/null'])", ("asyncio", "uvloop")),
])
def test_nothing_is_imported_that_is_not_needed(code, banned):
    code += f"\nimport sys; print([name for name in {banned!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
                          capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.splitlines()[-1] == "[]"


def test_the_schema(tmp_path):
    printed = run("schema")
    assert printed.returncode == 0 and printed.stdout.startswith('{\n  "$schema"')
    target = tmp_path / "schema.json"
    assert run("schema", "-o", str(target)).returncode == 0 and target.read_text() == printed.stdout
    refused = run("schema", "-o", str(tmp_path / "none" / "x"))
    assert refused.returncode == 1 and "cannot write" in refused.stderr and "Traceback" not in refused.stderr


def test_a_reader_that_leaves(tmp_path):
    command = f"'{sys.executable}' -m fastmesh schema | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == "" and done.returncode == 0


def test_run_is_handed_on(monkeypatch):
    module = type(sys)("fastmesh.cli.run")
    module.run = lambda given: 40 + len(given.config)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fastmesh.cli.run", module)
    monkeypatch.setattr("fastmesh.cli.run", module, raising=False)
    assert main(["run", "-c", "ab"]) == 42


def test_an_interrupt_is_no_traceback(monkeypatch):
    def interrupted(given: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastmesh.cli.main._run", interrupted)
    assert main(["version"]) == 130
