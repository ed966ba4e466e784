"""The indexes of the documents name every page once, and tables of them hold what the code has."""

import ast
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


@pytest.mark.parametrize(("page", "row"), [
    ("docs/architecture.md", r"^\| (\d+) \| (`\w+`(?:, `\w+`)*) \|"),
    ("CONTRIBUTING.md", r"^ ?(\d+)  (\w+(?:(?: \| |, )\w+)*)  ")])
def test_the_floors_are_those_that_are_checked(page, row):
    checked = re.search(r"^FLOORS = (\[.*?\]\])", (DOCS.parent / "tools" / "check_layers.py").read_text(), re.M | re.S)
    assert checked is not None
    floors: dict[int, set[str]] = {}
    for number, names in re.findall(row, (DOCS.parent / page).read_text(), re.M):
        floors.setdefault(int(number), set()).update(re.findall(r"\w+", names))
    # Headers in C are on no floor that could be checked.
    floors[0] -= {"include"}
    assert floors == {number: set(names) for number, names in enumerate(ast.literal_eval(checked[1]))}
