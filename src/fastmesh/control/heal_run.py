"""A healing policy that is told of one event, in a process of its own, as control knows it."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable, Sequence

from fastmesh.control.checkup import Verdict
from fastmesh.control.host import ENTRY, LINE_FD
from fastmesh.control.process import Child, line_pair
from fastmesh.control.snapshot import Snapshot
from fastmesh.observe.health import Change
from fastmesh.worker.packet import arrived

POLICIES_FD = 5
MODULE = "fastmesh.host.heal"


class HealRun:
    """From its start to its death; as Child where a command is meant. `on_death` is called once."""

    def __init__(self, paths: Sequence[str], snapshot: Snapshot, place: int, cluster: str, endpoint: str,
                 change: Change | Verdict, log: Callable[[str, str], None], on_death: Callable[[], None]) -> None:
        """`place`: of its policy in the snapshot; `log` takes a level and a line that it logs. Raises OSError."""
        self.why = ""           # it has failed, in its own words
        self._log = log
        self._on_death = on_death
        self._loop = asyncio.get_running_loop()
        event = json.dumps({
            "kind": change.kind, "cluster": cluster, "endpoint": endpoint, "reason": change.reason, "why": change.why,
            "times": change.times, "seconds": round(change.seconds, 3)})
        at = snapshot.size + snapshot.filters_size + snapshot.discovery_size
        with line_pair() as (ours, theirs):
            self._child = Child.spawn(
                [sys.executable, "-I", "-c", ENTRY.format(MODULE), ":".join(paths), str(at), str(snapshot.heal_size),
                 str(place), event, str(os.getpid())],
                {LINE_FD: theirs.fileno(), POLICIES_FD: snapshot.fd}, self._died, os.environ)
        self._line: socket.socket | None = ours
        self._loop.add_reader(ours.fileno(), self._read)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def status(self) -> int | None:
        return self._child.status

    def kill(self) -> None:
        self._child.kill()

    def how_it_ended(self) -> str:
        return self.why or self._child.how_it_ended()

    def _read(self) -> None:
        for message in arrived(self._line) if self._line is not None else ():
            if message is None:
                self._hang_up()
                return
            text = message.get("text")
            if not isinstance(text, str):
                continue
            if message["op"] == "failed":
                self.why = text
            elif message["op"] == "event":
                self._log(str(message.get("level", "info")), text)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._loop.remove_reader(self._line.fileno())
            self._line.close()
            self._line = None

    def _died(self) -> None:
        self._read()
        self._hang_up()
        self._on_death()
