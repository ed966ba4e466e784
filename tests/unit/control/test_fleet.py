"""What happens to a snapshot that a worker refuses, dies of, or does not answer to. The workers are fakes."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from fastmesh.control import worker_process
from fastmesh.control.fleet import Fleet, PushRefused
from fastmesh.control.process import package_paths
from fastmesh.control.slot import Ground
from fastmesh.control.snapshot import ListenerSpec, ProcessSpec, Snapshot, sealed
from fastmesh.control.sockets import SocketShelf
from fastmesh.control.worker_process import WorkerFailed
from fastmesh.observe.journal import Journal
from fastmesh.observe.stats import StatsShelf

HERE = Path(__file__).parent


def spec(port: int, listener_id: int = 0) -> ListenerSpec:
    return ListenerSpec(listener_id, f"l{listener_id}", {
        "family": 4, "host": "127.0.0.1", "port": port, "path": "", "text": f"127.0.0.1:{port}"},
        "http", "outbound", 16)


def snapshot_of(version: int, *listeners: ListenerSpec, workers: int = 3, **wish: Any) -> Snapshot:
    content = json.dumps({"listeners": [one.id for one in listeners], **wish}).encode()
    process = ProcessSpec(workers, "auto", None, 1000, 1000, 10_000, 0, None)
    return Snapshot(version, len(content), sealed("test", content), listeners, process, {}, {}, {}, (), b"", b"{}",
                    b"\x90", 0.0)


def some_ports(count: int) -> list[int]:
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():      # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Yard:
    """A fleet of fake workers, and what it said."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        paths = [*package_paths("fastmesh", "msgpack"), str(HERE)]
        self.ground = Ground(Journal(self.fd), SocketShelf(), StatsShelf(), paths, lambda: None, entry="fake_worker")
        self.fleet = Fleet(self.ground)

    async def start(self, snapshot: Snapshot) -> None:
        await self.fleet.start(snapshot, self.ground.sockets.prepare(snapshot.listeners, snapshot.process.workers))

    async def push(self, snapshot: Snapshot) -> None:
        slots = max(len(self.fleet.slots), snapshot.process.workers)
        change = self.ground.sockets.prepare(snapshot.listeners, slots)
        try:
            await self.fleet.push(snapshot, change)
        except PushRefused:
            change.cancel()
            raise
        self.fleet.adopt(snapshot, change)

    @property
    def versions(self) -> list[int]:
        return [slot.current.version if slot.current else 0 for slot in self.fleet.slots]

    async def all_serve(self, version: int) -> None:
        await until(lambda: self.versions == [version] * len(self.fleet.slots))


def in_yard(tmp_path: Path, test: Callable[[Yard], Awaitable[None]]) -> str:
    """Run a test with a fleet, then drain it. Returns what the fleet said."""
    async def whole() -> None:
        yard = Yard(tmp_path / "log")
        try:
            await test(yard)
        finally:
            await yard.fleet.drain(500, 100)
            assert yard.fleet.processes == []
            os.close(yard.fd)

    uvloop.run(whole())
    return (tmp_path / "log").read_text()


def test_a_snapshot_reaches_all(tmp_path: Path) -> None:
    async def test(yard: Yard) -> None:
        a, b = some_ports(2)
        await yard.start(snapshot_of(1, spec(a)))
        await yard.push(snapshot_of(2, spec(a), spec(b, 1)))
        assert yard.versions == [2, 2, 2]
        assert set(yard.ground.sockets.bound) == {f"127.0.0.1:{a}", f"127.0.0.1:{b}"}
        await yard.push(snapshot_of(3, spec(b, 1)))
        assert set(yard.ground.sockets.bound) == {f"127.0.0.1:{b}"}

    in_yard(tmp_path, test)


def test_what_is_for_filters_comes_along_and_events_come_back(tmp_path: Path) -> None:
    async def test(yard: Yard) -> None:
        (port,) = some_ports(1)
        plain = snapshot_of(1, spec(port), workers=2)
        both = os.pread(plain.fd, plain.size, 0) + "for fîlters".encode()
        plain.close()
        await yard.start(replace(plain, fd=sealed("test", both), filters_size=len(both) - plain.size))
        await until(lambda: len(list(yard.ground.events)) == 2)
        assert sorted((event["worker"], event["filter"], event["text"]) for event in yard.ground.events) == [
            (0, "f", "for fîlters"), (1, "f", "for fîlters")]

    assert "info  filter f: for fîlters" in in_yard(tmp_path, test)


def test_the_first_worker_refuses_and_the_others_never_see_it(tmp_path: Path) -> None:
    async def test(yard: Yard) -> None:
        a, b = some_ports(2)
        await yard.start(snapshot_of(1, spec(a)))
        with pytest.raises(PushRefused, match="worker 0 refused the snapshot: slot 0 does not like it"):
            await yard.push(snapshot_of(2, spec(a), spec(b, 1), refuse=[0], die=[1, 2]))
        assert yard.versions == [1, 1, 1]
        assert set(yard.ground.sockets.bound) == {f"127.0.0.1:{a}"}
        with socket.socket() as free:       # the address of the refused listener is nobody's
            free.bind(("127.0.0.1", b))

    in_yard(tmp_path, test)


def test_a_later_worker_refuses_and_all_get_the_previous_one(tmp_path: Path) -> None:
    async def test(yard: Yard) -> None:
        a, b = some_ports(2)
        await yard.start(snapshot_of(1, spec(a)))
        with pytest.raises(PushRefused, match="worker 2 refused the snapshot"):
            await yard.push(snapshot_of(2, spec(b, 1), refuse=[2]))
        assert yard.versions == [1, 1, 1]
        await yard.push(snapshot_of(3, spec(a)))
        assert yard.versions == [3, 3, 3]

    in_yard(tmp_path, test)


def test_a_listener_that_was_to_go_stays_when_the_snapshot_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "l.sock")
    unix = ListenerSpec(1, "u", {"family": 1, "host": "", "port": 0, "path": path, "text": f"unix:{path}"}, "http",
                        "outbound", 16)

    async def test(yard: Yard) -> None:
        a, b = some_ports(2)
        await yard.start(snapshot_of(1, spec(a), unix))
        with pytest.raises(PushRefused):
            await yard.push(snapshot_of(2, spec(b, 2), refuse=[2]))
        socket.create_connection(("127.0.0.1", a), timeout=5).close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        await yard.push(snapshot_of(3, spec(a)))
        assert list(tmp_path.glob("l.sock*")) == []

    in_yard(tmp_path, test)


def test_a_snapshot_that_kills_meets_one_worker_only(tmp_path: Path) -> None:
    async def test(yard: Yard) -> None:
        a, = some_ports(1)
        await yard.start(snapshot_of(1, spec(a)))
        pids = [w.pid for w in yard.fleet.processes]
        with pytest.raises(PushRefused, match="worker 0 died: exit status 7"):
            await yard.push(snapshot_of(2, spec(a), die=[0, 1, 2]))
        await yard.all_serve(1)
        assert [w.pid for w in yard.fleet.processes][1:] == pids[1:]

    assert "worker 0 died" in in_yard(tmp_path, test)


def test_a_worker_that_does_not_answer_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "ACK_SECONDS", 0.2)

    async def test(yard: Yard) -> None:
        a, = some_ports(1)
        await yard.start(snapshot_of(1, spec(a)))
        with pytest.raises(PushRefused, match=r"did not take snapshot 2 within 0\.2 s"):
            await yard.push(snapshot_of(2, spec(a), hang=[0]))
        await yard.all_serve(1)

    in_yard(tmp_path, test)


def test_a_worker_that_hangs_in_its_start_is_ended_and_another_is_tried(tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(yard: Yard) -> None:
        a, = some_ports(1)
        await yard.start(snapshot_of(1, spec(a), workers=1))
        worker = yard.fleet.slots[0].current
        assert worker is not None
        yard.ground.entry = "mute_worker"
        monkeypatch.setattr(worker_process, "HELLO_SECONDS", 0.3)
        worker.kill()
        await until(lambda: yard.ground.hangs == 1)
        yard.ground.entry = "fake_worker"
        monkeypatch.undo()
        await yard.all_serve(1)

    assert "worker 0 could not be started: said nothing for 0.3 s after its start" in in_yard(tmp_path, test)


def test_a_slot_goes_on_without_a_worker_that_cannot_be_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel holds it, in a call that no signal ends: neither its successor nor the end waits for it."""
    monkeypatch.setattr(worker_process, "GIVE_UP_SECONDS", 0.1)
    stuck: list[worker_process.WorkerProcess] = []

    async def test(yard: Yard) -> None:
        a, = some_ports(1)
        await yard.start(snapshot_of(1, spec(a), workers=1))
        worker = yard.fleet.slots[0].current
        assert worker is not None
        stuck.append(worker)
        monkeypatch.setattr(worker._child, "kill", lambda number=9: None)
        worker.kill()
        await until(lambda: yard.fleet.slots[0].current not in (None, worker))
        await yard.all_serve(1)
        assert worker.is_alive
        assert worker not in yard.fleet.processes
        # Its memory is not given to another while it may still write there.
        assert len(yard.ground.stats.files) == 2
        monkeypatch.undo()
        worker.kill()
        await until(lambda: not worker.is_alive)
        assert not worker.stats.is_taken
        assert yard.ground.restarts == 1

    said = in_yard(tmp_path, test)
    assert said.count(f"worker 0 does not die of SIGKILL (pid {stuck[0].pid})") == 1


def test_one_that_dies_after_another_took_it_is_no_reason_to_refuse(tmp_path: Path) -> None:
    """Somebody kills a worker while a reload is under way: the successor gets what is live."""
    async def test(yard: Yard) -> None:
        a, = some_ports(1)
        await yard.start(snapshot_of(1, spec(a)))
        victim = yard.fleet.slots[2].current
        assert victim is not None
        os.kill(victim.pid, signal.SIGSTOP)
        push = asyncio.create_task(yard.push(snapshot_of(2, spec(a))))
        await until(lambda: yard.versions[:2] == [2, 2])
        victim.kill()
        await push
        await yard.all_serve(2)

    in_yard(tmp_path, test)


def test_the_first_snapshot_is_refused(tmp_path: Path) -> None:
    async def test(yard: Yard) -> None:
        a, = some_ports(1)
        with pytest.raises(WorkerFailed, match="worker 1 refused the snapshot: slot 1"):
            await yard.start(snapshot_of(1, spec(a), refuse=[1]))

    in_yard(tmp_path, test)


def test_more_and_fewer_workers(tmp_path: Path) -> None:
    async def test(yard: Yard) -> None:
        a, = some_ports(1)
        await yard.start(snapshot_of(1, spec(a), workers=1))
        await yard.push(snapshot_of(2, spec(a), workers=3))
        await yard.all_serve(2)
        assert len(yard.ground.sockets.bound[f"127.0.0.1:{a}"].sockets) == 3
        leaving = yard.fleet.processes[1:]
        await yard.push(snapshot_of(3, spec(a), workers=1))
        assert yard.versions == [3]
        async with asyncio.timeout(5):
            await asyncio.gather(*(worker.death for worker in leaving))
        # Grown again at once: the sockets of leaving slots are taken up again, or opened anew.
        await yard.push(snapshot_of(4, spec(a), workers=2))
        await yard.all_serve(4)
        assert yard.ground.restarts == 0
        assert len(yard.ground.sockets.bound[f"127.0.0.1:{a}"].sockets) == 2

    in_yard(tmp_path, test)


def test_a_replacement_that_does_not_come_up_leaves_the_old_one(tmp_path: Path) -> None:
    async def test(yard: Yard) -> None:
        a, = some_ports(1)
        first = snapshot_of(1, spec(a))
        await yard.start(first)
        old = yard.fleet.slots[1].current
        yard.ground.entry = "no_such_module"
        with pytest.raises(WorkerFailed, match="died: exit status 1"):
            await yard.fleet.replace(1)
        assert yard.fleet.slots[1].current is old
        assert old is not None
        assert old.is_serving
        yard.ground.entry = "fake_worker"
        fresh = await yard.fleet.replace(1)
        assert fresh is yard.fleet.slots[1].current
        async with asyncio.timeout(5):
            await old.death
        # While both lived each had memory of its own; the old one's is kept for the next.
        assert len(yard.ground.stats.files) == 4
        assert sum(file.is_taken for file in yard.ground.stats.files) == 3

    in_yard(tmp_path, test)


def test_death_without_end_is_slowed_down_not_given_up(tmp_path: Path) -> None:
    async def test(yard: Yard) -> None:
        a, = some_ports(1)
        await yard.start(snapshot_of(1, spec(a), workers=1))
        yard.ground.entry = "no_such_module"
        worker = yard.fleet.slots[0].current
        assert worker is not None
        worker.kill()
        await until(lambda: yard.log.read_text().count("could not be started") >= 3)
        yard.ground.entry = "fake_worker"
        await yard.all_serve(1)
        assert yard.ground.restarts == 1

    said = in_yard(tmp_path, test)
    assert "the next one starts now" in said
    assert "the next attempt is in 0.1 s" in said
    assert "the next attempt is in 0.4 s" in said
