"""Every configuration in docs/filters is one that fastmesh takes."""

import re
from pathlib import Path

import pytest

from fastmesh.config.load import load_text
from fastmesh.filters.inspection import inspect

ROOT = Path(__file__).parents[3]
PAGES = sorted(ROOT.glob("docs/filters/*.md"))
AROUND = """\
listeners:
  - name: web
    {}address: 127.0.0.1:8080
    filters:
      - {}
{}clusters:
  - {{name: app, endpoints: [127.0.0.1:9000]}}
"""


def blocks(language):
    """(page, number, text) of each block of code in that language."""
    return [(page, n, text) for page in PAGES
            for n, text in enumerate(re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S))]


def whole(text):
    """The configuration that a block stands for: some are one filter."""
    if not text.startswith("use:"):
        # In the tutorial it is installed.
        return text.replace("use: tenants\n", "use: ./src/tenants/__init__.py:Tenants\n")
    is_tcp = text.startswith("use: connection-ip-list")
    routes = "    cluster: app\n" if is_tcp else "    routes: [{match: {prefix: /}, cluster: app}]\n"
    return AROUND.format("protocol: tcp\n    " * is_tcp, text.rstrip("\n").replace("\n", "\n        "), routes)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A directory with every filter of the pages in a file of its name."""
    made = tmp_path_factory.mktemp("documents")
    (made / "filters").mkdir()
    for _, _, text in blocks("python"):
        for name in re.findall(r"^class (\w+)\(", text, re.M):
            file = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
            (made / "filters" / f"{file}.py").write_text(text)
    for page in PAGES:
        for file, text in re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```", page.read_text(), re.M | re.S):
            (made / file).parent.mkdir(parents=True, exist_ok=True)
            (made / file).write_text(text)
    return made


YAML = [pytest.param(text, id=f"{page.name}-{n}") for page, n, text in blocks("yaml")]


@pytest.mark.parametrize("text", YAML)
def test_it_is_taken_without_a_warning(text, directory):
    loaded = load_text(whole(text), str(directory / "mesh.yaml"), {}, inspect)
    assert loaded.warnings == []


def test_there_are_some():
    assert len(YAML) > 15
