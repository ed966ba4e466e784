"""Slices: taken by the kernel, kept or not by children, and without effect on the weight."""

import subprocess
import sys
from pathlib import Path

import pytest

from probes.slices import KNOWN

CODE = """
import os, subprocess, sys, threading
from fastmesh._core.sys.scheduling import set_slice
from probes.slices import slice_ns

usual = slice_ns(0)
os.nice(3)
taken = [set_slice(ns, with_children) for ns, with_children in ({calls})]
told = [slice_ns(0)]
thread = threading.Thread(target=lambda: told.append(slice_ns(0)))
thread.start()
thread.join()
print(taken, usual, *told, flush=True)
if os.fork() == 0:
    print("child", slice_ns(0), os.getpriority(os.PRIO_PROCESS, 0), flush=True)
    os._exit(0)
os.wait()
"""
MS = 1_000_000


def run(*calls: tuple[int, bool]) -> tuple[list[bool], list[int], int]:
    """(what the calls returned; the slice of the process, of a thread and of a child; the usual one)."""
    done = subprocess.run([sys.executable, "-c", CODE.format(calls="".join(f"{call}, " for call in calls))],
                          capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3], timeout=30)
    first, child = done.stdout.splitlines()
    taken, usual, own, thread = first.rsplit(" ", 3)
    _, slice_, nice = child.split()
    assert nice == "3"
    return eval(taken), [int(own), int(thread), int(slice_)], int(usual)


@pytest.mark.skipif(not KNOWN, reason="slices came with Linux 6.12")
def test_a_slice_is_ones_own_or_also_the_childrens() -> None:
    taken, slices, usual = run((20 * MS, False))
    assert (taken, slices) == ([True], [20 * MS, usual, usual])
    taken, slices, usual = run((20 * MS, True))
    assert (taken, slices) == ([True], [20 * MS] * 3)
    assert run((20 * MS, True), (0, True))[:2] == ([True, True], [usual] * 3)


@pytest.mark.skipif(not KNOWN, reason="slices came with Linux 6.12")
def test_the_kernel_takes_what_is_nearest() -> None:
    assert run((1, True))[1] == [100_000] * 3
    assert run((10**18, True))[1] == [100 * MS] * 3
