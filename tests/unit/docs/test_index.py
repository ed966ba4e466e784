"""The indexes of the documents name every page once, and tables of them hold what the code has."""

import re
from pathlib import Path

import pytest

from fastmesh.admin.pages import PAGES

DOCS = Path(__file__).parents[3] / "docs"
LISTED = re.findall(r"^\| \[([^\]]+)\]\(([^)]+)\) \|", (DOCS / "README.md").read_text(), re.M)
DECISIONS = re.findall(r"^- \[(.+)\]\(([^)]+)\)$", (DOCS / "decisions" / "README.md").read_text(), re.M)


def test_the_index_names_every_page_once():
    pages = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")
                   if path.parent.name != "decisions" and path != DOCS / "README.md")
    inside = sorted(target for _, target in LISTED if not target.startswith(("../", "decisions/")))
    assert inside == pages, "give each page of docs/ one row in docs/README.md"
    assert all(text == target for text, target in LISTED)


def test_each_decision_stands_under_a_topic_once():
    pages = sorted(path.name for path in (DOCS / "decisions").glob("*.md") if path.name != "README.md")
    assert sorted(target for _, target in DECISIONS) == pages, \
        "give each decision one line in docs/decisions/README.md, under its topic"


@pytest.mark.parametrize(("title", "page"), DECISIONS)
def test_a_decision_is_listed_by_its_title(title, page):
    assert (DOCS / "decisions" / page).read_text().splitlines()[0] == f"# {title}"


def test_the_pages_of_the_admin_api():
    rows = re.findall(r"^\| `(GET|POST) (\S+)` \| (.*) \|$", (DOCS / "admin.md").read_text(), re.M)
    assert rows == list(PAGES)
