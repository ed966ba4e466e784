"""Modules that are left out."""

import subprocess
import sys

import pytest

from fastmesh.control.stand_in import left_out


def test_a_module_is_left_out_and_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with left_out("colorsys"):
        from colorsys import rgb_to_hsv as early
    assert "colorsys" not in sys.modules
    import colorsys
    assert early is not colorsys.rgb_to_hsv
    assert early(0.1, 0.2, 0.3) == colorsys.rgb_to_hsv(0.1, 0.2, 0.3)


def test_a_module_that_is_there_stays() -> None:
    with left_out("subprocess"):
        assert sys.modules["subprocess"] is subprocess
    assert sys.modules["subprocess"] is subprocess


def test_what_compiles_loads_neither_openssl_nor_zipfile() -> None:
    """In a process that has nothing loaded: the test's own has."""
    code = ("import sys; sys.path[:0] = sys.argv[1:]; "
            "import fastmesh.control.loop; from fastmesh.control.compile_process import rehearse; rehearse(); "
            "print([name for name in ('_ssl', '_hashlib', 'secrets', 'importlib.metadata', 'zipfile', 'email') "
            "if name in sys.modules])")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, *filter(None, sys.path)], capture_output=True,
                          text=True, check=True)
    assert done.stdout == "[]\n"
