"""Which checks are made when, and what a reload keeps: the real loop, real sockets, snapshots as control has them."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from time import monotonic
from typing import Any

import msgpack
import pytest
import uvloop

from fastmesh._core.lb.verdict import BAD, GOOD, NOT_YET, Verdicts
from fastmesh._core.mem.health import ENDPOINT_COLUMNS, LAYOUT
from fastmesh.control.checkup import HEALTHY, UNCHECKED, UNHEALTHY, Verdict
from fastmesh.control.health_checks import HealthChecks
from fastmesh.control.snapshot import ProcessSpec, Snapshot
from fastmesh.observe.health import HealthFile
from fastmesh.observe.journal import Journal

RECORD = {"http": None, "tcp": [b"", b""], "port": 0, "addresses": {}, "timeout": 5.0, "interval": 0.05,
          "unhealthy_interval": 0.05, "edge_interval": 0.01, "jitter": 0.0, "healthy": 2, "unhealthy": 2,
          "keep_alive": False, "end_ejection": True}


class Servers:
    """Ports that accept, and count."""

    def __init__(self) -> None:
        self.made: list[asyncio.Server] = []
        self.count = 0
        self.open = 0
        self.most_open = 0

    async def make(self, status: int | None = None) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.count += 1
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                if status is not None:
                    await reader.readuntil(b"\r\n\r\n")
                    await asyncio.sleep(0.005)
                    writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status)
                else:
                    await reader.read()
            self.open -= 1
        self.made.append(await asyncio.start_server(handle, "127.0.0.1", 0))
        return f"127.0.0.1:{self.made[-1].sockets[0].getsockname()[1]}"


class Scene:
    def __init__(self) -> None:
        self.file = HealthFile()
        self.told: list[tuple[str, str, Verdict]] = []
        self.servers = Servers()
        journal = Journal()
        self.checks = HealthChecks(self.file.fd, journal, lambda *what: self.told.append(what))
        self.rows = Verdicts(self.file.fd)

    def snapshot(self, addresses: list[str], most: int = 256, name: str = "app", is_checked: bool = True,
                 **more: object) -> Snapshot:
        cluster: dict[str, Any] = {"id": 0, "name": name, "endpoints": [
            {"row": i, "address": address, "weight": 1} for i, address in enumerate(addresses)]}
        if is_checked:
            cluster["checks"] = {**RECORD, **more}
        return Snapshot(1, 0, -1, (), ProcessSpec(1, "auto", None, 0, 0, 0, 0, None, most), {}, {}, {}, (), b"", b"",
                        msgpack.packb([cluster]), 0.0)

    async def until(self, condition: Callable[[], object]) -> None:
        end = monotonic() + 20
        while not condition():
            assert monotonic() < end
            await asyncio.sleep(0.002)

    def kinds(self) -> list[str]:
        return [verdict.kind for _, _, verdict in self.told]


@contextlib.asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    try:
        yield made
    finally:
        made.checks.end()
        for server in made.servers.made:
            server.close()
        # Those that answer a check which nobody waits for any more: a loop that ends under them stays half open.
        answering = asyncio.all_tasks() - {asyncio.current_task()}
        if answering:
            _, late = await asyncio.wait(answering, timeout=20)
            assert not late
        assert made.checks.running == 0
        made.file.close()


def run(main: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with scene() as made:
            await main(made)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


@pytest.fixture(scope="module")
def dead() -> str:
    """Nobody listens there."""
    return "127.0.0.1:1"


def test_a_start_knows_before_it_begins(dead: str) -> None:
    async def main(s: Scene) -> None:
        good = await s.servers.make()
        await s.checks.prepare(s.snapshot([good, dead]), None)
        assert s.rows.said(0) == GOOD
        s.checks.settle()
        await s.until(lambda: s.rows.said(1) == BAD)
        assert s.kinds() == ["check_failed", "unhealthy"]
        assert s.checks.states() == {"app": {HEALTHY: 1, UNHEALTHY: 1, UNCHECKED: 0}}
        assert s.checks.results["app"]["connect"] >= 2
    run(main)


def test_no_more_at_once_than_may_be() -> None:
    async def main(s: Scene) -> None:
        addresses = [await s.servers.make(200) for _ in range(60)]
        http = ["GET", "/", "", [], [[200, 299]], [], b""]
        await s.checks.prepare(s.snapshot(addresses, most=7, http=http, tcp=None, interval=60.0), None)
        assert [s.rows.said(row) for row in range(60)] == [GOOD] * 60
        assert s.servers.most_open <= 7 + 1      # the server notices later that one has gone
        assert s.checks.delayed > 0
    run(main)


def test_an_endpoint_that_stays_keeps_what_is_known_and_its_place_in_time() -> None:
    async def main(s: Scene) -> None:
        one, two = await s.servers.make(), await s.servers.make()
        await s.checks.prepare(s.snapshot([one], interval=60.0), None)
        s.checks.settle()
        known = s.checks.of("app", one)
        assert s.servers.count == 1
        await s.checks.prepare(s.snapshot([one, two], interval=60.0), None)
        s.checks.settle()
        assert s.checks.of("app", one) is known
        await s.until(lambda: s.rows.said(1) == GOOD)
        assert s.servers.count == 2
    run(main)


def test_another_check_begins_anew_and_the_state_stays(dead: str) -> None:
    async def main(s: Scene) -> None:
        good = await s.servers.make()
        await s.checks.prepare(s.snapshot([good, dead]), None)
        s.checks.settle()
        await s.until(lambda: s.rows.said(1) == BAD)
        known = s.checks.of("app", good)
        await s.checks.prepare(s.snapshot([good, dead], interval=60.0), None)
        assert s.checks.of("app", good) is known
        s.checks.settle()
        fresh = s.checks.of("app", good)
        assert fresh is not known and known is not None and known.is_gone
        assert fresh is not None and (fresh.state, fresh.made) == (HEALTHY, 0)
        assert (s.rows.said(0), s.rows.said(1)) == (GOOD, BAD)
        await s.until(lambda: fresh.made == 1)
    run(main)


def test_who_served_before_there_were_checks_goes_on(dead: str) -> None:
    async def main(s: Scene) -> None:
        before = s.snapshot([dead], is_checked=False)
        await s.checks.prepare(before, None)
        s.checks.settle()
        await s.checks.prepare(s.snapshot([dead, "127.0.0.1:2"], interval=60.0, edge_interval=60.0), before)
        assert (s.rows.said(0), s.rows.said(1)) == (GOOD, NOT_YET)
        s.checks.settle()
        await s.until(lambda: s.kinds().count("check_failed") == 2)
        assert (s.rows.said(0), s.rows.said(1)) == (GOOD, NOT_YET)
    run(main)


def test_what_is_refused_is_forgotten() -> None:
    async def main(s: Scene) -> None:
        good, other = await s.servers.make(), await s.servers.make()
        await s.checks.prepare(s.snapshot([good]), None)
        s.checks.settle()
        await s.checks.prepare(s.snapshot([other], name="other"), None)
        s.checks.drop()
        assert s.checks.of("other", other) is None
        count = s.servers.count
        known = s.checks.of("app", good)
        assert known is not None
        made = known.made
        await s.until(lambda: known.made >= made + 2)
        assert s.servers.count - count <= known.made - made + 1     # the other one is not asked any more
        await s.checks.prepare(s.snapshot([], is_checked=False), None)
        s.checks.settle()
        assert known.is_gone and s.checks.states() == {} and s.checks.results == {}
    run(main)


def test_endpoints_that_come_by_discovery_hold_nobody_up() -> None:
    async def main(s: Scene) -> None:
        good = await s.servers.make()
        begun = s.servers.count
        await s.checks.prepare(s.snapshot([good]), None, is_waiting=False)
        assert (s.rows.said(0), s.servers.count) == (NOT_YET, begun)
        s.checks.settle()
        await s.until(lambda: s.rows.said(0) == GOOD)
    run(main)


def test_checks_that_pass_end_an_ejection() -> None:
    """Those that began after it; the one that was under way says nothing."""
    async def main(s: Scene) -> None:
        good = await s.servers.make()
        await s.checks.prepare(s.snapshot([good]), None)
        s.checks.settle()

        def write(column: str, value: int) -> None:
            os.pwrite(s.file.fd, value.to_bytes(8, "little"), LAYOUT["endpoints"] + 8 * ENDPOINT_COLUMNS.index(column))
        known = s.checks.of("app", good)
        assert known is not None
        now = int(monotonic() * 1e9)
        write("since_ns", now)
        write("until_ns", now + 3600 * 10**9)
        made = known.made
        await s.until(lambda: s.rows.ejected_at(0) == 0)
        assert known.made >= made + 2
        assert [change.kind for change in s.file.changes()] == ["recovered"]
    run(main)


def test_unless_that_is_switched_off() -> None:
    async def main(s: Scene) -> None:
        good = await s.servers.make()
        await s.checks.prepare(s.snapshot([good], end_ejection=False), None)
        s.checks.settle()
        os.pwrite(s.file.fd, (1 << 62).to_bytes(8, "little"),
                  LAYOUT["endpoints"] + 8 * ENDPOINT_COLUMNS.index("until_ns"))
        known = s.checks.of("app", good)
        assert known is not None
        await s.until(lambda: known.made >= 6)
        assert s.file.endpoint(0)["until_ns"] == 1 << 62
    run(main)


@pytest.mark.parametrize("jump", [86_400.0, -3_600.0], ids=["a day on", "an hour back"])
def test_checks_go_on_when_the_clock_jumps(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """All are due at once at most, and no more are made at once than may be; then each has its interval again."""
    async def main(s: Scene) -> None:
        addresses = [await s.servers.make(200) for _ in range(20)]
        http = ["GET", "/", "", [], [[200, 299]], [], b""]
        await s.checks.prepare(s.snapshot(addresses, most=5, http=http, tcp=None, interval=0.2), None)
        s.checks.settle()
        monkeypatch.setattr("fastmesh.control.health_checks.monotonic", lambda: monotonic() + jump)
        before = {address: s.checks.of("app", address).made for address in addresses}   # type: ignore[union-attr]
        await s.until(lambda: all(s.checks.of("app", address).made >= before[address] + 3   # type: ignore[union-attr]
                                  for address in addresses))
        assert s.servers.most_open <= 5 + 1 and s.checks.states()["app"][HEALTHY] == 20
        made = [s.checks.of("app", address).made - before[address] for address in addresses]    # type: ignore[union-attr]
        assert max(made) <= min(made) + 3, made
    run(main)
