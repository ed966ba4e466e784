"""All workers together: a new snapshot reaches all of them or none."""

import asyncio
from collections.abc import Callable

from fastmesh.control.patience import within
from fastmesh.control.slot import Ground, Slot
from fastmesh.control.snapshot import ListenerSpec, Snapshot
from fastmesh.control.sockets import Change
from fastmesh.control.worker_process import Refused, WorkerFailed, WorkerProcess

# A slot that goes away is no longer given connections; those the kernel has queued for it are accepted meanwhile.
SETTLE_SECONDS = 0.05
ENDS = "not now: the proxy is ending"
KILL_AFTER = 2.0        # seconds past its grace that a drain may take


class PushRefused(Exception):
    """A snapshot that not all workers took. All of them have the previous one. The text is for people."""


class Fleet:
    """The slots, and what they serve."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.slots: list[Slot] = []
        self.retired: list[Slot] = []       # no longer needed; their workers drain
        self.is_draining = False
        self._retiring: set[asyncio.Task[None]] = set()
        ground.on_suspect = self._bypass

    @property
    def serving(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.current is not None and slot.current.is_serving]

    @property
    def processes(self) -> list[WorkerProcess]:
        return [worker for slot in (*self.slots, *self.retired) for worker in slot.processes]

    async def start(self, snapshot: Snapshot, change: Change) -> None:
        """The first snapshot. Raises WorkerFailed or Refused when any worker does not come up with it."""
        change.commit(snapshot.listeners)
        self._learn_names(snapshot)
        self.ground.live = snapshot
        self.slots = [Slot(i, self.ground) for i in range(snapshot.process.workers)]
        results = await asyncio.gather(*(slot.start() for slot in self.slots), return_exceptions=True)
        for slot, result in zip(self.slots, results, strict=True):
            if result is not None:
                raise WorkerFailed(f"worker {slot.index} {_sentence(result)}") from None

    async def push(self, new: Snapshot, change: Change) -> None:
        """Bring a snapshot to every worker: first to one, then to the rest. Raises PushRefused.

        One worker goes first, so that a snapshot that a worker refuses, or dies of, meets one worker only. When a
        later one refuses, those that took it get the previous one back. Sockets that the snapshot adds are given
        along, and accept connections from the first acknowledgement on.
        """
        old = self.ground.live
        assert old is not None
        if self.is_draining:
            raise PushRefused(ENDS)
        try:
            change.listen()
        except OSError as error:
            raise PushRefused(f"cannot listen: {error.strerror}") from None
        # A worker counts by the new numbers as soon as it has acknowledged.
        self._learn_names(new)
        # Workers close the sockets of addresses that go as soon as they have emptied the queue.
        for bound in change.leaving():
            bound.turn_away()
        targets = [slot for slot in self.slots if slot.current is not None]
        took: list[Slot] = []
        for group in (targets[:1], targets[1:]):
            results = await asyncio.gather(*(self._push_one(slot, new, change.socket_of) for slot in group),
                                           return_exceptions=True)
            for slot, result in zip(group, results, strict=True):
                if result is None:
                    took.append(slot)
            for slot, result in zip(group, results, strict=True):
                # One that dies after another has taken the snapshot did not die of it; its successor gets it.
                if isinstance(result, WorkerFailed) and took:
                    continue
                if result is not None:
                    for bound in change.leaving():
                        bound.let_in()
                    await self._roll_back(took, old)
                    raise PushRefused(f"worker {slot.index} {_sentence(result)}")

        if self.is_draining:
            raise PushRefused(ENDS)

    def _bypass(self) -> None:
        """A worker has come to its end in a filter: the others need not try it."""
        if self.ground.live is None:
            return
        rows = self.ground.suspects.bypassed(self.ground.live.filter_names)
        for worker in self.processes:
            if worker.is_alive and worker.version:
                worker.bypass(rows)

    def _learn_names(self, snapshot: Snapshot) -> None:
        self.ground.names.learn(snapshot.cluster_names, ((spec.id, spec.direction) for spec in snapshot.listeners))

    async def _push_one(self, slot: Slot, snapshot: Snapshot,
                        socket_of: Callable[[ListenerSpec, int], int]) -> None:
        if slot.current is not None:
            await slot.current.push(snapshot, lambda spec: socket_of(spec, slot.index))

    async def _roll_back(self, took: list[Slot], old: Snapshot) -> None:
        results = await asyncio.gather(*(self._push_one(slot, old, self.ground.sockets.socket_of) for slot in took),
                                       return_exceptions=True)
        for slot, result in zip(took, results, strict=True):
            if result is not None and slot.current is not None:
                # It cannot go back: its successor begins with the right one.
                self.ground.journal.error(f"worker {slot.index} {_sentence(result)} on its way back; it is replaced")
                slot.current.kill()

    def adopt(self, new: Snapshot, change: Change) -> None:
        """The snapshot is live: sockets follow, and workers that come up from now on get it."""
        # New slots' sockets exist already but nobody accepts there yet.
        change.commit(new.listeners)
        self.ground.live = new
        for slot in self.slots:
            slot.catch_up()
        self._resize(new.process.workers, new.process.drain_timeout_ms)
        self.steer()

    def _resize(self, count: int, grace_ms: int) -> None:
        while len(self.slots) < count:
            slot = Slot(len(self.slots), self.ground)
            self.slots.append(slot)
            slot.keep()
        leaving = self.slots[count:]
        del self.slots[count:]
        self.retired += leaving
        if leaving:
            task = asyncio.get_running_loop().create_task(self._retire(leaving, grace_ms))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        elif not self._retiring:
            self.ground.sockets.shrink(count)

    async def _retire(self, slots: list[Slot], grace_ms: int) -> None:
        """Let slots go that are no more in `self.slots`."""
        for slot in slots:
            slot.start_no_more()
        self.steer()
        await asyncio.sleep(SETTLE_SECONDS)
        for slot in slots:
            slot.retire(grace_ms, grace_ms)
        await self._all_gone(slots, grace_ms)
        self.retired = [slot for slot in self.retired if slot not in slots]
        # A reload may have asked for more workers again in the meantime.
        self.ground.sockets.shrink(len(self.slots))
        self.steer()

    def steer(self) -> None:
        """New connections go to slots whose worker serves; with none, they wait."""
        self.ground.sockets.steer([slot.index for slot in self.serving])

    async def replace(self, index: int) -> WorkerProcess:
        """Put a new worker into a slot. Raises WorkerFailed or Refused: then the old one stays."""
        assert self.ground.live is not None
        return await self.slots[index].replace(self.ground.live.process.drain_timeout_ms)

    async def drain(self, grace_ms: int, idle_ms: int) -> None:
        """Stop accepting, let requests in flight end, and wait until all workers are gone."""
        self.is_draining = True
        everybody = [*self.slots, *self.retired]
        for slot in everybody:
            slot.start_no_more()
        if self.serving:
            self.ground.sockets.turn_away()
            await asyncio.sleep(SETTLE_SECONDS)
        for slot in everybody:
            slot.retire(grace_ms, idle_ms)
        # Workers have their own copies until they have accepted what was waiting; then clients are refused.
        self.ground.sockets.close()
        await self._all_gone(everybody, grace_ms)

    async def _all_gone(self, slots: list[Slot], grace_ms: int) -> None:
        try:
            await within(grace_ms / 1000 + KILL_AFTER, asyncio.gather(*(slot.gone() for slot in slots)))
        except TimeoutError:
            for slot in slots:
                for worker in slot.processes:
                    self.ground.journal.error(f"worker {slot.index} did not end its drain in time; killed")
                    worker.kill()
                for hosts in slot.hosts:
                    hosts.kill()
            await asyncio.gather(*(slot.gone() for slot in slots))


def _sentence(failure: BaseException) -> str:
    if isinstance(failure, Refused):
        return f"refused the snapshot: {failure}"
    if isinstance(failure, WorkerFailed):
        return str(failure)
    return f"failed: {type(failure).__name__}: {failure}"
