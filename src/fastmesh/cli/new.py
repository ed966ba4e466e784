"""`fastmesh new filter`: a package with a filter, its test and its packaging."""

import argparse
import keyword
import re
import sys
from pathlib import Path

from fastmesh import __version__

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*")

_PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "0.1.0"
description = "A filter for fastmesh"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["fastmesh>={version}"]

[project.optional-dependencies]
test = ["pytest>=8"]

# What a configuration may write after `use:`.
[project.entry-points."fastmesh.filters"]
{name} = "{package}:{cls}"

[tool.setuptools.packages.find]
where = ["src"]

[tool.setuptools.package-data]
{package} = ["py.typed"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["src"]
"""

_FILTER = '''\
"""{title}: a filter for fastmesh."""

from fastmesh import Filter, Request, Response


class {cls}(Filter):
    """Refuses requests that do not say whose they are, and labels those that do."""

    # Annotated attributes are the settings: an operator writes them beside `use:`. Without a default one is required.
    header: str = "x-tenant"

    def on_request(self, request: Request) -> Response | None:
        tenant = request.headers.get(self.header)
        if tenant is None:
            return Response(400, text=f"missing {{self.header}}\\n")
        request.labels["tenant"] = tenant
        return None
'''

_TEST = '''\
"""`fastmesh.testing` runs a filter without sockets: `filter_kit` comes from its pytest plugin."""

from {package} import {cls}


def test_a_request_without_a_tenant_is_refused(filter_kit):
    reply = filter_kit({cls}()).get("/")
    assert reply.status == 400 and reply.upstream is None


def test_a_request_with_a_tenant_is_labelled(filter_kit):
    reply = filter_kit({cls}(header="x-team")).get("/", headers={{"x-team": "blue"}})
    assert reply.status == 200 and reply.labels == {{"tenant": "blue"}}
'''

_README = """\
# {name}

A filter for fastmesh. In an environment in which fastmesh is installed:

    pip install -e '.[test]'
    pytest

To see it in a proxy, in front of something on port 9000, write `mesh.yaml`:

```yaml
filters:
  - name: {name}
    use: {name}
    header: x-tenant
listeners:
  - name: web
    address: 127.0.0.1:8080
    filters: [{name}]
    routes: [{{match: {{prefix: /}}, cluster: app}}]
clusters:
  - {{name: app, endpoints: [127.0.0.1:9000]}}
```

    fastmesh check mesh.yaml
    fastmesh run -c mesh.yaml
"""


def run(args: argparse.Namespace) -> int:
    """Writes the files, or says why not. Nothing that is there is overwritten."""
    name: str = args.name
    package = name.replace("-", "_").lower()
    why = hint = ""
    if not _NAME.fullmatch(name) or len(name) > 64:
        why = f"found the name {name!r}, allowed: letters, digits, - and _, beginning with a letter, 64 at most"
        better = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-0123456789")[:64]
        hint = f"write {better}" if better else "write a name as tenant-guard"
    elif keyword.iskeyword(package) or package in sys.stdlib_module_names or package == "fastmesh":
        why = f"the name {name!r} is that of a part of Python or of fastmesh"
        hint = f"choose another, as {name}-guard"
    target = Path(args.dir) if args.dir else Path(name)
    if not why and target.exists() and (not target.is_dir() or any(target.iterdir())):
        why = f"{target} is there already and not empty"
        hint = "choose another place with --dir, or another name"
    if why:
        print(f"fastmesh new: {why}\n  to do: {hint}", file=sys.stderr)
        return 1
    title = re.sub(r"[-_]", " ", name)
    words = {"name": name, "package": package, "cls": _class_name(name), "version": __version__,
             "title": title[0].upper() + title[1:]}
    files = {
        "pyproject.toml": _PROJECT, "README.md": _README, f"src/{package}/__init__.py": _FILTER,
        f"src/{package}/py.typed": "", f"tests/test_{package}.py": _TEST}
    try:
        for path, text in files.items():
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.format(**words), encoding="utf-8")
    except OSError as error:
        print(f"fastmesh new: cannot write {error.filename}: {error.strerror}\n  to do: choose another place with "
              "--dir", file=sys.stderr)
        return 1
    for path in files:
        print(target / path)
    print(f"\nnext: cd {target} && pip install -e '.[test]' && pytest")
    return 0


def _class_name(name: str) -> str:
    return "".join(word[0].upper() + word[1:] for word in re.split(r"[-_]", name))
