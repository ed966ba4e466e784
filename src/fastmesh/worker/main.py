"""The Python side of a worker process: it starts the compiled Worker and speaks with control.

All the work is in `Worker.run`, which holds no GIL. It comes back when control has written a packet, when
a drain is over, or when the time is up. Whoever reads this process's memory reads every import here.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
from _socket import socket
from time import monotonic, perf_counter

from fastmesh._core.mem.code_pages import release_code_pages
from fastmesh._core.worker import Worker, trace_on_abort
from fastmesh.worker.packet import BadPacket, receive, send
from fastmesh.worker.title import name_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastmesh._core.filter.chain import Slot, Table
    from fastmesh.worker.filters import Filters
    from fastmesh.worker.isolated import Hosts
    from fastmesh.worker.packet import Message

STDERR_FD = 2
CONTROL_FD = 3
STATS_FD = 4
HEALTH_FD = 6             # what all workers know of the health of endpoints
SHARED_FD = 5             # what all workers share; mapped when the first filter or rate limit comes
WOKEN = 1
DRAINED = 2
TOLD = 3
ORPHAN_STEP_MS = 200      # how soon an orphan notices a SIGTERM
ORPHAN_MORE = 5           # seconds past its grace after which the kernel ends an orphan that hangs
DRAIN_IDLE_MS = 1000      # what an orphan's own drain allows idle connections

# Control decides when a worker ends. A signal to the process group (Ctrl-C, systemd, a closed terminal) is
# control's to answer: a worker that obeyed it would cut the requests that control is about to drain.
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)


class Process:
    """One worker and its line to control."""

    def __init__(self, slot: int, engine: str, orphan_grace_ms: int) -> None:
        self.control = socket(fileno=CONTROL_FD)
        self.orphan_grace_ms = orphan_grace_ms
        self.is_over = False
        self.told_to_leave = False      # SIGTERM while an orphan
        self.filters: Filters | None = None     # from the first snapshot with a filter on
        self.hosts: Hosts | None = None         # from the first one with an isolated filter on
        self.worker = Worker(engine, STATS_FD, CONTROL_FD, slot, SHARED_FD, HEALTH_FD)

    def run(self) -> int:
        """Serve until drained, stopped, or orphaned for longer than the grace. Returns the exit status."""
        self.tell({"op": "hello", "pid": os.getpid(), "engine": self.worker.engine})
        gc.collect()
        gc.freeze()
        # Each compiled module has filled its tables and will not again.
        release_code_pages()
        while not self.is_over:
            why = self.worker.run(-1)
            if why == DRAINED:
                self.report_drained()
                break
            if why == TOLD:
                for number, account in self.worker.accounts():
                    self.tell({"op": "account", "number": number, "account": account})
            elif why == WOKEN and not self.take_packet():
                self.outlive_control()
                break
        if self.hosts is not None:
            self.hosts.close()
        self.worker.close()
        if self.filters is not None:
            self.filters.close()
        return 0

    def tell(self, message: Message) -> None:
        """Say something to control. One that has gone is noticed by the next read, not here."""
        try:
            send(self.control, message)
        except OSError:
            pass

    def take_packet(self) -> bool:
        """Obey one packet. False when control has gone."""
        try:
            packet = receive(self.control)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        if packet is None:
            return False
        message, fds = packet
        op = message["op"]
        if op == "listen":
            for listener_id, fd in zip(message["ids"], fds, strict=True):
                self.worker.add_listener(listener_id, fd)
        elif op == "snapshot":
            self.orphan_grace_ms = message.get("orphan_grace_ms", self.orphan_grace_ms)
            host = message.get("host", 0)
            if host:
                self.filter_hosts().offer(host, fds[1] if len(fds) > 1 else -1)
            self.apply(message["version"], message["size"], message.get("filters", 0), fds[0],
                       message.get("bypassed", {}))
        elif op == "filter_host":
            self.filter_hosts().renew(message["number"], fds[0])
        elif op == "bypass":
            if self.filters is not None:
                self.filters.bypass(message["rows"])
        elif op == "watch":
            self.watch(message["number"], message["wanted"])
        elif op == "unwatch":
            self.worker.unwatch(message["number"])
        elif op == "drain":
            self.worker.drain(message["grace_ms"], message["idle_ms"])
        elif op == "stop":
            self.is_over = True
        else:
            raise BadPacket(f"unknown op {op!r}")
        return True

    def watch(self, number: int, wanted: dict[str, str | None]) -> None:
        """Wait for a request; who asked waits no longer than he likes, whether or not it can be waited for."""
        try:
            self.worker.watch(number, wanted)
        except ValueError:
            pass

    def apply(self, version: int, size: int, filters: int, fd: int, bypassed: dict[int, int]) -> None:
        """Take the snapshot in the memfd, and the filters behind it, or say why not and keep what was before."""
        begun = perf_counter()
        slots: list[Slot] = []
        try:
            if filters:
                slots = self.take_filters(os.pread(fd, filters, size))
                for slot in slots:
                    if slot.row in bypassed:
                        slot.bypass(bypassed[slot.row] * 1_000_000)
            self.worker.apply_sealed(fd, size, self.table_of(slots) if filters else None)
        except ValueError as refused:       # SnapshotRefused, FilterRefused
            if slots and self.filters is not None:
                self.filters.give_back(slots)
            if self.hosts is not None:
                self.hosts.settle(False)
            self.tell({"op": "nack", "version": version, "why": str(refused)})
        else:
            if slots and self.filters is not None:
                self.filters.serve(slots)
            if self.hosts is not None:
                self.hosts.settle(True)
            self.tell({"op": "ack", "version": version, "ms": (perf_counter() - begun) * 1000})
        finally:
            os.close(fd)

    def take_filters(self, blob: bytes) -> list[Slot]:
        """The slots of a snapshot. Raises FilterRefused."""
        if self.filters is None:
            from fastmesh.filters import metrics, shared
            from fastmesh.worker.filters import Filters, furnish
            from fastmesh.worker.overdue import watch
            watch()
            metrics.attach(STATS_FD)
            try:
                shared.attach(SHARED_FD)
            except (OSError, shared.SharedError):
                pass        # started without control: its filters share with nobody
            self.filters = Filters(self.tell, furnish,
                                   lambda isolated, place: self.filter_hosts().stand_in(isolated, place))
        return self.filters.take(blob)

    def filter_hosts(self) -> Hosts:
        if self.hosts is None:
            from fastmesh.worker.isolated import Hosts
            self.hosts = Hosts(lambda text: self.tell({
                "op": "event", "what": "filter_host", "filter": "host", "text": text}))
        return self.hosts

    def table_of(self, slots: list[Slot]) -> Table:
        from fastmesh._core.filter.chain import Table
        assert self.filters is not None
        filters = self.filters
        return Table(slots, lambda table: filters.give_back(table.slots))

    def report_drained(self) -> None:
        self.tell({"op": "drained", "open": self.worker.live().get("connections", 0)})

    def outlive_control(self) -> None:
        """Control died without a word: serve on for half the grace, drain for the other half, and end.

        A restart within that time is not noticed by clients. A new control that finds this process on its
        addresses sends SIGTERM as soon as its own workers serve.
        """
        signal.signal(signal.SIGTERM, self.on_sigterm)
        # The end of a closed socket stays readable for ever: every run() would return at once. A descriptor that
        # nobody writes takes its number.
        silent = os.eventfd(0)
        os.dup2(silent, CONTROL_FD, inheritable=False)
        half = self.orphan_grace_ms // 2
        # Nobody is left who would notice that it hangs.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(self.orphan_grace_ms // 1000 + ORPHAN_MORE)
        end = monotonic() + half / 1000
        while monotonic() < end and not self.told_to_leave:
            if self.worker.run(ORPHAN_STEP_MS) == DRAINED:
                return
        self.worker.drain(half, min(half, DRAIN_IDLE_MS))
        while self.worker.run(-1) != DRAINED:
            pass

    def on_sigterm(self, number: int, frame: object) -> None:
        self.told_to_leave = True


def main(argv: list[str]) -> int:
    """`argv`: slot, engine, orphan grace in milliseconds, the pid of control (for those who look for orphans)."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    slot, engine, orphan_grace_ms = argv[:3]
    name_process(f"fastmesh-{slot}")
    # Of a worker that crashes, or that control ends because it hangs, stderr tells where it was.
    trace_on_abort()
    faulthandler.enable(STDERR_FD)
    return Process(int(slot), engine, int(orphan_grace_ms)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
