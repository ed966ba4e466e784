"""Runs the demonstration and says what the caller noticed. Exit status 0: nothing."""

import argparse
import asyncio
import contextlib
import fcntl
import io
import itertools
import os
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

from demo.caller import Caller
from demo.display import GREEN, RED, Display
from demo.mesh import INSTANCES, DemoError, Mesh, Sidecar, is_open, until
from demo.metrics import Figures, Hop, read_totals

SERVICES = ["shop", "catalog", "stock"]
VICTIM = "catalog-2"
FROZEN = ("stock", 3)
SLOW = ("catalog", 3)
FAILING = ("shop", 1)
OFFER = """\
      - match: {path: /offer}
        response: {status: 200, body: "three for two\\n"}"""
NOTICED_SHOWN = 10
TROUBLE_SECONDS = 2.0
OWN_FOLDER = Path("build/demo")
LOCK = ".in-use"


class Demo:
    def __init__(self, args: argparse.Namespace, display: Display) -> None:
        self.pace = args.seconds
        self.display = display
        self.mesh = Mesh(args.logs, SERVICES, args.reactor)
        self.caller = Caller(self.mesh.sidecars["shop"].ports["inbound"], args.rate)
        # Each sidecar has a cluster of its own instances, and one of the service that is asked next.
        self.hops = {(name, cluster): Hop() for name, sidecar in self.mesh.sidecars.items()
                     for cluster in (name, *([sidecar.other[0]] if sidecar.other else []))}

    # --- what is shown all the time ---

    def figures(self) -> list[tuple[str, Figures]]:
        rows = [("caller → [shop]", Figures(*self.caller.recent()))]
        rows += [(f"[{name}] → {cluster}-1..{INSTANCES}" if cluster == name else f"[{name}] → [{cluster}]",
                  hop.figures()) for (name, cluster), hop in self.hops.items()]
        return rows

    def instances_up(self) -> dict[str, list[bool]]:
        return {name: [child.is_running() for child in self.mesh.instances_of(name)] for name in SERVICES}

    async def watch(self) -> None:
        while True:
            for name, sidecar in self.mesh.sidecars.items():
                totals = read_totals((await sidecar.admin("/metrics")).body.decode())
                for (owner, cluster), hop in self.hops.items():
                    if owner == name:
                        hop.add(totals[cluster])
            self.display.draw(self.figures(), self.instances_up())
            await asyncio.sleep(0.4)

    # --- the steps ---

    async def run(self) -> None:
        say, step, caller = self.display.say, self.display.step, self.caller
        say(f"three services, {INSTANCES} instances of each, and a sidecar beside each service: [in brackets]")
        say("  caller → [shop] → shop-1..3 → [shop] → [catalog] → catalog-1..3 → [catalog] → [stock] → stock-1..3")
        step(f"starting {len(self.mesh.instances)} instances and {len(SERVICES)} sidecars")
        await self.mesh.start()
        finished = asyncio.Event()
        calling, watching = asyncio.create_task(caller.run(finished)), asyncio.create_task(self.watch())
        steps, trouble = asyncio.create_task(self.steps()), asyncio.create_task(self.trouble())
        tasks = (calling, watching, steps, trouble)
        try:
            # Whichever ends or fails first ends the demonstration.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            finished.set()
            await calling
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def trouble(self) -> None:
        """Ends when the caller has noticed something, and has had time to notice more of it."""
        await self.caller.has_noticed.wait()
        self.display.say("the caller noticed something; there are no further steps", RED)
        await asyncio.sleep(TROUBLE_SECONDS)

    async def steps(self) -> None:
        step = self.display.step
        step(f"traffic: {self.caller.rate:.0f} requests a second, each asks shop, which asks catalog, which asks stock")
        await asyncio.sleep(self.pace)
        await until(lambda: self.has_served([*self.mesh.instances]), "every instance has answered")
        await self.kill_and_bring_back()
        await self.freeze()
        await self.slow_down()
        await self.fail_half()
        await self.cut_off()
        await self.reload(self.mesh.sidecars["shop"])
        await self.replace_worker(self.mesh.sidecars["catalog"])
        step("enough: the caller waits for its last answers, then everything is ended")

    async def has_served(self, names: list[str], since: dict[str, int] | None = None) -> bool:
        return all(self.caller.record.served_by[name] > (since or {}).get(name, 0) for name in names)

    async def kill_and_bring_back(self) -> None:
        victim, hop = self.mesh.instances[VICTIM], self.hops["catalog", "catalog"]
        before = hop.last.retries
        victim.kill()
        self.display.step(f"killed {VICTIM} with SIGKILL, whatever it was doing")
        await asyncio.sleep(self.pace)
        self.display.say(f"  catalog's sidecar tried {hop.last.retries - before:.0f} requests again at other instances")
        victim.start()
        sidecar = self.mesh.sidecars["catalog"]
        await until(lambda: is_open(sidecar.instances[1]), f"{VICTIM} listens again", victim)
        since, again = dict(self.caller.record.served_by), time.monotonic()
        await until(lambda: self.has_served([VICTIM], since), f"{VICTIM} is given requests again")
        self.display.step(f"brought {VICTIM} back: given requests again after {time.monotonic() - again:.1f} s")
        await asyncio.sleep(self.pace)

    async def freeze(self) -> None:
        service, number = FROZEN
        frozen, sidecar = self.mesh.instances[f"{service}-{number}"], self.mesh.sidecars[service]
        hop = self.hops[service, service]
        address, before, begun = sidecar.address_of(number), hop.last.retries, time.monotonic()
        frozen.signal(signal.SIGSTOP)
        self.display.step(f"froze {frozen.name} with SIGSTOP: it takes connections, and answers nothing")
        await until(lambda: sidecar.has_told("ejected", address), f"{frozen.name} is ejected")
        ejected = time.monotonic() - begun
        await asyncio.sleep(self.pace)
        self.display.say(f"  ejected after {ejected:.1f} s; {service}'s sidecar tried {hop.last.retries - before:.0f} "
                         "requests again at other instances")
        frozen.signal(signal.SIGCONT)
        since, again = dict(self.caller.record.served_by), time.monotonic()
        await until(lambda: sidecar.has_told("recovered", address), f"{frozen.name} is in again")
        await until(lambda: self.has_served([frozen.name], since), f"{frozen.name} is given requests again")
        self.display.step(f"thawed {frozen.name}: one request asked whether it is well, and it was in again after "
                          f"{time.monotonic() - again:.1f} s")
        await asyncio.sleep(self.pace)

    async def slow_down(self) -> None:
        service, number = SLOW
        slow = self.mesh.instances[f"{service}-{number}"]
        before, hop = dict(self.caller.record.served_by), self.hops[service, service]
        hedges = hop.last.hedges
        slow.signal(signal.SIGUSR1)
        self.display.step(f"slowed {slow.name} down: it needs 100 ms for what takes the others 4 ms")
        await asyncio.sleep(self.pace)
        served = {child.name: self.caller.record.served_by[child.name] - before.get(child.name, 0)
                  for child in self.mesh.instances_of(service)}
        share = served[slow.name] / max(1, sum(served.values()))
        self.display.say(f"  it was given {share:.0%} of the requests: who has fewer under way is asked more often; "
                         f"{hop.last.hedges - hedges:.0f} requests went to a second instance beside it")
        slow.signal(signal.SIGUSR1)

    async def fail_half(self) -> None:
        service, number = FAILING
        failing, hop = self.mesh.instances[f"{service}-{number}"], self.hops[service, service]
        before = hop.last.retries
        failing.signal(signal.SIGUSR2)
        self.display.step(f"{failing.name} fails half of its requests with 503")
        await asyncio.sleep(self.pace)
        self.display.say(f"  {service}'s sidecar tried {hop.last.retries - before:.0f} requests again")
        failing.signal(signal.SIGUSR2)
        await asyncio.sleep(self.pace)

    async def cut_off(self) -> None:
        service = SERVICES[-1]
        instances, record = self.mesh.instances_of(service), self.caller.record
        before = record.degraded
        for child in instances:
            child.kill()
        self.display.step(f"cut {service} off: all of its instances are killed")
        await until(self.is_degraded, f"answers are made without {service}")
        await asyncio.sleep(self.pace)
        self.display.say(f"  {record.degraded - before} answers were made without it, by the fallback of "
                         f"{SERVICES[-2]}'s sidecar, and say so in x-fastmesh-degraded")
        for child, port in zip(instances, self.mesh.sidecars[service].instances, strict=True):
            child.start()
            await until(lambda port=port: is_open(port), f"{child.name} listens again", child)
        since, again = dict(record.served_by), time.monotonic()
        await until(lambda: self.has_served([child.name for child in instances], since),
                    f"every instance of {service} has answered")
        self.display.step(f"brought {service} back: whole answers again, of every instance after "
                          f"{time.monotonic() - again:.1f} s")
        await asyncio.sleep(self.pace)

    async def is_degraded(self) -> bool:
        return self.caller.record.degraded > 0

    async def reload(self, sidecar: Sidecar) -> None:
        before = await self.caller.client.request("/offer", "shop")
        if before.status != 404:
            raise DemoError(f"before the reload, /offer was answered with {before.first}")
        sidecar.write_configuration(extra=OFFER, weights=[2, 1, 1])
        sidecar.signal(signal.SIGHUP)
        asked = time.monotonic()

        async def is_live() -> bool:
            return (await self.caller.client.request("/offer", "shop")).status == 200

        await until(is_live, "the new route is live", pause=0.005)
        self.display.step("reloaded shop's sidecar with SIGHUP: a new route and other weights, "
                          f"live after {(time.monotonic() - asked) * 1000:.0f} ms")
        await asyncio.sleep(self.pace)

    async def replace_worker(self, sidecar: Sidecar) -> None:
        old = await sidecar.worker_pid()
        await sidecar.admin_json("/workers/0/replace", "POST")

        async def is_gone() -> bool:
            return await sidecar.worker_pid() != old and not Path(f"/proc/{old}").exists()

        await until(is_gone, "the old worker has drained and gone")
        self.display.step(f"replaced the worker of {sidecar.name}: "
                          f"process {await sidecar.worker_pid()} took over, {old} answered what it had and went")
        await asyncio.sleep(self.pace)


def report(demo: Demo) -> int:
    record, say = demo.caller.record, demo.display.say
    say("")
    say(f"the caller sent {record.sent} requests: {record.answered} right answers, {len(record.noticed)} failures, "
        f"slowest {record.slowest_ms:.0f} ms")
    say(f"  {record.degraded} of the right answers were made without one of the services, and said so")
    totals = [hop.last for hop in demo.hops.values()]
    say(f"  the sidecars made {sum(t.retries for t in totals):.0f} further attempts and "
        f"{sum(t.hedges for t in totals):.0f} beside the first, and ejected {sum(t.ejections for t in totals):.0f} "
        "instances")
    for service in SERVICES:
        served = ", ".join(f"{child.name} {record.served_by[child.name]}" for child in demo.mesh.instances_of(service))
        say(f"  answered by {served}")
    memory = ", ".join(f"{sidecar.memory_mib():.0f}" for sidecar in demo.mesh.sidecars.values())
    say(f"memory of the three sidecars, control process and worker together: {memory} MiB")
    for line in record.noticed[:NOTICED_SHOWN]:
        say(f"  {line}", RED)
    if record.noticed:
        say(f"what the caller noticed: {len(record.noticed)} requests went wrong", RED)
        return 1
    if not record.answered or record.sent != record.answered:
        say(f"of {record.sent} requests only {record.answered} are accounted for", RED)
        return 1
    say("what the caller noticed: nothing" + (", but answers that said that something was missing"
                                              if record.degraded else ""), GREEN)
    return 0


def show_logs(folder: Path) -> None:
    for log in sorted(folder.glob("*.log")):
        tail = log.read_text(errors="replace").splitlines()[-5:] if "access" not in log.name else []
        if tail:
            print(f"--- {log}", *tail, sep="\n", file=sys.stderr)


async def run(args: argparse.Namespace) -> int:
    display = Display(args.plain)
    demo = Demo(args, display)
    work = asyncio.ensure_future(demo.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    status = 1
    try:
        await work
        status = report(demo)
    except asyncio.CancelledError:
        display.say("interrupted")
        status = 130
    except (DemoError, OSError, EOFError, ValueError, TimeoutError) as error:
        display.say(f"failed: {error or type(error).__name__}", RED)
        if gone := demo.mesh.ended():
            display.say(f"ended by themselves: {', '.join(gone)}", RED)
    finally:
        if forced := demo.mesh.stop():
            display.say(f"did not end by themselves when asked: {', '.join(forced)}", RED)
            status = status or 1
    if status == 1:
        show_logs(args.logs)
    display.say(f"configurations and logs of this run: {os.path.relpath(args.logs)}")
    return status


def claim(folder: Path) -> tuple[Path, TextIO]:
    """A folder that no other demonstration uses, emptied of what an earlier one left; held by the open file."""
    for number in itertools.count(1):
        ours = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        ours.mkdir(parents=True, exist_ok=True)
        # One look, for another demonstration may be making its files just now, of which the lock is the first.
        there = os.listdir(ours)
        if folder != OWN_FOLDER.resolve() and there and LOCK not in there:
            raise DemoError(f"{ours} holds other files; name a folder that is new or empty")
        lock = (ours / LOCK).open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        for old in (*ours.glob("*.log"), *ours.glob("*.yaml")):
            old.unlink()
        return ours, lock
    raise AssertionError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second (%(default)g)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to look at each step (%(default)g)")
    parser.add_argument("--reactor", default="auto", choices=["auto", "io_uring", "epoll"], help="of the sidecars")
    parser.add_argument("--plain", action="store_true", help="lines instead of a table, also at a terminal")
    parser.add_argument("--logs", type=Path, default=OWN_FOLDER,
                        help="folder of logs and files (%(default)s, or the next that is free)")
    args = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")    # arrows, where the terminal has none
    try:
        args.logs, lock = claim(args.logs.resolve())
    except (DemoError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    with lock, contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(run(args))
    return 130


if __name__ == "__main__":
    sys.exit(main())
