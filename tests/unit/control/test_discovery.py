"""The discovery host as control keeps it: real processes, without workers."""

import asyncio
import os
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgpack
import pytest

from fastmesh.control import discovery, discovery_host, host
from fastmesh.control.compile_process import _answer
from fastmesh.control.discovery import Discoveries
from fastmesh.control.host import HostFailed
from fastmesh.control.process import package_paths
from fastmesh.control.snapshot import Snapshot, from_answer
from fastmesh.observe.events import Events
from fastmesh.observe.journal import Journal
from fastmesh.observe.stats import StatsShelf

POLICIES = """
import asyncio, os, time
from pathlib import Path
from fastmesh import Discovery

class Good(Discovery):
    address: str = "10.0.0.1:80"
    async def endpoints(self):
        self.log.info("looks for %s", self.name)
        yield [self.address]
        await asyncio.sleep(600)

class Waits(Discovery):
    "Until a file is there; then its lines, whenever they change; a word is an order."
    path: str
    async def endpoints(self):
        said = None
        while True:
            text = Path(self.path).read_text() if os.path.exists(self.path) else None
            if text == "die":
                os.unlink(self.path)
                os._exit(3)
            if text == "block":
                os.unlink(self.path)
                time.sleep(60)
            if text is not None and text != said:
                said = text
                yield text.split()
            await asyncio.sleep(0.005)

class Once(Discovery):
    "Of all its instances, the first alone finds something, when it is told to."
    path: str
    async def endpoints(self):
        while not os.path.exists(self.path + ".go"):
            await asyncio.sleep(0.005)
        if not os.path.exists(self.path):
            Path(self.path).touch()
            yield ["10.0.0.1:80"]
        await asyncio.sleep(600)

class Broken(Discovery):
    def start(self):
        raise LookupError("no such registry")
    async def endpoints(self):
        yield []

class Gone(Discovery):
    async def endpoints(self):
        os._exit(7)
        yield []
"""


class Control:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "journal"
        (directory / "d.py").write_text(POLICIES)
        journal = Journal(os.open(self.log, os.O_WRONLY | os.O_CREAT))
        self.events = Events(journal)
        self.applied: list[dict[str, list[str]]] = []
        self.discoveries = Discoveries(package_paths("fastmesh", "msgpack"), journal, self.events, self.apply,
                                       StatsShelf().take)
        self.version = 0
        self.live: Snapshot | None = None

    async def apply(self) -> None:
        found = self.discoveries.take()
        self.applied.append(self.addresses(found))
        assert self.live is not None
        self.discoveries.note(self.live, found, {
            "refused": {}, "changed": {cluster: [1, 1, 0] for cluster in found}})

    @staticmethod
    def addresses(found: dict[str, Any]) -> dict[str, list[str]]:
        return {cluster: [address for address, _ in msgpack.unpackb(one.packed)] for cluster, one in found.items()}

    def path(self, name: str) -> Path:
        return self.directory / name

    def tell(self, name: str, text: str) -> None:
        self.path(f"{name}.new").write_text(text)
        self.path(f"{name}.new").replace(self.path(name))

    def snapshot(self, **endpoints: str) -> Snapshot:
        """`endpoints`: cluster → what stands there in a file."""
        self.version += 1
        file = self.path("mesh.yaml")
        file.write_text("listeners: []\nclusters:\n" + "".join(
            f"- {{name: {name}, endpoints: {text}}}\n" for name, text in endpoints.items()))
        found = _answer({"file": str(file), "version": self.version})
        assert found["ok"], found["text"]
        return from_answer(found)

    async def adopt(self, **endpoints: str) -> dict[str, list[str]]:
        snapshot = self.snapshot(**endpoints)
        found = await self.discoveries.prepare(snapshot)
        self.discoveries.settle(snapshot)
        if self.live is not None:
            self.live.close()
        self.live = snapshot
        return self.addresses(found)

    def waits(self, name: str, more: str = "") -> str:
        return f"{{use: ./d.py:Waits, path: {self.path(name)}, debounce: 10ms{more}}}"

    @property
    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "APART_SECONDS", 0.01)
    monkeypatch.setattr(host, "LOOK_SECONDS", 0.05)


def run(control: Control, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        try:
            await asyncio.wait_for(work(), 60)
        finally:
            control.discoveries.end()
            await control.discoveries.gone()
            if control.live is not None:
                control.live.close()
    asyncio.run(whole())


async def until(condition: Callable[[], Any]) -> None:
    while not condition():      # noqa: ASYNC110  (what it looks at is another process)
        await asyncio.sleep(0.005)


def test_a_start_waits_for_the_first_sets(control: Control) -> None:
    async def work() -> None:
        control.tell("slow", "10.0.0.7:80")
        found = await control.adopt(a="{use: ./d.py:Good}", b=control.waits("slow"), c="['10.0.0.9:80']")
        assert found == {"a": ["10.0.0.1:80"], "b": ["10.0.0.7:80"]}
        assert set(control.discoveries.findings) == {"a", "b"} and len(control.discoveries.processes) == 1
        await until(lambda: "discovery of cluster a: looks for a" in control.said)
    run(control, work)


def test_it_goes_on_without_what_is_late(control: Control) -> None:
    async def work() -> None:
        found = await control.adopt(a="{use: ./d.py:Good}", b=control.waits("b", ", first_wait: 300ms"))
        assert found == {"a": ["10.0.0.1:80"]}
        assert re.search(r"warn  discovery of cluster b: its policy has yielded nothing good within 0.3 s: it begins "
                         "without endpoints, and requests get 503 until it does", control.said)
        assert "discovery of cluster a: its policy" not in control.said
        control.tell("b", "10.0.0.7:80")
        await until(lambda: control.applied)
        assert control.applied == [{"b": ["10.0.0.7:80"]}]
    run(control, work)


def test_the_last_set_of_a_debounce_counts(control: Control) -> None:
    async def work() -> None:
        await control.adopt(a=control.waits("a", ", first_wait: 0"), b=control.waits("b", ", first_wait: 0"))
        async with asyncio.timeout(30):
            for n in range(1, 9):
                control.tell("a", f"10.0.0.{n}:80")
                control.tell("b", f"10.0.1.{n}:80")
                await asyncio.sleep(0.01)
            await until(lambda: control.applied and control.applied[-1].get("a") == ["10.0.0.8:80"])
            await until(lambda: any(one.get("b") == ["10.0.1.8:80"] for one in control.applied))
        finding = control.discoveries.findings["a"]
        assert finding.updates == sum("a" in one for one in control.applied) and finding.age() is not None
    run(control, work)


def test_a_set_that_says_what_is_live_ends_here(control: Control) -> None:
    async def work() -> None:
        await control.adopt(a=control.waits("a", ", first_wait: 0"))
        control.tell("a", "10.0.0.1:80 10.0.0.2:80")
        await until(lambda: control.applied)
        control.tell("a", "10.0.0.2:80 10.0.0.1:80")
        await until(lambda: control.discoveries.findings["a"].unchanged)
        assert len(control.applied) == 1 and control.discoveries.findings["a"].updates == 1
    run(control, work)


def test_the_last_word_counts_whatever_is_under_way(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        await control.adopt(a=control.waits("a", ", first_wait: 0"))
        control.tell("a", "10.0.0.1:80")
        await until(lambda: control.applied)
        goes_on = asyncio.Event()
        taken: list[Any] = []

        async def slowly() -> None:
            found = control.discoveries.take()
            taken.append(control.addresses(found))
            await goes_on.wait()
            assert control.live is not None
            control.discoveries.note(control.live, found, {"refused": {}, "changed": {"a": [1, 1, 1]}})

        monkeypatch.setattr(control.discoveries, "_apply", slowly)
        control.tell("a", "10.0.0.2:80")
        await until(lambda: taken)
        control.tell("a", "10.0.0.1:80")        # what is live, for as long as the other one is not
        await until(lambda: control.discoveries.processes[0].sets)
        goes_on.set()
        await until(lambda: len(taken) == 2)
        assert taken == [{"a": ["10.0.0.2:80"]}, {"a": ["10.0.0.1:80"]}]
    run(control, work)


def test_what_waits_is_not_lost_with_its_host(control: Control) -> None:
    async def work() -> None:
        once = f"{{use: ./d.py:Once, path: {control.path('once')}, debounce: 1m, first_wait: 0}}"
        assert await control.adopt(a=once) == {}
        control.path("once.go").touch()
        await until(lambda: control.discoveries.processes[0].sets)
        assert await control.adopt(a=once, b="{use: ./d.py:Good}") == {"a": ["10.0.0.1:80"], "b": ["10.0.0.1:80"]}
    run(control, work)


@pytest.mark.parametrize(("order", "said"), [("die", "exit status 3"), ("block", "its loop stood still for")])
def test_a_host_that_ends_is_started_again(control: Control, monkeypatch: pytest.MonkeyPatch, order: str,
                                           said: str) -> None:
    async def work() -> None:
        monkeypatch.setattr(discovery_host, "PATIENCE", 1.0)
        control.tell("a", "10.0.0.1:80")
        assert await control.adopt(a=control.waits("a"), b="{use: ./d.py:Good}") == {
            "a": ["10.0.0.1:80"], "b": ["10.0.0.1:80"]}
        first, = control.discoveries.processes
        control.tell("a", order)
        await until(lambda: not first.is_alive)
        control.tell("a", "10.0.0.2:80")
        await until(lambda: any("a" in one for one in control.applied))
        second, = control.discoveries.processes
        assert second is not first and control.discoveries.restarts == 1
        assert control.discoveries.findings["b"].errors["died"] == 1
        assert said in control.said and "until then endpoints stay as they are" in control.said
        if order == "block":
            assert "in the policy of cluster a" in control.said
    run(control, work)


def test_a_host_that_takes_too_much_memory_is_started_again(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        await control.adopt(a="{use: ./d.py:Good}")
        with monkeypatch.context() as patch:
            patch.setattr(host, "MEMORY_MOST", 1 << 20)
            await until(lambda: control.discoveries.restarts)
        await until(lambda: control.discoveries.processes and control.discoveries.processes[0].ready.done())
        assert "1 are allowed" in control.said
    run(control, work)


def test_one_whose_process_dies_at_once_starts_all_the_same(control: Control) -> None:
    async def work() -> None:
        assert await control.adopt(a="{use: ./d.py:Gone}") == {}
        await until(lambda: control.discoveries.restarts >= 2)
        assert "exit status 7" in control.said
    run(control, work)


def test_what_cannot_start_is_refused_and_changes_nothing(control: Control) -> None:
    async def work() -> None:
        with pytest.raises(HostFailed, match=r"a: (.|\n)*LookupError: no such registry"):
            await control.discoveries.prepare(control.snapshot(a="{use: ./d.py:Broken}"))
        await until(lambda: control.discoveries.processes == [])
        await control.adopt(a="{use: ./d.py:Good}")
        before = control.discoveries.processes
        for bad in ("Broken", "Gone"):
            with pytest.raises(HostFailed):
                await control.discoveries.prepare(control.snapshot(a=f"{{use: ./d.py:{bad}}}", b="{use: ./d.py:Good}"))
            await until(lambda: control.discoveries.processes == before)
        assert set(control.discoveries.findings) == {"a"} and control.discoveries.restarts == 0
    run(control, work)


def test_a_changed_policy_runs_beside_the_old_one_until_it_is_live(control: Control) -> None:
    async def work() -> None:
        await control.adopt(a="{use: ./d.py:Good}", b=control.waits("b", ", first_wait: 0"))
        old, = control.discoveries.processes
        snapshot = control.snapshot(a="{use: ./d.py:Good, address: '10.0.0.2:80'}",
                                    b=control.waits("b", ", first_wait: 0"))
        found = await control.discoveries.prepare(snapshot)
        assert control.addresses(found) == {"a": ["10.0.0.2:80"]} and len(control.discoveries.processes) == 2
        control.tell("b", "10.0.0.5:80")
        await until(lambda: control.applied)            # of the old one, which is live
        assert control.applied == [{"b": ["10.0.0.5:80"]}]
        control.discoveries.settle(snapshot)
        snapshot.close()
        await until(lambda: not old.is_alive)
        assert old.how_it_ended() == "exit status 0" and control.discoveries.restarts == 0
    run(control, work)


def test_the_same_policies_keep_their_host(control: Control) -> None:
    async def work() -> None:
        await control.adopt(a="{use: ./d.py:Good}")
        before = control.discoveries.processes
        assert await control.adopt(a="{use: ./d.py:Good}", b="[]") == {}
        assert await control.adopt(a="{use: ./d.py:Good, debounce: 1s, first_wait: 1s}") == {}
        assert control.discoveries.processes == before
        assert await control.adopt(a="['10.0.0.1:80']") == {}
        await until(lambda: control.discoveries.processes == [])
        assert control.discoveries.findings == {} and control.discoveries.restarts == 0
    run(control, work)


def test_what_was_prepared_and_is_dropped_is_gone(control: Control) -> None:
    async def work() -> None:
        await control.adopt(a="{use: ./d.py:Good}")
        before = control.discoveries.processes
        await control.discoveries.prepare(control.snapshot(a="{use: ./d.py:Good, address: '10.0.0.2:80'}"))
        control.discoveries.drop()
        await until(lambda: control.discoveries.processes == before)
        task = asyncio.create_task(control.discoveries.prepare(control.snapshot(a=control.waits("never"))))
        await until(lambda: len(control.discoveries.processes) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: control.discoveries.processes == before)
    run(control, work)


def test_sets_that_were_not_taken_are_tried_again(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr(discovery, "RETRY_SECONDS", 0.02)
        await control.adopt(a=control.waits("a", ", first_wait: 0"))
        taken: list[Any] = []

        async def refuse() -> None:
            taken.append(control.discoveries.take())
            if len(taken) == 1:
                control.discoveries.put_back(taken[0], "worker 0 refused the snapshot")

        monkeypatch.setattr(control.discoveries, "_apply", refuse)
        control.tell("a", "10.0.0.1:80")
        await until(lambda: len(taken) == 2)
        assert taken[0] == taken[1] and "worker 0 refused the snapshot; it is tried again" in control.said
    run(control, work)


def test_a_set_that_is_too_large_is_not_read(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr(discovery_host, "SET_MOST", 20)
        control.tell("a", "10.0.0.1:80 10.0.0.2:80")
        assert await control.adopt(a=control.waits("a", ", first_wait: 500ms")) == {}
        assert control.discoveries.findings["a"].errors["refused"] == 1
        assert re.search(r"a set of \d\d bytes: at most", control.said)
    run(control, work)
