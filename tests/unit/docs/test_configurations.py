"""Every whole configuration that a page shows is one that fastmesh takes; docs/filters has a test of its own, which
loads filters, too."""

import re
from pathlib import Path

import pytest

from fastmesh.config.load import load_text

ROOT = Path(__file__).parents[3]
# What has no listeners or no clusters is a part of a file.
WHOLE = [pytest.param(text, id=f"{page.name}-{n}") for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
         for n, text in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.M | re.S))
         if re.search(r"^listeners:", text, re.M) and re.search(r"^clusters:", text, re.M)]


@pytest.mark.parametrize("text", WHOLE)
def test_it_is_taken_without_a_warning(text):
    assert load_text(text, str(ROOT / "examples" / "config" / "mesh.yaml"), {}).warnings == []


def test_there_are_some():
    assert len(WHOLE) > 30
