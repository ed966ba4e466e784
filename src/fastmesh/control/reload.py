"""From a file to what runs: compile, open sockets, hand out, adopt. Nothing changes until everything has worked."""

import asyncio
import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter, time
from typing import Any

from fastmesh.control.compile import CompileFailed, Compiler
from fastmesh.control.compile_process import SNAPSHOT_FD
from fastmesh.control.discovery import Discoveries
from fastmesh.control.discovery_host import FoundSet
from fastmesh.control.fleet import Fleet, PushRefused
from fastmesh.control.health_checks import HealthChecks
from fastmesh.control.host import HostFailed
from fastmesh.control.snapshot import Address, Snapshot, from_answer
from fastmesh.control.sockets import Bound, CannotListen, Change, open_admin
from fastmesh.observe.log_sink import check_log
from fastmesh.snapshot.revise import splice

LEAST_FILES = 100           # below it not even the descriptors of a child process find a number
SPLICE_MOST = 4 << 20       # bytes that control itself goes through: a few milliseconds
MOST_FILES = 1 << 20        # descriptors per process that are asked of the kernel; more costs memory and helps nobody


class BadConfiguration(Exception):
    """The file cannot be used. The text is that of `fastmesh check`, or what the machine refused."""


@dataclass(slots=True)
class Outcome:
    """How a reload went."""

    is_live: bool
    version: int
    ms: float               # until the last worker had it
    compile_ms: float
    warnings: tuple[str, ...] = ()
    text: str = ""          # what is wrong

    def to_dict(self) -> dict[str, object]:
        return {"version": self.version, "ms": round(self.ms, 1), "compile_ms": round(self.compile_ms, 1),
                "warnings": list(self.warnings)}


@dataclass(slots=True)
class ReloadCounts:
    """For metrics."""

    good: int = 0
    bad: int = 0
    last_seconds: float = 0.0       # of the last good one
    last_error: str = ""
    last_error_at: float = 0.0

    def note(self, outcome: Outcome) -> None:
        if outcome.is_live:
            self.good += 1
            self.last_seconds = outcome.ms / 1000
        else:
            self.bad += 1
            self.last_error = outcome.text
            self.last_error_at = time()


@dataclass(slots=True)
class Prepared:
    """Everything that a snapshot needs from the machine, obtained and not yet in use."""

    snapshot: Snapshot
    change: Change
    admin: Bound | None = None          # new sockets of the admin API, when its address changed
    notes: list[str] = field(default_factory=list)

    def cancel(self) -> None:
        self.change.cancel()
        if self.admin is not None:
            self.admin.close()
        self.snapshot.close()


class Configurator:
    """Turns the file into snapshots, one at a time."""

    def __init__(self, path: str, compiler: Compiler, fleet: Fleet, paths: Sequence[str],
                 checks: HealthChecks) -> None:
        """`paths`: where other processes find their packages."""
        self.checks = checks
        self.path = path
        self.compiler = compiler
        self.fleet = fleet
        self.discoveries = Discoveries(paths, fleet.ground.journal, fleet.ground.events, self.update,
                                       fleet.ground.stats.take)
        self.admin: Bound | None = None     # sockets of the admin API now
        self.counts = ReloadCounts()
        self.lock = asyncio.Lock()      # of everything that changes workers: reload, replacement
        # Of the last attempt, whether or not it went well: one that was wrong is put right in the same files.
        self.files: tuple[str, ...] = (path,)
        self._last_version = 0
        self._open_files = raise_open_files()

    async def compile(self) -> Snapshot:
        """A snapshot of the file as it is now. Raises BadConfiguration."""
        live = self.fleet.ground.live
        if self._open_files < LEAST_FILES:
            raise BadConfiguration(f"the limit of open files is {self._open_files}, at least {LEAST_FILES} are needed, "
                                   "and two more for each client connection: raise it (ulimit -n, LimitNOFILE=)")
        try:
            answer = await self.compiler.ask({
                "file": self.path, "version": self._last_version + 1, "open_files": self._open_files,
                "registry": live.registry if live is not None else None,
                "reserve": live.reserve if live is not None else None,
                "former": (SNAPSHOT_FD, live.size) if live is not None else None},
                live.fd if live is not None else -1)
        except CompileFailed as error:
            raise BadConfiguration(str(error)) from None
        self.files = (self.path, *answer.get("files", ()))
        if not answer["ok"]:
            raise BadConfiguration(answer["text"])
        # A version is never used twice: a worker's acknowledgement of one can mean nothing else.
        self._last_version += 1
        if live is not None:
            self.fleet.ground.stats.forget_rows(answer["reused"])
        return from_answer(answer)

    async def discover(self, snapshot: Snapshot) -> tuple[Snapshot, dict[str, FoundSet], dict[str, Any]]:
        """The snapshot with what its policies find, the sets, and what became of them. It takes the place of the one
        that is given. Raises BadConfiguration; then nothing has changed."""
        try:
            found = await self.discoveries.prepare(snapshot)
            if not found:
                return snapshot, {}, {}
            revised, answer = await self._revise(snapshot, snapshot.version, found)
            if revised is not snapshot:
                snapshot.close()
            return revised, found, answer
        except (HostFailed, CompileFailed) as error:
            self.discoveries.drop()
            snapshot.close()
            raise BadConfiguration(f"the discovery host cannot be used: {error}" if isinstance(error, HostFailed) else
                                   str(error)) from None
        except BaseException:
            self.discoveries.drop()
            snapshot.close()
            raise

    async def _revise(self, snapshot: Snapshot, version: int,
                      found: dict[str, FoundSet]) -> tuple[Snapshot, dict[str, Any]]:
        """A snapshot with other endpoints, or the same one when nothing changes. Raises CompileFailed."""
        known = {spec.cluster for spec in snapshot.discoveries}
        request = {
            "version": version, "snapshot": (SNAPSHOT_FD, snapshot.size), "reserve": snapshot.reserve,
            "sets": {cluster: (one.packed, one.may_be_empty) for cluster, one in found.items() if cluster in known}}
        answer = None
        if snapshot.size + len(snapshot.reserve[0]) + sum(len(one.packed) for one in found.values()) <= SPLICE_MOST:
            answer = splice(os.pread(snapshot.fd, snapshot.size, 0), request)
        if answer is None:
            answer = await self.compiler.ask(request, snapshot.fd)
        if not answer["ok"]:
            raise CompileFailed(answer["text"])
        if not answer["changed"]:
            return snapshot, answer
        self.fleet.ground.stats.forget_rows(answer["reused"])
        return snapshot.revised(answer), answer

    async def update(self) -> None:
        """Make live what policies have found. The file is not read: what was changed there waits for a reload."""
        async with self.lock:
            found, live = self.discoveries.take(), self.fleet.ground.live
            if not found or live is None or self.fleet.is_draining:
                return
            try:
                snapshot, answer = await self._revise(live, self._last_version + 1, found)
                if snapshot is not live:
                    self._last_version += 1
                    await self._go_live(snapshot)
                    live.close()
            except (CompileFailed, PushRefused) as error:
                self.discoveries.put_back(found, str(error))
                return
            self.discoveries.note(snapshot, found, answer)

    async def _go_live(self, snapshot: Snapshot) -> None:
        """One that has the listeners of the live one. Raises PushRefused."""
        try:
            change = self.fleet.ground.sockets.prepare(
                snapshot.listeners, max(snapshot.process.workers, len(self.fleet.slots)))
        except CannotListen as error:
            snapshot.close()
            raise PushRefused(str(error)) from None
        try:
            await self.checks.prepare(snapshot, self.fleet.ground.live, is_waiting=False)
            await self.fleet.push(snapshot, change)
        except BaseException:
            self.checks.drop()
            change.cancel()
            snapshot.close()
            raise
        self.fleet.adopt(snapshot, change)
        self.checks.settle()

    def prepare(self, snapshot: Snapshot) -> Prepared:
        """Open what the snapshot needs. Raises BadConfiguration; then nothing has changed."""
        live = self.fleet.ground.live
        problems: list[str] = []
        process = snapshot.process
        if process.access_log is not None and (why := check_log(process.access_log)) is not None:
            problems.append(why)
        admin: Bound | None = None
        if process.admin is not None and (live is None or not _same(live.process.admin, process.admin)):
            try:
                admin = open_admin(process.admin, self.admin)
            except CannotListen as error:
                problems.append(str(error).replace("listener admin:", "admin:"))
        try:
            change = self.fleet.ground.sockets.prepare(snapshot.listeners, max(process.workers, len(self.fleet.slots)))
        except CannotListen as error:
            problems.append(str(error))
            change = None
        if problems or change is None:
            if change is not None:
                change.cancel()
            if admin is not None:
                admin.close()
            snapshot.close()
            raise BadConfiguration("\n".join(problems))
        prepared = Prepared(snapshot, change, admin)
        if live is not None and live.process.reactor != process.reactor:
            prepared.notes.append(f"reactor: workers started from now on use {process.reactor}; "
                                  "replace the running ones with POST /workers/{slot}/replace")
        return prepared

    async def reload(self) -> tuple[Outcome, Prepared | None]:
        """Read the file again. The caller adopts what is new outside the workers."""
        begun = perf_counter()
        live = self.fleet.ground.live
        compiled = begun
        prepared: Prepared | None = None
        try:
            snapshot = await self.compile()
            compiled = perf_counter()
            snapshot, found, answer = await self.discover(snapshot)
            prepared = self.prepare(snapshot)
            await self.checks.prepare(snapshot, live)
            await self.fleet.push(snapshot, prepared.change)
        except (BadConfiguration, PushRefused) as error:
            if prepared is not None:
                prepared.cancel()
            self.discoveries.drop()
            self.checks.drop()
            now = perf_counter()
            outcome = Outcome(False, live.version if live else 0, (now - begun) * 1000, (compiled - begun) * 1000,
                              text=str(error))
            self.counts.note(outcome)
            return outcome, None
        now = perf_counter()
        outcome = Outcome(True, snapshot.version, (now - begun) * 1000, (compiled - begun) * 1000,
                          snapshot.warnings)
        self.fleet.adopt(snapshot, prepared.change)
        if live is not None:
            live.close()
        self.settle(snapshot, found, answer)
        self.counts.note(outcome)
        return outcome, prepared

    def settle(self, snapshot: Snapshot, found: dict[str, FoundSet], answer: dict[str, Any]) -> None:
        """A snapshot from the file is live."""
        self.checks.settle()
        self.discoveries.settle(snapshot)
        if found:
            self.discoveries.note(snapshot, found, answer)


def raise_open_files() -> int:
    """Let workers have as many descriptors as the machine allows; returns how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, MOST_FILES) if hard != resource.RLIM_INFINITY else MOST_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft if soft != resource.RLIM_INFINITY else wanted


def process_use(pid: int) -> tuple[int, float, int]:
    """Resident bytes, CPU seconds and open descriptors of a process; zeros when it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:        # noqa: PTH123  (pathlib is not imported in control)
            memory = int(file.read().split()[1]) * resource.getpagesize()
        with open(f"/proc/{pid}/stat") as file:         # noqa: PTH123
            fields = file.read().rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return memory, cpu, len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, ValueError, IndexError):
        return 0, 0.0, 0


def _same(one: Address | None, other: Address | None) -> bool:
    return (one and one["text"]) == (other and other["text"])
