"""docs/filters/phases.md has every phase, in the order of the base class; the reference is current."""

import re
import subprocess
import sys
from pathlib import Path

from fastmesh import Filter

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "filters" / "phases.md").read_text()
PHASES = [name for name in vars(Filter) if name.startswith("on_") and callable(getattr(Filter, name))]


def test_the_table_has_every_phase():
    in_table = re.findall(r"^\| `(on_\w+)` \|", PAGE, re.M)
    assert sorted(in_table) == sorted(PHASES) and len(in_table) > 12


def test_the_picture_has_every_phase_in_the_tables_order():
    picture = PAGE.split("```")[1]
    in_picture = list(dict.fromkeys(re.findall(r"\bon_\w+", picture)))
    in_table = re.findall(r"^\| `(on_\w+)` \|", PAGE, re.M)
    assert sorted(in_picture) == sorted(in_table)


def test_the_reference_is_current():
    done = subprocess.run([sys.executable, "tools/gen_filter_docs.py", "--check"], cwd=ROOT, capture_output=True,
                          text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
