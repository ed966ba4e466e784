"""The public face of shared objects."""

import subprocess
import sys

import fastmesh
from fastmesh.filters import shared


def test_it_is_had_from_the_package() -> None:
    assert fastmesh.shared is shared
    from fastmesh import shared as again

    assert again is shared


def test_objects_can_be_made_anywhere() -> None:
    shared.detach()
    shared.Counter("n").add(2)
    assert shared.Counter("n").value == 2
    shared.detach()
    assert shared.Counter("n").value == 0
    shared.detach()


def test_importing_it_takes_no_memory_for_objects() -> None:
    code = ("import re; from fastmesh import shared; maps = open('/proc/self/maps').read(); "
            "print(max(int(b, 16) - int(a, 16) for a, b in re.findall('(\\\\w+)-(\\\\w+) rw-s', maps + '0-0 rw-s')))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 0
