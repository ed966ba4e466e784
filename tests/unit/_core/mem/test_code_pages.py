"""Code pages are given back, and come again."""

import re
from pathlib import Path

from fastmesh._core.mem.code_pages import release_code_pages


def resident_code(of: str) -> int:
    """KiB of a library's code that this process has in memory."""
    text = Path("/proc/self/smaps").read_text()
    return sum(map(int, re.findall(rf"r-xp .*{of}.*\n(?:.*\n)*?Rss:\s+(\d+) kB", text)))


def test_what_is_not_used_leaves_and_what_is_used_comes_again() -> None:
    import pydantic_core

    core = pydantic_core.SchemaValidator(pydantic_core.core_schema.int_schema())
    assert core.validate_python("5") == 5
    before = resident_code("_pydantic_core")
    assert before > 100
    assert release_code_pages() > 1 << 20
    assert resident_code("_pydantic_core") < before / 2
    assert core.validate_python("6") == 6
    assert resident_code("_pydantic_core") > 0
