"""The filters of a worker over reloads: what is kept, what is loaded anew, what is stopped. The slots are stand-ins."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fastmesh.config.load import load_text
from fastmesh.filters.inspection import inspect
from fastmesh.snapshot.chains import Chains
from fastmesh.snapshot.registry import Registry

FILE = """\
from fastmesh import Filter

happened = []

class Stamp(Filter):
    text: str = "x"
    marks: tuple[int, ...] = (1, 2)
    words: set[str] = set()

    def start(self):
        happened.append(("start", self.text, self.name))
        self.log.info("up with %s", self.text)

    def stop(self):
        happened.append(("stop", self.text))

    def on_request(self, request):
        return VERSION

class Other(Filter):
    def on_complete(self, request, outcome): ...
"""


class FakeSlot:
    def __init__(self, instance: object, phases: dict[str, Any], **given: Any) -> None:
        self.__dict__.update(given, instance=instance, phases=phases)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module under test, with a compiled part that only keeps what it is given."""
    chain = ModuleType("fastmesh._core.filter.chain")
    chain.Slot = FakeSlot  # type: ignore[attr-defined]
    bounds: list[int] = []
    chain.bound_memory = bounds.append  # type: ignore[attr-defined]
    chain.bounds = bounds  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fastmesh._core.filter.chain", chain)
    path = list(sys.path)
    sys.modules.pop("fastmesh.worker.filters", None)
    yield import_module("fastmesh.worker.filters")
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith(("fastmesh_file_", "a_package_of_filters"))]:
        del sys.modules[name]
    sys.modules.pop("fastmesh.worker.filters", None)


@pytest.fixture
def blob(tmp_path: Path) -> Callable[..., bytes]:
    registry = Registry()

    def make(*uses: str, version: int = 1, text: str = FILE, more: str = "") -> bytes:
        (tmp_path / "f.py").write_text(text.replace("VERSION", str(version)))
        # Another process does this, so nothing of it is in the worker's.
        mine = {name: module for name, module in sys.modules.items() if name.startswith("fastmesh_file_")}
        config = (f"listeners: [{{name: web, address: '127.0.0.1:1', filters: [{', '.join(uses)}], routes: "
                  f"[{{match: {{}}, response: {{status: 200}}}}]}}]\n{more}")
        loaded = load_text(config, str(tmp_path / "mesh.yaml"), {}, inspect)
        for name in [name for name in sys.modules if name.startswith("fastmesh_file_")]:
            del sys.modules[name]
        sys.modules.update(mine)
        return Chains(loaded.config, loaded.filters, registry).blob()
    return make


def test_what_filters_may_allocate_is_that_of_the_newest_snapshot(worker, blob):
    filters = worker.Filters(lambda message: None)
    for more in ("", "filter_memory: 64MiB", "filter_memory: 0"):
        filters.take(blob("{use: ./f.py:Stamp}", more=more))
    assert sys.modules["fastmesh._core.filter.chain"].bounds == [1 << 30, 64 << 20, 0]


def test_a_slot_has_what_it_needs(worker, blob):
    told: list[Any] = []
    filters = worker.Filters(told.append)
    first, second = filters.take(blob(
        "{use: ./f.py:Stamp, text: hello, words: [b, a], on_error: skip, budget: 3ms, mode: shadow, "
        "quarantine: {failures: 2}}", "{name: other, use: ./f.py:Other}"))
    assert (first.name, first.row, first.on_error, first.budget_ns, first.shadow) == (
        "Stamp@web", 0, "skip", 3_000_000, True)
    assert list(first.quarantine) == [2, 10 * 10**9, 5 * 10**9, 300 * 10**9]
    assert (first.timeout_ns, first.body_limit) == (30 * 10**9, 1 << 20)
    assert (first.instance.text, first.instance.marks, first.instance.words) == ("hello", (1, 2), {"a", "b"})
    assert list(first.phases) == ["on_request"] and first.phases["on_request"](None) == 1
    assert (second.name, second.row, second.on_error, list(second.phases)) == ("other", 1, "open", ["on_complete"])
    module = sys.modules[type(first.instance).__module__]
    assert module is sys.modules[type(second.instance).__module__]
    assert module.happened == [("start", "hello", "Stamp@web")]
    assert told == [{"op": "event", "what": "filter_log", "filter": "Stamp@web", "level": "info",
                     "text": "up with hello"}]


def test_what_has_not_changed_is_kept(worker, blob):
    filters = worker.Filters(lambda message: None)
    same, changed = "{name: a, use: ./f.py:Stamp, words: [c, b, a]}", "{name: b, use: ./f.py:Stamp, text: %s}"
    old = filters.take(blob(same, changed % "one"))
    new = filters.take(blob(changed % "two", same))
    assert new[1] is old[0] and new[0] is not old[1]
    happened = sys.modules[type(old[0].instance).__module__].happened
    assert [what for what, *_ in happened] == ["start", "start", "start"]
    filters.give_back(old)
    assert happened[3:] == [("stop", "one")]
    filters.give_back(new)
    assert sorted(happened[4:]) == [("stop", "two"), ("stop", "x")]


def test_a_new_version_of_a_file_runs_beside_the_old_one(worker, blob):
    filters = worker.Filters(lambda message: None)
    (old,) = filters.take(blob("{use: ./f.py:Stamp}"))
    (new,) = filters.take(blob("{use: ./f.py:Stamp}", version=2))
    assert (old.phases["on_request"](None), new.phases["on_request"](None)) == (1, 2)
    name = type(old.instance).__module__
    assert name in sys.modules
    filters.give_back([old])
    assert name not in sys.modules
    assert new.phases["on_request"](None) == 2


def test_what_is_run_is_what_was_checked(worker, blob, tmp_path):
    checked = blob("{use: ./f.py:Stamp}")
    (tmp_path / "f.py").write_text("raise SystemExit")
    (slot,) = worker.Filters(lambda message: None).take(checked)
    assert slot.phases["on_request"](None) == 1


@pytest.mark.parametrize(("body", "why"), [
    ("raise OSError('no disk')", r"filter a: .*f\.py:6: OSError: no disk"),
    ("raise SystemExit(3)", r"filter a: .*f\.py:6: SystemExit: 3"),
    ("__import__('json').loads('{')", r"filter a: .*f\.py:6: JSONDecodeError: .*"),
])
def test_one_that_does_not_start_changes_nothing(worker, blob, body, why):
    filters = worker.Filters(lambda message: None)
    (old,) = filters.take(blob("{name: good, use: ./f.py:Stamp}"))
    text = (f"from fastmesh import Filter\n\nclass Bad(Filter):\n    def on_request(self, request): ...\n"
            f"    def start(self):\n        {body}\n\n" + FILE)
    with pytest.raises(worker.FilterRefused, match=why):
        filters.take(blob("{name: new, use: ./f.py:Stamp, text: new}", "{name: a, use: ./f.py:Bad}", text=text))
    (same,) = filters.take(blob("{name: good, use: ./f.py:Stamp}"))
    assert same is old


def test_a_refusal_names_the_place_in_the_configuration(worker, blob, tmp_path):
    text = FILE + "\nclass Bad(Other):\n    def start(self): raise ValueError('no')\n"
    with pytest.raises(worker.FilterRefused) as caught:
        worker.Filters(lambda message: None).take(blob("{use: ./f.py:Stamp}", "{name: a, use: ./f.py:Bad}", text=text))
    # "listeners: [{name: web, address: '127.0.0.1:1', filters: [{use: ./f.py:Stamp}, {name: a, use: "
    assert str(caught.value).startswith(
        f"{tmp_path / 'mesh.yaml'}:1:95: listeners[0].filters[1].use: filter a: {tmp_path / 'f.py'}:")


def test_a_filter_that_stands_elsewhere_is_still_the_same(worker, blob):
    filters = worker.Filters(lambda message: None)
    (old,) = filters.take(blob("{name: a, use: ./f.py:Stamp}"))
    _, same = filters.take(blob("{name: b, use: ./f.py:Other}", "{name: a, use: ./f.py:Stamp}"))
    assert same is old


def test_those_that_came_with_a_refused_one_are_stopped(worker, blob):
    filters = worker.Filters(lambda message: None)
    text = FILE + "\nclass Bad(Other):\n    def start(self): raise ValueError\n"
    with pytest.raises(worker.FilterRefused):
        filters.take(blob("{use: ./f.py:Stamp}", "{use: ./f.py:Bad}", text=text))
    assert filters._entries == []


def test_one_that_does_not_stop_is_told_of(worker, blob):
    told: list[Any] = []
    filters = worker.Filters(told.append)
    text = FILE + "\nclass Bad(Other):\n    def stop(self): raise ValueError('no')\n"
    filters.give_back(filters.take(blob("{name: a, use: ./f.py:Bad}", text=text)))
    (message,) = told
    assert (message["what"], message["filter"]) == ("filter_error", "a")
    assert message["text"].startswith("stop: ") and message["text"].endswith("ValueError: no")


def test_a_new_version_of_a_package_is_loaded_beside_the_old_one(worker, blob, tmp_path, monkeypatch):
    package = tmp_path / "lib" / "a_package_of_filters"
    package.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(package.parent))

    def write(version: int, more: str = "") -> bytes:
        for name in [name for name in sys.modules if name.startswith("a_package_of_filters")]:
            if version == 1:
                del sys.modules[name]
        (package / "__init__.py").write_text("")
        (package / "part.py").write_text(f"version = {version}\n{more}")
        (package / "one.py").write_text(
            "from fastmesh import Filter\nfrom a_package_of_filters.part import version\n\n"
            "class One(Filter):\n    def on_request(self, request): return version\n")
        return blob("{name: one, use: 'a_package_of_filters.one:One'}")

    filters = worker.Filters(lambda message: None)
    (old,) = filters.take(write(1))
    second = write(2, "# longer\n")
    (new,) = filters.take(second)
    assert (old.phases["on_request"](None), new.phases["on_request"](None)) == (1, 2)
    # One that cannot be imported leaves the one before where it is.
    third = write(3)
    (package / "part.py").write_text("raise ImportError('half written')\n")
    with pytest.raises(worker.FilterRefused, match=r"part\.py:1: ImportError: half written"):
        filters.take(third)
    assert sys.modules["a_package_of_filters.part"].version == 2
    (same,) = filters.take(second)
    assert same is new


def test_an_isolated_one_has_a_stand_in(worker, blob):
    spec = "{name: far, use: ./f.py:Other, isolated: true}"
    with pytest.raises(worker.FilterRefused, match="no process to run it in"):
        worker.Filters(lambda message: None).take(blob(spec))
    made: list[Any] = []

    class StandIn:
        slot: Any = None

        def __init__(self) -> None:
            self.phases = {"on_complete": self.on_complete}

        async def on_complete(self, request: object, outcome: object) -> None: ...

        def is_current(self) -> bool:
            return False

    def stand_in(specs: list[dict[str, Any]], place: int) -> object:
        made.append(([spec["name"] for spec in specs], place))
        return StandIn()

    (slot,) = worker.Filters(lambda message: None, stand_in=stand_in).take(blob(spec))
    assert made == [(["far"], 0)] and slot.timeout_ns == 10**9 and slot.instance.slot is slot
    assert isinstance(slot.instance, StandIn)


def test_what_a_worker_imports_for_filters_is_little():
    """No validator, no event loop, no `typing`: each costs megabytes, in each worker."""
    import subprocess
    code = ("import gc, sys; sys.path[:0] = sys.argv[1].split(':'); sys.modules['fastmesh._core.filter.chain'] = m = "
            "type(sys)('m'); m.Slot = m.bound_memory = 1; before = set(sys.modules)\n"
            "import fastmesh.worker.packet; packet = set(sys.modules); import fastmesh.worker.filters\n"
            "print(*sorted(set(sys.modules) - packet))\n")
    from fastmesh.control.process import package_paths
    out = subprocess.run([sys.executable, "-I", "-S", "-c", code, ":".join(package_paths("fastmesh", "msgpack"))],
                         capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in out if not name.startswith("fastmesh.")] == []
