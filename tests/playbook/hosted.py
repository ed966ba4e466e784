"""A play whose filters are isolated: in place of each stands a stand-in, and the host is here, without a process."""

import asyncio
from collections.abc import Callable
from typing import Any

from playbook.play import Play

from fastmesh._core.filter.chain import PHASES
from fastmesh._core.hosted.exchange import Hosted
from fastmesh.filters.filter import Filter
from fastmesh.host.calls import Calls
from fastmesh.worker.isolated import Host, StandIn

ROUNDS_MOST = 2000


class Wire:
    """A line without a socket: what is said lies here until `HostedPlay.settle` carries it over."""

    def __init__(self, receive: Callable[[bytes], None], lost: Callable[[str], None],
                 settled: Callable[[], None]) -> None:
        self.receive, self.lost, self.settled = receive, lost, settled
        self.is_open = True
        self.is_full = False
        self.said: list[bytes] = []
        self.is_later = False

    def open(self) -> None:
        raise AssertionError("it is open")

    def send(self, data: bytes, is_owed: bool = False) -> bool:
        if not self.is_open or self.is_full:
            return False
        self.said.append(data)
        return True

    def later(self) -> None:
        self.is_later = True

    def close(self) -> None:
        self.is_open = False


class HostedPlay(Play):
    def __init__(self, manners: str) -> None:
        self.loop = asyncio.new_event_loop()
        super().__init__(manners)
        self.nonsense: list[str] = []
        self.host = Host(1, -1, self.nonsense.append)
        self.host.keeps = True
        self.host.connect(self.make_wire)
        self.hosted: list[Hosted] = []
        self.answers: list[bytes] = []
        self.calls = self.loop.run_until_complete(self.make_calls())

    def make_wire(self, *answers: Any) -> Any:
        self.wire = Wire(*answers)
        return self.wire

    async def make_calls(self) -> Calls:
        return Calls(self.hosted, self.answers.append)

    def filter(self, made: Any, **settings: Any) -> "Play":
        phases = [name for name in dir(made)
                  if name in PHASES and getattr(type(made), name, None) is not getattr(Filter, name, None)]
        self.hosted.append(Hosted(made, phases, 1e9))
        stand_in = StandIn(self.host, len(self.hosted) - 1, type(made).__name__, phases)
        settings.setdefault("changes_body", made.changes_body)
        settings.setdefault("is_late", True)
        super().filter(Only(stand_in), **settings)
        stand_in.slot = self.slots[-1]
        return self

    def settle(self) -> None:
        if self.is_batching or self.worker is None:
            return
        for _ in range(ROUNDS_MOST):
            super().settle()
            self.loop.run_until_complete(self.pump())
            said, self.wire.said = self.wire.said, []
            if self.wire.is_later:
                self.wire.is_later = False
                self.wire.settled()
            answers = b"".join(self.answers)
            self.answers.clear()
            if answers and self.wire.is_open:
                self.wire.receive(answers)
            for data in said:
                self.loop.run_until_complete(self.take(data))
            if not (said or answers or self.wire.said or self.answers or self.stage.is_busy):
                return
        self.fail("worker and host talk without end")

    async def take(self, message: bytes) -> None:
        self.calls.take(message)

    async def pump(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    def abandon(self) -> None:
        super().abandon()
        self.hosted.clear()     # what filters have caught holds heads

    def shut(self) -> None:
        """The loop's own end."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(self.pump())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


class Only:
    """A stand-in as `Play.filter` looks at filters: with the phases that it has, and no others."""

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self.changes_body = True
        for name, method in stand_in.phases.items():
            setattr(self, name, method)

    def __dir__(self) -> list[str]:
        return list(self.stand_in.phases)
