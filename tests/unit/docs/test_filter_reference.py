"""docs/filters/reference.md: what the generator must not let through."""

import ast
import re
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs/filters/reference.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_nothing_private_is_shown():
    assert not re.findall(r"^(?:async )?def (_(?!_)\w*)", PAGE, re.MULTILINE)


def test_signatures_are_as_one_calls_them():
    assert not [block for block in BLOCKS if re.match(r"(async )?def \w+\(\s*self\b", block)]


def is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def test_blocks_hold_python():
    """Signatures have no body, and those of constructors no `def`."""
    assert len(BLOCKS) > 100
    for block in BLOCKS:
        head = block.rstrip()
        assert head and any(is_python(each) for each in (block, f"{head}: ...", f"def {head}: ...")), block
