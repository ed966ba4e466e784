"""The filters of a worker: classes loaded, instances made, started, kept over reloads, and stopped.

Everything was checked in the compile process; what fails here is what only a run can show. Imported when the first
snapshot with a filter comes, so a worker without filters does not pay for it.
"""

from __future__ import annotations

import gc
import sys

from fastmesh._core.filter.chain import Slot, bound_memory
from fastmesh.filters.blob import unpack
from fastmesh.filters.reporter import Reporter
from fastmesh.filters.types import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Spec = dict[str, Any]       # a slot of the blob; see Chains in snapshot/chains.py
    Furnish = Callable[[object, Spec], None]
    StandIns = Callable[[list[Spec], int], Any]

Module = type(sys)


EVENTS = {"error": "filter_error", "overrun": "filter_overrun", "quarantine": "filter_quarantined",
          "back": "filter_back", "shadow": "filter_shadow", "memory": "filter_memory"}
STAND_IN_BUDGET_NS = 1_000_000_000      # what a stand-in does is the proxy's own: the filter's time is the host's
TEXT_MOST = 8192        # characters of a traceback that are told, from its end


class FilterRefused(ValueError):
    """A filter that cannot be had. The worker keeps the filters it has; the text is for people."""


class Entry:
    """A slot in use, and by how many tables."""

    __slots__ = ("has_served", "holders", "instance", "slot", "spec")

    def __init__(self, spec: Spec, instance: Any, slot: Slot) -> None:
        self.spec = spec
        self.instance = instance
        self.slot = slot
        self.holders = 0
        self.has_served = False


class Filters:
    """All filters that snapshots of this worker still use."""

    def __init__(self, tell: Callable[[Spec], None], furnish: Furnish | None = None,
                 stand_in: StandIns | None = None) -> None:
        """`tell` takes packets for control. `furnish` gives an instance what it has besides its settings, before it is
        started. `stand_in` makes what takes the place of an isolated filter here, of all isolated ones and its place
        among them; that says by `is_current` whether it may go on to be used."""
        self._tell = tell
        self._furnish = furnish
        self._stand_in = stand_in
        self._entries: list[Entry] = []
        self._packages: dict[str, str] = {}     # top package → fingerprint of what is loaded of it

    def take(self, blob: bytes) -> list[Slot]:
        """The slots of a snapshot, in its order; to be given back when nobody uses the snapshot any more.

        A filter of which nothing has changed is the one that runs already. Raises FilterRefused; then nothing has
        changed.
        """
        told = unpack(blob)
        bound_memory(told["memory"])
        _find_modules_in(told["paths"])
        taken: list[Entry] = []
        isolated = [spec for spec in told["slots"] if spec["isolated"]]
        place = 0       # among the isolated ones
        try:
            for spec, where in zip(told["slots"], told["places"], strict=True):
                entry = self._known(spec)
                if entry is None:
                    entry = (self._make_isolated(isolated, place) if spec["isolated"] else
                             self._make(spec, told["files"].get(spec["fingerprint"], ""), where))
                    self._entries.append(entry)
                place += spec["isolated"]
                entry.holders += 1
                taken.append(entry)
        except BaseException:
            self._let_go(taken)
            raise
        return [entry.slot for entry in taken]

    def serve(self, slots: Iterable[Slot]) -> None:
        """A snapshot with these slots is live: what they have declared to count is what counts."""
        by_slot = {id(entry.slot): entry for entry in self._entries}
        for slot in slots:
            entry = by_slot[id(slot)]
            entry.has_served = True
            metrics = getattr(entry.instance, "metrics", None)
            if metrics is not None:
                metrics.renew()

    def bypass(self, rows: dict[int, int]) -> None:
        """Another worker has come to its end in these filters: rows and milliseconds."""
        for entry in self._entries:
            if entry.slot.row in rows:
                entry.slot.bypass(rows[entry.slot.row] * 1_000_000)

    def give_back(self, slots: Iterable[Slot]) -> None:
        """A table of these slots is used no more. Filters that no other table has are stopped."""
        by_slot = {id(entry.slot): entry for entry in self._entries}
        # After `close` a table may still come back: everything has been stopped by then.
        self._let_go([by_slot[id(slot)] for slot in slots if id(slot) in by_slot])

    def close(self) -> None:
        """Stop all that are left: the worker ends."""
        entries, self._entries = self._entries, []
        for entry in entries:
            self._stop(entry)

    # --- instances ---

    def _known(self, spec: Spec) -> Entry | None:
        return next((entry for entry in self._entries if entry.spec == spec and (
            not spec["isolated"] or entry.instance.is_current())), None)

    def _make(self, spec: Spec, source: str, where: str) -> Entry:
        """`where`: in the configuration."""
        try:
            instance = self.new(spec, source)
            instance.start()
        except BaseException as error:      # also SystemExit: a filter does not end a worker
            raise FilterRefused(f"{where}: filter {spec['name']}: {_where(error, spec)}") from None
        return self._entry(spec, instance, {phase: getattr(instance, phase) for phase in spec["phases"]})

    def _make_isolated(self, isolated: list[Spec], place: int) -> Entry:
        spec = isolated[place]
        if self._stand_in is None:
            raise FilterRefused(f"filter {spec['name']}: it is isolated, and this worker has no process to run it in")
        instance = self._stand_in(isolated, place)
        entry = self._entry(spec, instance, instance.phases)
        instance.slot = entry.slot
        return entry

    def _entry(self, spec: Spec, instance: object, phases: dict[str, Callable[..., Any]]) -> Entry:
        name = spec["name"]
        slot = Slot(
            instance, phases, row=spec["row"], name=name, on_error=spec["on_error"],
            budget_ns=STAND_IN_BUDGET_NS if spec["isolated"] else spec["budget_ns"],
            timeout_ns=spec["timeout_ns"], body_limit=spec["body_limit"], shadow=spec["shadow"],
            quarantine=tuple(spec["quarantine"]), changes_body=bool(getattr(instance, "changes_body", True)),
            is_late=spec["isolated"], second_ns=0 if spec["isolated"] else spec.get("second_ns", 0),
            report=self._report_of(name))
        return Entry(spec, instance, slot)

    def _report_of(self, name: str) -> Callable[[str, str, str], None]:
        def report(what: str, phase: str, text: str) -> None:
            self._tell({"op": "event", "what": EVENTS[what], "filter": name, "text": text[-TEXT_MOST:]})
        return report

    def new(self, spec: Spec, source: str) -> Any:
        """An instance with its settings, not yet started. Raises whatever its module and its class raise."""
        cls: Any = self._class(spec, source)
        instance = cls()
        settings = spec["settings"]
        log = Reporter(spec["name"], self._tell, _secrets_in(settings))
        for name, value in (*settings.items(), ("name", spec["name"]), ("log", log)):
            try:
                setattr(instance, name, value)
            except AttributeError:      # a frozen dataclass has no other way
                object.__setattr__(instance, name, value)
        if self._furnish is not None:
            self._furnish(instance, spec)
        return instance

    def _let_go(self, entries: list[Entry]) -> None:
        has_left = False
        for entry in entries:
            entry.holders -= 1
            if entry.holders == 0:
                has_left = True
                self._entries.remove(entry)
                self._stop(entry)
                if entry.spec["kind"] == "file" and not any(
                        other.spec["module"] == entry.spec["module"] for other in self._entries):
                    sys.modules.pop(entry.spec["module"], None)
        if has_left:
            # A module and its classes hold each other: what it has loaded would stay until the collector comes to it by
            # itself, which can be dozens of versions later. One that is still held here goes with the next.
            gc.collect()

    def _stop(self, entry: Entry) -> None:
        stop = getattr(entry.instance, "stop", None)
        try:
            if stop is not None:
                stop()
        except BaseException as error:
            self._tell({"op": "event", "what": "filter_error", "filter": entry.spec["name"],
                        "text": f"stop: {_where(error, entry.spec)}"})
        metrics = getattr(entry.instance, "metrics", None)
        if metrics is not None:
            if not entry.has_served:
                metrics.withdraw()
            metrics.close()

    # --- classes ---

    def _class(self, spec: Spec, source: str) -> object:
        found: object
        if spec["kind"] == "file":
            found = sys.modules.get(spec["module"]) or _run_file(spec["module"], spec["file"], source)
        else:
            found = self._import(spec["module"], spec["fingerprint"])
        for part in spec["qualname"].split("."):
            found = getattr(found, part)
        return found

    def _import(self, name: str, fingerprint: str) -> object:
        """A module of the version that was checked: another version of its package is loaded beside the old one."""
        top = name.partition(".")[0]
        old: dict[str, Any] = {}
        if top != "fastmesh" and self._packages.get(top, fingerprint) != fingerprint:
            old = {known: module for known, module in sys.modules.items() if known.partition(".")[0] == top}
            for known in old:
                del sys.modules[known]
            for place, finder in list(sys.path_importer_cache.items()):
                forget = getattr(finder, "invalidate_caches", None)
                if forget is not None:
                    forget()
                elif finder is None:        # there was no such directory
                    del sys.path_importer_cache[place]
        try:
            __import__(name)
        except BaseException:
            if old:
                for known in [known for known in sys.modules if known.partition(".")[0] == top]:
                    del sys.modules[known]
                sys.modules.update(old)
            raise
        self._packages[top] = fingerprint
        return sys.modules[name]


def furnish(instance: object, spec: Spec) -> None:
    """Give a filter what it calls by `self.`, besides its settings."""
    from fastmesh.filters.mesh import Mesh
    from fastmesh.filters.metrics import Metrics

    instance.mesh = Mesh()  # type: ignore[attr-defined]
    instance.metrics = Metrics(spec["name"])  # type: ignore[attr-defined]


def _find_modules_in(paths: list[str]) -> None:
    for path in paths:
        if path not in sys.path:
            sys.path.append(path)


def _run_file(name: str, path: str, source: str) -> object:
    # The text that was checked, not what the file holds by now.
    code = compile(source.encode("utf-8", "surrogateescape"), path, "exec", dont_inherit=True)
    module = Module(name)
    module.__file__ = path
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _secrets_in(value: object) -> Iterator[str]:
    if isinstance(value, Secret):
        yield str(value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _secrets_in(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _secrets_in(item)


def _where(error: BaseException, spec: Spec) -> str:
    """`file:line: Kind: text`, of the last line that is the filter's own, else of the last."""
    place, own = "", ""
    top = spec["module"].partition(".")[0]
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        place = f"{frame.f_code.co_filename}:{trace.tb_lineno}: "
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == top:
            own = place
        trace = trace.tb_next
    text = str(error)
    return f"{own or place}{type(error).__name__}{': ' if text else ''}{text}"
