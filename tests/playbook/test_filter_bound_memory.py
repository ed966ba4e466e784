"""What Python gives within a filter when there is no more: in a process of its own, as its allocators stay hooked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
BEGIN = """
import gc, os, sys, threading
sys.path.insert(0, sys.argv[1])
from fastmesh import Filter, Response
from fastmesh._core.filter.chain import PHASES, Slot, Table, bound_memory, memory_held
from probes.filter_probe import exchange_loop

HEAD = b"GET /a?b=c HTTP/1.1\\r\\nhost: x\\r\\nx-team: blue\\r\\n\\r\\n"
MIB = 1 << 20
told = []

def run(made, loops=1):
    phases = {phase: getattr(made, phase) for phase in PHASES if phase in type(made).__dict__}
    slot = Slot(made, phases, row=0, budget_ns=60 * 10**9, quarantine=(0, 10**9, 10**9, 10**9),
                report=lambda what, phase, text: told.append((what, text)))
    assert exchange_loop(Table([slot]), HEAD, loops) == 0
"""


def run(code: str, **more: str) -> None:
    done = subprocess.run([sys.executable, "-c", BEGIN + code, str(TESTS)], capture_output=True, text=True, timeout=120,
                          check=False, env={**os.environ, **more})
    assert done.returncode == 0, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr


def test_a_python_whose_memory_cannot_be_told_has_no_limit() -> None:
    run("""
class Asks(Filter):
    def on_request(self, request):
        bytearray(100 * MIB)

assert not bound_memory(64 * MIB)
run(Asks())
assert told == [] and memory_held() == 0
""", PYTHONMALLOC="malloc_debug")


def test_what_is_asked_for_within_a_filter_is_bound_and_nothing_else() -> None:
    run("""
class Asks(Filter):
    def on_request(self, request):
        seen.append(len(bytearray(30 * MIB)))
        bytearray(100 * MIB)

seen = []
run(Asks())             # there is no limit
assert told == []
assert bound_memory(64 * MIB)
run(Asks(), 3)
assert seen == [30 * MIB] * 4
assert [what for what, _ in told] == ["error"] and "MemoryError" in told[0][1], told    # the like is told once
bytearray(200 * MIB)    # outside of filters
assert memory_held() < 64 * MIB
bound_memory(0)
told.clear()
run(Asks())
assert told == []
""")


@pytest.mark.parametrize("allocator", ["pymalloc", "malloc"])
def test_sums_of_small_and_of_large_objects_are_bound(allocator: str) -> None:
    run("""
class Keeps(Filter):
    def __init__(self, make):
        self.make, self.kept, self.steps = make, [], 0

    def on_request(self, request):
        self.kept.append(self.make())
        self.steps += 1

for make in (lambda: bytearray(MIB), lambda: [{"n": n} for n in range(3000)], lambda: "x" * 300_000,
             lambda: [bytearray(600) for _ in range(1000)]):
    gc.collect()
    bound_memory(max(0, memory_held()) + 48 * MIB)
    made = Keeps(make)
    run(made, 400)
    assert 30 < made.steps < 400, made.steps
    # It is told that all is kept, once; errors are told for each line that they came of.
    assert [text for what, text in told if what == "memory" and "and it asked for more" in text], told
    assert sum(what == "memory" for what, _ in told) == 1 and "MemoryError" in told[0][1], told
    told.clear()
    before = memory_held()
    made.kept.clear()
    gc.collect()
    assert memory_held() < before - 20 * MIB, (make(), before, memory_held())
""", PYTHONMALLOC=allocator)


def test_realloc_and_threads_are_bound() -> None:
    run("""
class Grows(Filter):
    def on_request(self, request):
        found = bytearray()
        while True:
            found.extend(bytes(MIB))

class Threads(Filter):
    def on_request(self, request):
        def take():
            try:
                bytearray(100 * MIB)
            except MemoryError:
                refused.append(1)
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()

refused = []
bound_memory(64 * MIB)
run(Grows())
assert "MemoryError" in told[0][1]
run(Threads())
assert refused == [1]
""")


def test_no_call_of_the_api_breaks_when_there_is_nothing_at_all() -> None:
    """Each in a loop, so that what is kept for reuse is used up and new memory has to be asked for."""
    run("""
# With plain malloc a bound of nothing is in the way of the call itself, and of catching its error.
plain = os.environ.get("PYTHONMALLOC") == "malloc"

CALLS = {
    "headers": lambda r: r.headers, "get": lambda r: r.headers.get("x-team"),
    "all": lambda r: r.headers.get_all("host"),
    "set": lambda r: r.headers.__setitem__("x-a", "b" * 2000), "add": lambda r: r.headers.add("x-b", "c" * 2000),
    "items": lambda r: list(r.headers.items()), "raw": lambda r: r.headers.raw("x-team"), "path": lambda r: r.path,
    "query": lambda r: r.query, "rewrite": lambda r: setattr(r, "path", "/" + "p" * 2000), "id": lambda r: r.id,
    "label": lambda r: r.labels.__setitem__("tenant", "t" * 3000),
    "state": lambda r: r.state.__setitem__("a", "b" * 3000),
    "peer": lambda r: r.peer, "connection": lambda r: r.connection, "repr": lambda r: repr(r),
    "answer": lambda r: Response(200, text="x" * 5000, headers={"a": "b" * 2000}), "retry": lambda r: r.retry,
    "dict": lambda r: dict(r.headers), "method": lambda r: r.method, "host": lambda r: r.host,
}

class Starves(Filter):
    def __init__(self, call):
        self.call, self.refused = call, 0

    def on_request(self, request):
        hold = []
        bound_memory(memory_held() + 65536 if plain else 1)
        try:
            for _ in range(3000):
                try:
                    hold.append(self.call(request))
                except MemoryError:
                    self.refused += 1
                    hold.clear()
                except ValueError:
                    pass        # there are as many headers as there may be
        finally:
            bound_memory(0)

refused = {}
for name, call in CALLS.items():
    made = Starves(call)
    run(made, 3)
    refused[name] = made.refused
assert all(what == "memory" or plain and text.endswith("MemoryError\\n") for what, text in told), told
assert sum(count > 0 for count in refused.values()) > 5, refused
""")
