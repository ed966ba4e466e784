"""The control process: signals, the admin API, the log sink, and the order in which things begin and end."""

import asyncio
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from time import CLOCK_BOOTTIME, clock_gettime, monotonic, monotonic_ns, perf_counter, time
from typing import Any

from fastmesh._core.mem.code_pages import release_code_pages
from fastmesh.admin.pages import Pages
from fastmesh.admin.server import Server
from fastmesh.control.checkup import HEALTHY
from fastmesh.control.compile import Compiler
from fastmesh.control.file_watch import FileWatch
from fastmesh.control.fleet import Fleet
from fastmesh.control.healing import Healing
from fastmesh.control.health_checks import HealthChecks
from fastmesh.control.label_watch import LabelWatch
from fastmesh.control.nearness import Nearness
from fastmesh.control.owner import Owner, owner_of
from fastmesh.control.patience import within
from fastmesh.control.process import STARTING, package_paths, reap_strangers
from fastmesh.control.reload import BadConfiguration, Configurator, Outcome, Prepared, process_use
from fastmesh.control.shared_memory import shared_memory
from fastmesh.control.slot import Ground
from fastmesh.control.snapshot import Snapshot
from fastmesh.control.sockets import Bound, SocketShelf
from fastmesh.control.strain import Strain
from fastmesh.control.watchdog import Watchdog
from fastmesh.control.worker_process import Refused, WorkerFailed, WorkerProcess
from fastmesh.observe.breakers import breakers
from fastmesh.observe.filter_report import describe_filter
from fastmesh.observe.health import HealthFile
from fastmesh.observe.journal import Journal
from fastmesh.observe.log_sink import LogSink
from fastmesh.observe.prometheus import CheckFigures, DiscoveryFigures, ProcessUse, Scene
from fastmesh.observe.stats import StatsFile, StatsShelf

DRAIN_IDLE_MS = 1000        # what a drain that ends in exit allows connections that carry nothing
HANG_SECONDS = 10.0         # before a snapshot says how long a worker may stand still
ORPHAN_SECONDS = 2.0        # past orphan_grace, for a worker of a dead control process to leave when it is asked
WATCH_SECONDS = 1.0         # between two looks at the files, with --watch
DISCOVERY_SECONDS = 5.0     # for discovery policies to give back what they hold
LOG_SECONDS = 1.0           # for the last lines of the access log to leave
NO_NODE = {"service": "unknown", "version": "unknown", "namespace": "default", "workload": "unknown", "cluster": ""}
OK = 0
FAILED = 1


class Supervisor:
    """Everything that `fastmesh run` is."""

    def __init__(self, config_path: str, version: str, journal: Journal,
                 worker_entry: str = "fastmesh.worker.main", is_watching: bool = False) -> None:
        self.journal = journal
        self.version = version
        self.name = f"fastmesh {version}"
        self.started_at = time()
        self._started = monotonic()
        self.stats_shelf = StatsShelf()
        self.health = HealthFile()
        paths = package_paths("fastmesh", "msgpack")
        self.ground = Ground(journal, SocketShelf(), self.stats_shelf, paths, self._workers_changed,
                             entry=worker_entry, shared_fd=shared_memory(), health=self.health)
        self._healing = Healing(self.ground, self.health)
        self.fleet = Fleet(self.ground)
        self.checks = HealthChecks(self.health.fd, journal, self._healing.checked)
        self.configurator = Configurator(config_path, Compiler(), self.fleet, paths, self.checks)
        self._watchdog = Watchdog(lambda: self.fleet.processes, self._hang_seconds, journal, self._workers_changed)
        self._admin: Server | None = None
        self._sink: LogSink | None = None
        self._log_lost = 0      # lines that sinks of earlier paths have lost
        self._is_up = False
        self._watch = FileWatch(lambda: self.configurator.files) if is_watching else None
        self._end = asyncio.Event()         # asked to end
        self._hurry = asyncio.Event()       # asked twice
        self._is_hup_waiting = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_loop_error)

    # --- life ---

    async def run(self) -> int:
        """From start to exit; returns the exit status."""
        self._listen_to_signals()
        watchdog = self._loop.create_task(self._watchdog.run())
        healing = self._loop.create_task(self._healing.run())
        strain = self._loop.create_task(Strain(self.ground).run())
        labels = self._loop.create_task(LabelWatch(self.ground).run())
        nearness = self._loop.create_task(Nearness(self.ground).run())
        try:
            return await self._run()
        finally:
            watchdog.cancel()
            healing.cancel()
            self.checks.end()
            strain.cancel()
            labels.cancel()
            nearness.cancel()
            self._healing.healer.end()
            # The loop is about to be closed, and its handlers with it: one signal more must not change the status.
            signal.pthread_sigmask(signal.SIG_BLOCK, STARTING)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    async def _run(self) -> int:
        start = self._loop.create_task(self._start())
        end = self._loop.create_task(self._end.wait())
        await asyncio.wait([start, end], return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            start.cancel()
            await asyncio.wait([start])
        elif not start.result():
            end.cancel()
            await self._tear_down(0)
            return FAILED
        else:
            await end
        await self._drain()
        return OK

    async def _start(self) -> bool:
        """Bring everything up; False when it cannot be, with the reason on stderr.

        A reload that is asked for meanwhile waits: the file may have changed since it was read.
        """
        async with self.configurator.lock:
            return await self._bring_up()

    async def _bring_up(self) -> bool:
        if self._watch is not None:
            self._watch.learn()
        try:
            snapshot = await self.configurator.compile()
        except BadConfiguration as error:
            self._explain(str(error))
            self.journal.error(f"not started: {self.configurator.path} cannot be used")
            return False
        try:
            snapshot, found, answer = await self.configurator.discover(snapshot)
            prepared = self.configurator.prepare(snapshot)
        except BadConfiguration as error:
            for line in str(error).splitlines():
                self.journal.error(line)
            self.journal.error("not started")
            return False
        self._warn(snapshot)
        await self._adopt(prepared)
        await self.checks.prepare(snapshot, None)
        try:
            await self.fleet.start(snapshot, prepared.change)
        except (Refused, WorkerFailed) as error:
            self.journal.error(f"not started: {error}")
            return False
        self.configurator.settle(snapshot, found, answer)
        self._is_up = True
        if self._watch is not None:
            self._watch.learn()
            self._spawn(self._keep_watch(self._watch))
        self._dismiss_orphans()
        self._report_start(snapshot)
        gc.collect()
        gc.freeze()
        # Most of pydantic's code and uvloop's ran once, or runs in the copies of this process that compile.
        release_code_pages()
        return True

    async def _adopt(self, prepared: Prepared) -> None:
        """Take over what a snapshot changes outside the workers: admin API, access log."""
        snapshot = prepared.snapshot
        if prepared.admin is not None:
            server = Server(Pages(self).answer, _is_local(prepared.admin))
            await server.start(prepared.admin.sockets[0])
            old, old_bound = self._admin, self.configurator.admin
            self._admin, self.configurator.admin = server, prepared.admin
            _close_admin(old, old_bound)
        elif snapshot.process.admin is None:
            _close_admin(self._admin, self.configurator.admin)
            self._admin, self.configurator.admin = None, None
        path = snapshot.process.access_log
        if (self._sink and self._sink.path) != path:
            old_sink, self._sink = self._sink, None
            if old_sink is not None:
                await self._loop.run_in_executor(None, old_sink.stop, LOG_SECONDS)
                self._log_lost += old_sink.lost
            if path is not None:
                self._sink = LogSink(path, self._files, self._warn_from_thread)
                self._sink.start()
        for note in prepared.notes:
            self.journal.warn(note)

    def _report_start(self, snapshot: Snapshot) -> None:
        for spec in snapshot.listeners:
            self.journal.info(f"listener {spec.name} accepts on {spec.address['text']} ({spec.protocol})")
        engines = sorted({w.engine for w in self.fleet.processes})
        workers = len(self.fleet.slots)
        admin = snapshot.process.admin
        self.journal.info(
            f"{self.name} is ready after {_age() * 1000:.0f} ms: snapshot {snapshot.version}, "
            f"{workers} worker{'s' if workers != 1 else ''} ({', '.join(engines)}), "
            f"admin {'http://' if admin and admin['family'] != 1 else ''}{admin['text'] if admin else 'off'}")

    def _dismiss_orphans(self) -> None:
        """Workers whose control process died have served until now; these here do it from now on."""
        for owner in self.ground.sockets.orphans.values():
            self._spawn(self._dismiss(owner))
        self.ground.sockets.orphans.clear()

    async def _dismiss(self, owner: Owner) -> None:
        try:
            pidfd = os.pidfd_open(owner.pid)
        except OSError:
            return
        try:
            if owner_of(owner.pid) != owner:    # it has gone, and its number is another's
                return
            self.journal.warn(f"{owner} is left over from another control process; it drains now")
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            gone = asyncio.Event()
            self._loop.add_reader(pidfd, gone.set)
            try:
                live = self.ground.live
                grace = live.process.orphan_grace_ms / 1000 if live is not None else 0
                await within(grace + ORPHAN_SECONDS, gone.wait())
            except TimeoutError:
                # It does not move: connections that the kernel gives to its sockets would never be answered.
                self.journal.error(f"{owner} does not leave; it is killed")
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                self._loop.remove_reader(pidfd)
        except ProcessLookupError:
            pass
        finally:
            os.close(pidfd)

    async def _drain(self) -> None:
        live = self.ground.live
        grace_ms = live.process.drain_timeout_ms if live is not None and self._is_up else 0
        open_now = self.stats_shelf.globals().get("downstream_connections", 0)
        self.journal.info(f"drains: {open_now} connections, at most {grace_ms / 1000:g} s")
        begun = monotonic()
        await self._tear_down(grace_ms)
        self.journal.info(f"ended after {monotonic() - begun:.1f} s")

    async def _tear_down(self, grace_ms: int) -> None:
        """Workers first, then the log with their last lines, then the admin API: it answers to the end."""
        self.configurator.discoveries.end()
        drain = self._loop.create_task(self.fleet.drain(grace_ms, min(DRAIN_IDLE_MS, grace_ms)))
        hurry = self._loop.create_task(self._hurry.wait())
        await asyncio.wait([drain, hurry], return_when=asyncio.FIRST_COMPLETED)
        if not drain.done():
            self.journal.warn("asked to end a second time: the drain is cut short")
            for worker in self.fleet.processes:
                worker.kill()
            await drain
        hurry.cancel()
        await self.configurator.compiler.end()
        await self._see_off_discovery()
        if self._sink is not None:
            await self._loop.run_in_executor(None, self._sink.stop, LOG_SECONDS)
        if self._admin is not None:
            await self._admin.drain(0.2)
        if self.configurator.admin is not None:
            self.configurator.admin.close()

    async def _see_off_discovery(self) -> None:
        discoveries = self.configurator.discoveries
        try:
            await within(DISCOVERY_SECONDS, discoveries.gone())
        except TimeoutError:
            for host in discoveries.processes:
                host.kill()
            await discoveries.gone()

    # --- signals ---

    def _listen_to_signals(self) -> None:
        handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self._on_end, signal.SIGINT: self._on_end,
            signal.SIGHUP: self._on_hup, signal.SIGUSR1: self._on_usr1,
        }
        for number, handler in handlers.items():
            self._loop.add_signal_handler(number, handler)
        if os.getpid() == 1:
            # uvloop keeps this signal for itself. From the loop: not while a child is being started.
            signal.signal(signal.SIGCHLD, lambda *_: self._loop.call_soon_threadsafe(reap_strangers))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STARTING)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    def _on_end(self) -> None:
        if self._end.is_set():
            self._hurry.set()
        self._end.set()

    def _on_hup(self) -> None:
        # One that has not begun yet will read the file as it is then: a second one would find nothing new.
        if not self._is_hup_waiting:
            self._is_hup_waiting = True
            self._spawn(self._reload("SIGHUP"))

    def _on_usr1(self) -> None:
        if self._sink is not None:
            self.journal.info(f"opens {self._sink.path} again")
            self._sink.reopen()

    def _spawn(self, what: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what changes while it runs ---

    async def _reload(self, asked_by: str) -> Outcome:
        """One at a time; each reads the file anew."""
        async with self.configurator.lock:
            if asked_by == "SIGHUP":
                self._is_hup_waiting = False
            if self._end.is_set() or not self._is_up:
                return Outcome(False, 0, 0, 0, text="not now: the proxy is starting or ending")
            outcome, prepared = await self.configurator.reload()
            if prepared is None:
                self._explain(outcome.text)
                self.journal.error(f"reload ({asked_by}) refused, snapshot {outcome.version} stays live")
                return outcome
            self._warn(prepared.snapshot)
            self.journal.info(f"snapshot {outcome.version} is live ({asked_by}) after {outcome.ms:.0f} ms, "
                              f"{outcome.compile_ms:.0f} of them to compile")
            await self._adopt(prepared)
            gc.collect()
            return outcome

    async def _keep_watch(self, watch: FileWatch) -> None:
        while not self._end.is_set():
            if watch.has_changed():
                await self._reload("a file has changed")
                watch.learn()
            await asyncio.sleep(WATCH_SECONDS)

    def _workers_changed(self) -> None:
        if not self.fleet.is_draining:
            self.fleet.steer()

    def _hang_seconds(self) -> float:
        live = self.ground.live
        return live.process.hang_timeout_ms / 1000 if live is not None else HANG_SECONDS

    def _files(self) -> list[StatsFile]:
        return self.stats_shelf.files

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
        """A bug: it is reported with its traceback, and the control process goes on."""
        error = what.get("exception")
        trace = "".join(traceback.format_exception(error)) if error is not None else ""
        self.journal.error(f"internal error: {what.get('message', '')}\n{trace}")

    def _warn_from_thread(self, text: str) -> None:
        self._loop.call_soon_threadsafe(self.journal.warn, text)

    def _warn(self, snapshot: Snapshot) -> None:
        for warning in snapshot.warnings:
            self.journal.warn(warning)

    def _explain(self, text: str) -> None:
        """Errors of the file as `check` prints them: with their lines and carets, not one line each."""
        self.journal.raw((text if text.endswith("\n") else text + "\n").encode("utf-8", "backslashreplace"))

    # --- what the admin pages ask for ---

    def why_not_ready(self) -> str | None:
        """None when every listener accepts and a snapshot is live in a worker."""
        if self._end.is_set():
            return "draining"
        if not self._is_up or self.ground.live is None:
            return "starting: no snapshot is live yet"
        if not self.fleet.serving:
            return "no worker serves: all have died or hang, and are being replaced"
        return None

    async def reload(self) -> tuple[bool, dict[str, Any], str]:
        outcome = await self._reload("admin")
        return outcome.is_live, outcome.to_dict(), outcome.text

    async def replace(self, slot: int) -> dict[str, Any]:
        async with self.configurator.lock:
            if self._end.is_set() or not self._is_up:
                raise RuntimeError("not now: the proxy is starting or ending")
            if slot >= len(self.fleet.slots):
                raise LookupError(f"there is no slot {slot}")
            begun = perf_counter()
            old = self.fleet.slots[slot].current
            try:
                fresh = await self.fleet.replace(slot)
            except (Refused, WorkerFailed) as error:
                raise RuntimeError(f"the new worker did not come up, the old one stays: {error}") from None
            return {"slot": slot, "pid": fresh.pid, "replaced": old.pid if old is not None else None,
                    "snapshot": fresh.version, "ms": round((perf_counter() - begun) * 1000, 1)}

    async def explain(self, wanted: dict[str, str], seconds: float) -> dict[str, Any] | None:
        return await self.ground.watches.next(wanted, lambda: self.fleet.processes, seconds)

    def drain(self) -> dict[str, Any]:
        live = self.ground.live
        self._on_end()
        return {"draining": True, "timeout_ms": live.process.drain_timeout_ms if live else 0}

    def config(self) -> bytes:
        return self.ground.live.config if self.ground.live is not None else b"{}"

    def workers(self) -> list[dict[str, Any]]:
        found = []
        for slot in self.fleet.slots:
            worker = slot.current
            entry: dict[str, Any] = {"slot": slot.index, "pid": worker.pid if worker else None,
                                     "snapshot": worker.version if worker else None,
                                     "engine": worker.engine if worker else None,
                                     "state": _state(worker),
                                     "restarts": slot.restarts,
                                     "leaving": [w.pid for w in slot.leaving if w.is_alive]}
            if worker is not None:
                entry["uptime_seconds"] = round(monotonic() - worker.started, 3)
                entry["heartbeat_age_seconds"] = _heartbeat_age(worker)
            found.append(entry)
        return found

    def events(self) -> Iterator[dict[str, Any]]:
        self._healing.look()
        return iter(self.ground.events)

    def clusters(self) -> Iterator[dict[str, Any]]:
        now, workers = monotonic_ns(), self.stats_shelf.of_workers()
        for cluster in self.ground.live.clusters() if self.ground.live is not None else ():
            finding = self.configurator.discoveries.findings.get(cluster["name"])
            yield {"name": cluster["name"], "id": cluster["id"], "load_balancer": cluster["lb"],
                   **({"discovery": finding.to_dict()} if finding is not None else {}),
                   "limits": self._limits(cluster["id"]),
                   "endpoints": [self._endpoint(cluster["name"], e, self.stats_shelf.weight(
                       workers, e["row"], e["weight"], cluster["warming"], now), now) for e in cluster["endpoints"]]}

    def _limits(self, row: int) -> dict[str, dict[str, int]]:
        limits = self.ground.live.cluster_limits.get(row, {}) if self.ground.live is not None else {}
        return {one.limit: {"used": one.used, "limit": one.most, "most_used": one.highest}
                for one in breakers(self.health, row, limits)}

    def _endpoint(self, cluster: str, endpoint: dict[str, Any], weight: float, now: int) -> dict[str, Any]:
        found = self.stats_shelf.endpoint(endpoint["row"])
        avoided = max(0, found["avoid_until_ns"] - now)
        outlier = self.health.state(endpoint["row"])
        is_out = outlier["state"] != "in"
        checkup = self.checks.of(cluster, endpoint["address"])
        health = outlier["state"] if is_out else "avoided" if avoided else "healthy"
        if checkup is not None and checkup.state != HEALTHY:
            health = checkup.state
        return {"address": endpoint["address"], "weight": endpoint["weight"], "weight_now": round(weight, 3),
                **{key: endpoint[key] for key in ("priority", "zone", "metadata") if key in endpoint},
                "health": health, **({"check": checkup.to_dict()} if checkup is not None else {}),
                "active": found["active"],
                "ewma_ms": round(found["ewma_ns"] / 1e6, 3), "ejected": is_out, "outlier": outlier,
                "avoided_for_ms": avoided // 1_000_000, "connections": found["connections"], "total": found["total"],
                "failures": found["failures"], "connect_failures": found["connect_failures"]}

    def filters(self) -> dict[str, Any]:
        """`at` is in seconds of this machine's CLOCK_MONOTONIC: two readings give rates."""
        live = self.ground.live
        serving = len(self.fleet.serving)
        return {"at": monotonic(), "workers": serving,
                "filters": [describe_filter(row, name, self.stats_shelf.filter(row), serving)
                            for row, name in sorted((live.filter_names if live is not None else {}).items())]}

    def stats(self) -> dict[str, Any]:
        live = self.ground.live
        shelf, counts = self.stats_shelf, self.configurator.counts
        return {
            "version": self.version, "uptime_seconds": round(monotonic() - self._started, 3),
            "ready": self.why_not_ready() is None, "draining": self._end.is_set(),
            "snapshot": {"version": live.version, "loaded_at": live.loaded_at} if live else None,
            "node": live.node if live else None,
            "reloads": {"good": counts.good, "bad": counts.bad, "last_ms": round(counts.last_seconds * 1000, 1),
                        "last_error": counts.last_error or None, "last_error_at": counts.last_error_at or None},
            "globals": shelf.globals(),
            "listeners": {spec.name: {"address": spec.address["text"], "protocol": spec.protocol,
                                      "direction": spec.direction, **shelf.listener(spec.id)}
                          for spec in (live.listeners if live else ())},
            "clusters": {name: shelf.cluster(row) for row, name in (live.cluster_names if live else {}).items()},
            "rate_limits": {name: shelf.limit(row) for row, name in (live.limit_names if live else {}).items()},
            "worker_restarts": self.ground.restarts, "worker_hangs": self.ground.hangs,
            "filter_host_restarts": self.ground.host_restarts,
            "discovery": {cluster: finding.to_dict()
                          for cluster, finding in self.configurator.discoveries.findings.items()},
            "discovery_host_restarts": self.configurator.discoveries.restarts,
            "processes": [{"process": use.process, "slot": use.slot, "resident_bytes": use.memory,
                           "cpu_seconds": use.cpu_seconds, "open_fds": use.open_fds} for use in self._processes()],
        }

    def scene(self) -> Scene:
        live = self.ground.live
        counts = self.configurator.counts
        specs = live.listeners if live else ()
        return Scene(
            stats=self.stats_shelf, node=live.node if live else NO_NODE,
            names=self.ground.names,
            listeners=live.listener_names if live else {}, clusters=live.cluster_names if live else {},
            filters=live.filter_names if live else {},
            rate_limits=live.limit_names if live else {},
            routes=live.route_names if live else {},
            cluster_limits=live.cluster_limits if live else {},
            health=self.health,
            addresses={spec.id: spec.address["text"] for spec in specs},
            control={
                "start_time": self.started_at, "snapshot_version": live.version if live else 0,
                "snapshot_loaded": live.loaded_at if live else 0, "reload_seconds": counts.last_seconds,
                "workers": len(self.fleet.slots), "workers_serving": len(self.fleet.serving),
                "restarts": self.ground.restarts, "hangs": self.ground.hangs, "draining": int(self._end.is_set()),
                "discovery_restarts": self.configurator.discoveries.restarts,
                "checks_running": self.checks.running, "checks_delayed": self.checks.delayed,
                "journal_lost": self.journal.lost,
                "log_lost": self._log_lost + (self._sink.lost if self._sink is not None else 0),
            },
            reloads={"good": counts.good, "bad": counts.bad},
            build=(self.version, ".".join(map(str, sys.version_info[:3])),
                   ",".join(sorted({w.engine for w in self.fleet.processes if w.engine}))),
            processes=self._processes(), heartbeats=[
                (slot.index, age) for slot in self.fleet.slots if slot.current is not None
                if (age := _heartbeat_age(slot.current)) is not None], uptime=monotonic() - self._started,
            discoveries=[
                DiscoveryFigures(cluster, finding.updates, finding.unchanged, finding.errors, finding.age())
                for cluster, finding in self.configurator.discoveries.findings.items()],
            checks=CheckFigures(self.checks.results, self.checks.states()), heals=self._healing.healer.results)

    def _processes(self) -> list[ProcessUse]:
        found = {("control", ""): ProcessUse("control", "", *process_use(os.getpid()))}
        for worker in self.fleet.processes:
            key = ("leaving" if worker.is_draining else "worker", str(worker.slot))
            memory, cpu_seconds, open_fds = process_use(worker.pid)
            # While one worker takes over from another a slot has two, or more that are leaving: one row for all.
            use = found.setdefault(key, ProcessUse(*key, 0, 0.0, 0))
            use.memory += memory
            use.cpu_seconds += cpu_seconds
            use.open_fds += open_fds
        for slot in (*self.fleet.slots, *self.fleet.retired):
            for host in (host for hosts in slot.hosts for host in hosts.processes):
                memory, cpu_seconds, open_fds = process_use(host.pid)
                use = found.setdefault(("filters", str(slot.index)), ProcessUse("filters", str(slot.index), 0, 0.0, 0))
                use.memory += memory
                use.cpu_seconds += cpu_seconds
                use.open_fds += open_fds
        for discovery in self.configurator.discoveries.processes:
            memory, cpu_seconds, open_fds = process_use(discovery.pid)
            use = found.setdefault(("discovery", ""), ProcessUse("discovery", "", 0, 0.0, 0))
            use.memory += memory
            use.cpu_seconds += cpu_seconds
            use.open_fds += open_fds
        return list(found.values())


def _state(worker: WorkerProcess | None) -> str:
    if worker is None:
        return "down"
    if worker.is_serving:
        return "serving"
    return "stalled" if worker.is_stalled or worker.has_hung else "down"


def _heartbeat_age(worker: WorkerProcess) -> float | None:
    beat = worker.stats.heartbeat()
    return round((monotonic_ns() - beat) / 1e9, 3) if beat else None


def _age() -> float:
    """Seconds since this process was started, as the command line: imports and the rehearsal are in it."""
    with open("/proc/self/stat") as file:       # noqa: PTH123
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return clock_gettime(CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _is_local(bound: Bound) -> bool:
    """Only this machine reaches it."""
    address = bound.address
    return address["family"] == 1 or address["host"] == "::1" or address["host"].startswith("127.")


def _close_admin(server: Server | None, bound: Bound | None) -> None:
    if server is not None:
        server.close()
    if bound is not None:
        bound.close()
