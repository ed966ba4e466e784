"""The discovery host: the process that all discovery policies of a configuration run in, each in a task of its own.

Control starts it with a line to itself, the policies, and a page in which it says that it is alive. It ends when
control has closed the line, and dies with control.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import types
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from time import monotonic
from typing import Any

from fastmesh.filters import metrics
from fastmesh.filters.blob import unpack
from fastmesh.filters.discovery import Discovery, metrics_name
from fastmesh.filters.endpoint_set import WrongSet
from fastmesh.filters.endpoint_sets import EndpointSets
from fastmesh.filters.protocol import TEXT_MOST
from fastmesh.host.main import STATS_FD, CannotStart, HostProcess, enter, live, trace_of
from fastmesh.worker.filters import Filters
from fastmesh.worker.packet import Message, send

POLICIES_FD = 5
PAUSE_SECONDS = 0.02        # between two sets of one policy: one that never awaits does not keep the loop
FIRST_SECONDS = 0.5         # before a policy that failed is begun again; doubles
MOST_SECONDS = 30.0
WELL_SECONDS = 60.0         # one that lived for so long is taken to be well
CLOSE_SECONDS = 2.0         # for a generator to give back what it holds
GIVE_UP_SECONDS = 5.0       # past max_silence, for one that does not let itself be cancelled

Problem = Callable[[str, str, float], None]


class Silent(Exception):
    """A policy has yielded nothing for too long."""


class Policy:
    """One policy and the task that it runs in."""

    def __init__(self, instance: Discovery, spec: dict[str, Any], place: int, pulse: memoryview,
                 found: Callable[[bytes, int], None], problem: Problem) -> None:
        """`found` takes each good set, packed, and how many endpoints it has; `problem` a kind, a text, and how long
        until the policy is begun again, 0 when it goes on."""
        self.instance = instance
        self.max_silence: float = spec["max_silence"]
        self.allow_empty: bool = spec["allow_empty"]
        self.place = place
        self.pulse = pulse
        self.is_over = False
        self._found = found
        self._problem = problem
        self._sets = EndpointSets()
        self._name = type(instance).__name__

    async def run(self) -> None:
        """Until it is cancelled."""
        failures = 0
        while True:
            begun = monotonic()
            try:
                await self._once()
                kind, text = "ended", (f"{self._name}.endpoints has ended: a policy goes on for ever, in a loop with "
                                       "an await in it")
            except Silent:
                kind, text = "silent", f"it has yielded nothing for {self.max_silence:g} s"
            except asyncio.CancelledError as cancelled:
                if self.is_over:
                    raise
                kind, text = "raised", trace_of(cancelled)
            except BaseException as error:      # also SystemExit: a policy does not end the others
                kind, text = "raised", trace_of(error)
            failures = 1 if monotonic() - begun >= WELL_SECONDS else failures + 1
            wait = min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(failures - 1, 20))
            self._problem(kind, text, wait)
            await asyncio.sleep(wait)

    async def _once(self) -> None:
        """One generator, to its end."""
        generator = self.instance.endpoints()
        loop = asyncio.get_running_loop()
        try:
            while True:
                last = loop.call_later(self.max_silence + GIVE_UP_SECONDS, self._give_up) if self.max_silence else None
                try:
                    async with asyncio.timeout(self.max_silence or None) as limit:
                        yielded = await self._marked(anext(generator))
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if limit.expired():
                        raise Silent from None
                    raise
                finally:
                    if last is not None:
                        last.cancel()
                self._take(yielded)
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            close = getattr(generator, "aclose", None)
            if close is not None:
                try:
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await self._marked(close())
                except Exception as error:
                    self._problem("raised", f"while it was closed: {trace_of(error)}", 0.0)

    def _take(self, yielded: object) -> None:
        self.pulse[1] = self.place + 1
        try:
            packed, count = self._sets.take(yielded)
        except WrongSet as wrong:
            self._problem("refused", f"{self._name} yielded a set that cannot be used: {wrong}", 0.0)
            return
        finally:
            self.pulse[1] = 0
        if not count and not self.allow_empty:
            self._problem("empty", f"{self._name} yielded an empty set: the endpoints that were there stay; write "
                          "allow_empty: true where a cluster may have none", 0.0)
            return
        self._found(packed, count)

    def _give_up(self) -> None:
        self._problem("silent", "it does not let itself be cancelled: the discovery host is started anew", 0.0)
        os._exit(1)

    @types.coroutine
    def _marked(self, what: Awaitable[Any]) -> Generator[Any, Any, Any]:
        """The result of `what`; while its own code runs, the page says whose it is."""
        steps: Any = what.__await__()
        pulse = self.pulse
        step, value = steps.send, None
        while True:
            pulse[1] = self.place + 1
            try:
                waits_for = step(value)
            except StopIteration as done:
                return done.value
            finally:
                pulse[1] = 0
            try:
                value = yield waits_for
                step = steps.send
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:
                step, value = steps.throw, error


class DiscoveryProcess(HostProcess):
    """One host from its start to its end."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told)
        self.policies: list[Policy] = []
        self._outbox: dict[int, tuple[bytes, int]] = {}     # the newest set of each that control has not read yet

    async def run(self) -> int:
        self.loop.set_exception_handler(self.on_loop_error)
        self.loop.add_reader(self.control.fileno(), self.on_control)
        self.beat()
        try:
            self.start()
        except CannotStart as error:
            self.tell({"op": "failed", "text": str(error)[-TEXT_MOST:]})
            return 1
        # What is there by now stays: a large set need not wait until somebody has looked through all of it.
        gc.collect()
        gc.freeze()
        self.tell({"op": "ready", "pid": os.getpid()})
        tasks = [self.loop.create_task(policy.run()) for policy in self.policies]
        await self.end.wait()
        for policy, task in zip(self.policies, tasks, strict=True):
            policy.is_over = True
            task.cancel()
        await asyncio.wait(tasks, timeout=2 * CLOSE_SECONDS)
        return 0

    def start(self) -> None:
        sys.path.extend(path for path in self.filters["paths"] if path not in sys.path)
        # Started without, its policies count for nobody.
        with contextlib.suppress(OSError):
            metrics.attach(STATS_FD)
        loader = Filters(self.tell, furnish)
        for place, (spec, where) in enumerate(zip(self.filters["policies"], self.filters["places"], strict=True)):
            try:
                instance = loader.new(spec, self.filters["files"].get(spec["fingerprint"], ""))
                self.pulse[1] = place + 1
                instance.start()
            except BaseException as error:      # also SystemExit, and whatever else a module may raise
                raise CannotStart(f"{where}: {spec['name']}: {trace_of(error)[-TEXT_MOST // 2:]}") from error
            finally:
                self.pulse[1] = 0
            instance.metrics.renew()
            self.policies.append(Policy(instance, spec, place, self.pulse, partial(self.post, place),
                                        partial(self.report, place)))

    def report(self, place: int, kind: str, text: str, wait: float) -> None:
        self.tell({"op": "problem", "policy": place, "kind": kind, "text": text[-TEXT_MOST:], "wait": wait})

    def post(self, place: int, packed: bytes, count: int) -> None:
        self._outbox[place] = packed, count
        self._send_all()

    def _send_all(self) -> None:
        try:
            while self._outbox:
                place, (packed, count) = next(iter(self._outbox.items()))
                self._send_set({"op": "endpoints", "policy": place, "size": len(packed), "count": count}, packed)
                del self._outbox[place]
        except BlockingIOError:
            self.loop.add_writer(self.control.fileno(), self._send_all)
            return
        except OSError:
            self._outbox.clear()        # control is gone, and this process with it
        self.loop.remove_writer(self.control.fileno())

    def _send_set(self, message: Message, packed: bytes) -> None:
        """In memory of its own: a packet has no room for it."""
        fd = os.memfd_create("fastmesh-endpoints", os.MFD_CLOEXEC)
        try:
            view = memoryview(packed)
            while view:
                view = view[os.write(fd, view):]
            send(self.control, message, (fd,))
        finally:
            os.close(fd)


def furnish(instance: object, spec: dict[str, Any]) -> None:
    """Give a policy what it calls by `self.`, besides its settings."""
    instance.metrics = metrics.Metrics(metrics_name(spec["name"]))     # type: ignore[attr-defined]


def main(argv: list[str]) -> int:
    """`argv`: where the policies begin in their descriptor, their bytes, pid of control."""
    at, size, control_pid = argv[:3]
    enter(int(control_pid), "fastmesh-find", "fastmesh-discovery", gives_way=True)
    told = unpack(os.pread(POLICIES_FD, int(size), int(at)))
    with contextlib.suppress(OSError):
        os.close(POLICIES_FD)

    async def work() -> int:
        return await DiscoveryProcess(told).run()

    live(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
