import os

import pytest

from fastmesh.snapshot.processors import usable_processors


@pytest.mark.parametrize(("quota", "most"), [
    ("max 100000\n", 256), ("100000 100000\n", 1), ("150000 100000\n", 2), ("1000 100000\n", 1), ("", 256),
    ("x y", 256), ("5 0", 256)])
def test_a_quota_is_a_limit(tmp_path, monkeypatch, quota, most):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(300)))
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_processors(tmp_path / "cpu.max") == most


def test_the_mask_is_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})
    assert usable_processors(tmp_path / "none") == 2
