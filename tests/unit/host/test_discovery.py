"""A policy in its host: whatever it does, it is begun again, and only good sets leave."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from fastmesh import Discovery
from fastmesh.host import discovery
from fastmesh.host.discovery import Policy


class Watched:
    """One policy, what it has found, and what was said about it."""

    def __init__(self, cls: type[Discovery], monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
        monkeypatch.setattr(discovery, "FIRST_SECONDS", 0.01)
        monkeypatch.setattr(discovery, "PAUSE_SECONDS", 0.001)
        self.sets: list[list[str]] = []
        self.problems: list[tuple[str, str, float]] = []
        self.pulse = memoryview(bytearray(64)).cast("Q")
        self.instance = cls()
        spec = {"max_silence": 0.0, "allow_empty": False, **more}
        self.policy = Policy(self.instance, spec, 4, self.pulse, self.found,
                             lambda *problem: self.problems.append(problem))

    def found(self, packed: bytes, count: int) -> None:
        self.sets.append([address for address, _ in msgpack.unpackb(packed)])
        assert count == len(self.sets[-1])

    def until(self, condition: Callable[[], Any]) -> None:
        async def work() -> None:
            task = asyncio.get_running_loop().create_task(self.policy.run())
            async with asyncio.timeout(10):
                while not condition():      # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            self.policy.is_over = True
            while not task.done():      # one of them does not want to hear it
                task.cancel()
                await asyncio.wait([task], timeout=0.05)
        asyncio.run(work())

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.problems]


def test_sets_leave_as_they_are_yielded(monkeypatch):
    class Two(Discovery):
        async def endpoints(self):
            yield ["10.0.0.2:80", "10.0.0.1:80"]
            yield ["10.0.0.3:80"]
            await asyncio.sleep(60)

    watched = Watched(Two, monkeypatch)
    watched.until(lambda: len(watched.sets) == 2)
    assert watched.sets == [["10.0.0.2:80", "10.0.0.1:80"], ["10.0.0.3:80"]] and watched.problems == []


@pytest.mark.parametrize(("error", "said"), [
    (KeyError("x"), "KeyError: 'x'"), (SystemExit(3), "SystemExit: 3"), (KeyboardInterrupt(), "KeyboardInterrupt"),
    (TimeoutError("late"), "TimeoutError: late"), (asyncio.CancelledError(), "CancelledError"),
    (GeneratorExit(), "GeneratorExit"), (StopAsyncIteration(), "RuntimeError"), (RecursionError(), "RecursionError")])
def test_one_that_raises_is_begun_again(monkeypatch, error, said):
    class Raises(Discovery):
        async def endpoints(self):
            await asyncio.sleep(0)
            yield ["10.0.0.1:80"]
            raise error

    watched = Watched(Raises, monkeypatch)
    watched.until(lambda: len(watched.problems) == 3)
    assert watched.kinds == ["raised"] * 3 and all(said in text for _, text, _ in watched.problems)
    assert "test_discovery.py" in watched.problems[0][1]
    assert [wait for _, _, wait in watched.problems] == [0.01, 0.02, 0.04]
    assert len(watched.sets) >= 3


def test_one_that_ends_is_begun_again(monkeypatch):
    class Ends(Discovery):
        async def endpoints(self):
            yield ["10.0.0.1:80"]

    watched = Watched(Ends, monkeypatch)
    watched.until(lambda: len(watched.problems) == 2)
    assert watched.kinds == ["ended"] * 2 and "Ends.endpoints has ended" in watched.problems[0][1]


def test_one_that_cannot_even_begin(monkeypatch):
    class Never(Discovery):
        def endpoints(self):
            raise LookupError("no registry")

    watched = Watched(Never, monkeypatch)
    watched.until(lambda: watched.problems)
    assert "no registry" in watched.problems[0][1]


def test_one_that_is_silent_is_cancelled(monkeypatch):
    class Silent(Discovery):
        closed = 0

        async def endpoints(self):
            try:
                yield ["10.0.0.1:80"]
                await asyncio.sleep(60)
            finally:
                Silent.closed += 1

    watched = Watched(Silent, monkeypatch, max_silence=0.05)
    watched.until(lambda: len(watched.problems) == 2)
    assert watched.kinds == ["silent"] * 2 and "it has yielded nothing for 0.05 s" in watched.problems[0][1]
    assert Silent.closed >= 2


def test_one_that_does_not_let_itself_be_cancelled_ends_the_process(monkeypatch):
    class Stubborn(Discovery):
        async def endpoints(self):
            yield ["10.0.0.1:80"]
            while True:
                try:
                    await asyncio.sleep(0.01)
                    if done:
                        return
                except asyncio.CancelledError:
                    pass

    done: list[int] = []
    monkeypatch.setattr(discovery, "GIVE_UP_SECONDS", 0.05)
    monkeypatch.setattr(discovery.os, "_exit", done.append)
    watched = Watched(Stubborn, monkeypatch, max_silence=0.05)
    watched.until(lambda: done)
    assert done == [1] and "the discovery host is started anew" in watched.problems[0][1]


def test_sets_that_cannot_be_used_do_not_leave(monkeypatch):
    class Wrong(Discovery):
        async def endpoints(self):
            for yielded in (None, ["app:80"], ["10.0.0.1:80"] * 2, [], ["10.0.0.1:80"], iter(())):
                yield yielded
            await asyncio.sleep(60)

    watched = Watched(Wrong, monkeypatch)
    watched.until(lambda: len(watched.problems) == 5)
    assert watched.kinds == ["refused", "refused", "refused", "empty", "refused"] and watched.sets == [["10.0.0.1:80"]]
    assert all(wait == 0 for _, _, wait in watched.problems)
    assert "Wrong yielded a set that cannot be used: endpoint 1 of 1: found the host" in watched.problems[1][1]
    assert "allow_empty: true" in watched.problems[3][1]


def test_an_empty_set_where_it_is_allowed(monkeypatch):
    class Empty(Discovery):
        async def endpoints(self):
            yield []
            await asyncio.sleep(60)

    watched = Watched(Empty, monkeypatch, allow_empty=True)
    watched.until(lambda: watched.sets)
    assert watched.sets == [[]] and watched.problems == []


def test_one_that_never_awaits_leaves_the_loop_to_others(monkeypatch):
    class Busy(Discovery):
        async def endpoints(self):
            while True:
                yield ["10.0.0.1:80"]

    watched = Watched(Busy, monkeypatch)
    watched.until(lambda: len(watched.sets) >= 3)


def test_the_page_says_who_runs(monkeypatch):
    seen = []

    class Looks(Discovery):
        async def endpoints(self):
            seen.append(watched.pulse[1])
            await asyncio.sleep(0)
            seen.append(watched.pulse[1])
            yield ["10.0.0.1:80"]
            await asyncio.sleep(60)

    watched = Watched(Looks, monkeypatch)
    watched.until(lambda: watched.sets)
    assert seen == [5, 5] and watched.pulse[1] == 0


def test_what_it_holds_is_given_back_at_the_end(monkeypatch):
    class Holds(Discovery):
        held = 0

        async def endpoints(self):
            Holds.held += 1
            try:
                yield ["10.0.0.1:80"]
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0)
                Holds.held -= 1

    watched = Watched(Holds, monkeypatch)
    watched.until(lambda: watched.sets)
    assert Holds.held == 0
