"""The processes of the demonstration: instances of three services, and a sidecar beside each service.

    caller → [shop's sidecar] → shop-1..3 → [shop's sidecar] → [catalog's sidecar] → catalog-1..3 → … → stock-1..3

Every call between two services passes two sidecars: the caller's own, on its outbound port, and the callee's, on its
inbound port, which spreads it over the instances.
"""

import asyncio
import ctypes
import json
import random
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.wire import Client, Message

INSTANCES = 3
START_SECONDS = 30.0        # for a machine that is busy with other things; else it is a second or two
STOP_SECONDS = 5.0
PATIENCE_MS = 250
PATIENCE_FACTOR = 4
HEDGE_MS = 60               # more than an answer takes of three services that are well
PR_SET_PDEATHSIG = 1

CONFIGURATION = """\
# The sidecar of {name}; written by the demonstration.
node: {{service: {name}, version: v1}}
admin: {{address: 127.0.0.1:{admin}}}
reactor: {reactor}
access_log: {{path: {log}}}
listeners:
  - name: inbound                # what others ask of {name}
    direction: inbound
    address: 127.0.0.1:{inbound}
    protocol: http
    routes:{extra}
      - match: {{prefix: /}}
        cluster: {name}
        retry: {{on: [reset, 503], attempts: 3, per_try_timeout: {patience_ms}ms}}
        hedge: {{delay: {hedge_ms}ms}}
{outbound}clusters:
  - name: {name}
    endpoints: [{instances}]
    outlier: {{base: 2s, ramp: 2s}}
{other}"""
OUTBOUND = """\
  - name: outbound               # what {name} asks of others
    address: 127.0.0.1:{port}
    protocol: http
    routes:
      - match: {{prefix: /, hosts: [{other}]}}
        cluster: {other}
        fallback:                # when there is no answer of {other}'s own
          - response: {{status: 200, content_type: application/json, body: '{{"served_by": ["no {other}"]}}'}}
"""
OTHER = """\
  - name: {other}
    endpoints: [127.0.0.1:{port}]
"""


class DemoError(Exception):
    """Something that the demonstration shows did not happen."""


def end_with_parent() -> None:
    """In a new child: whatever ends the demonstration ends its processes too."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            # A group of its own: a Ctrl-C at the terminal reaches the demonstration, which ends them in order.
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            process_group=0, preexec_fn=end_with_parent)  # noqa: PLW1509 (one thread)

    def signal(self, number: int) -> None:
        if self.process is not None and self.is_running():
            self.process.send_signal(number)

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def check_alive(self) -> None:
        if self.process is not None and not self.is_running():
            raise DemoError(f"{self.name} ended by itself (status {self.process.returncode}): see {self.log.name}")


class Sidecar(Child):
    """One `fastmesh run`, with its configuration file and its ports."""

    def __init__(self, name: str, folder: Path, instances: list[int], ports: dict[str, int],
                 reactor: str) -> None:
        self.file = folder / f"{name}.yaml"
        program = Path(sys.executable).with_name("fastmesh")
        start = [str(program)] if program.exists() else [sys.executable, "-m", "fastmesh"]
        super().__init__(f"{name}'s sidecar", [*start, "run", "-c", str(self.file)], folder / f"{name}-sidecar.log")
        self.service = name
        self.instances = instances
        self.ports = ports
        self.reactor = reactor
        self.other: tuple[str, int] | None = None  # whom this service asks, and the inbound port of its sidecar
        self.access_log = folder / f"{name}-access.log"
        self.patience_ms = PATIENCE_MS      # for an attempt

    def write_configuration(self, extra: str = "", weights: list[int] | None = None) -> None:
        weighted = zip(self.instances, weights or [1] * len(self.instances), strict=True)
        outbound = other = ""
        if self.other:
            outbound = OUTBOUND.format(name=self.service, port=self.ports["outbound"], other=self.other[0])
            other = OTHER.format(other=self.other[0], port=self.other[1])
        self.file.write_text(CONFIGURATION.format(
            name=self.service, admin=self.ports["admin"], reactor=self.reactor, inbound=self.ports["inbound"],
            log=self.access_log, patience_ms=self.patience_ms, hedge_ms=HEDGE_MS, extra=extra and f"\n{extra}",
            outbound=outbound, other=other,
            instances=", ".join(f"{{address: 127.0.0.1:{port}, weight: {w}}}" for port, w in weighted)))

    async def admin(self, path: str, method: str = "GET") -> Message:
        client = Client(self.ports["admin"])
        try:
            async with asyncio.timeout(5):
                return await client.request(path, "localhost", method)
        finally:
            client.close()

    async def admin_json(self, path: str, method: str = "GET") -> Any:
        answer = await self.admin(path, method)
        if answer.status >= 300:
            raise DemoError(f"{self.name}: {method} {path}: {answer.first}: {answer.body.decode(errors='replace')}")
        return json.loads(answer.body)

    def address_of(self, instance: int) -> str:
        """Of one of its instances, counted from 1."""
        return f"127.0.0.1:{self.instances[instance - 1]}"

    async def has_told(self, what: str, endpoint: str, times: int = 1) -> bool:
        """That so often has happened to an endpoint."""
        events: list[dict[str, Any]] = await self.admin_json("/events")
        return len([event for event in events if event["what"] == what and event.get("endpoint") == endpoint]) >= times

    async def worker_pid(self) -> int:
        return int((await self.admin_json("/workers"))[0]["pid"])

    def memory_mib(self) -> float:
        """Of the process and its descendants, what they share counted once (PSS)."""
        waiting, kib = [self.process.pid] if self.process else [], 0
        for pid in waiting:
            kib += int(re.findall(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[0])
            waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return kib / 1024


class Mesh:
    """Everything that runs."""

    def __init__(self, folder: Path, names: list[str], reactor: str) -> None:
        ports = iter(free_ports(len(names) * (INSTANCES + 3)))
        self.sidecars: dict[str, Sidecar] = {}
        self.instances: dict[str, Child] = {}
        for name in reversed(names):  # a service is described after the one that it asks
            below = next(reversed(self.sidecars.values()), None)
            instance_ports = [next(ports) for _ in range(INSTANCES)]
            own = {use: next(ports) for use in ("inbound", "outbound", "admin")}
            sidecar = Sidecar(name, folder, instance_ports, own, reactor)
            if below:
                sidecar.other = (below.service, below.ports["inbound"])
                # Who asks waits longer than whom it asks, who may need several attempts.
                sidecar.patience_ms = PATIENCE_FACTOR * below.patience_ms
            sidecar.write_configuration()
            self.sidecars[name] = sidecar
            for number, port in enumerate(instance_ports, 1):
                command = [sys.executable, "-m", "demo.service", "--name", name, "--instance", str(number),
                           "--port", str(port)]
                if below:
                    command += ["--next", f"{below.service}:{sidecar.ports['outbound']}"]
                child = Child(f"{name}-{number}", command, folder / f"{name}-{number}.log")
                self.instances[child.name] = child
        self.sidecars = {name: self.sidecars[name] for name in names}
        self.instances = {f"{name}-{n}": self.instances[f"{name}-{n}"]
                          for name in names for n in range(1, INSTANCES + 1)}

    async def start(self) -> None:
        for child in self.instances.values():
            child.start()
        for sidecar in self.sidecars.values():
            sidecar.start()
        for sidecar in self.sidecars.values():
            for port, child in zip(sidecar.instances, self.instances_of(sidecar.service), strict=True):
                await until(lambda port=port: is_open(port), f"{child.name} listens on port {port}", child)
            await until(lambda sidecar=sidecar: is_ready(sidecar), f"{sidecar.name} is ready", sidecar)
        # Somebody else may have answered at a port of theirs.
        for one in (*self.instances.values(), *self.sidecars.values()):
            one.check_alive()

    def instances_of(self, service: str) -> list[Child]:
        return [self.instances[f"{service}-{n}"] for n in range(1, INSTANCES + 1)]

    def ended(self) -> list[str]:
        """Who was started and runs no more."""
        return [one.name for one in (*self.sidecars.values(), *self.instances.values())
                if one.process is not None and not one.is_running()]

    def stop(self) -> list[str]:
        """End everything; returns what had to be forced."""
        children = [*self.sidecars.values(), *self.instances.values()]
        for child in children:
            child.signal(signal.SIGTERM)
        forced = []
        for child in children:
            try:
                if child.process is not None:
                    child.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                forced.append(child.name)
        return forced


def free_ports(n: int) -> list[int]:
    """Ports that nobody uses, from outside the range that the kernel gives to outgoing connections.

    From within it, one could be taken between here and the start of whom it is meant for.
    """
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    outside = [*range(10_000, low), *range(high + 1, 65_536)] or [0] * n
    start = random.randrange(len(outside))
    held: list[socket.socket] = []
    try:
        for port in (*outside[start:], *outside[:start]):
            try:
                held.append(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            if len(held) == n:
                return [s.getsockname()[1] for s in held]
    finally:
        for s in held:
            s.close()
    raise DemoError(f"there are no {n} free ports")


async def is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def is_ready(sidecar: Sidecar) -> bool:
    try:
        return (await sidecar.admin("/ready")).status == 200
    except (OSError, EOFError, ValueError):
        return False


async def until(condition: Any, what: str, child: Child | None = None, seconds: float = START_SECONDS,
                pause: float = 0.05) -> None:
    """Wait for an asynchronous condition; DemoError when it does not come true in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not await condition():
        if child is not None:
            child.check_alive()
        if loop.time() > end:
            raise DemoError(f"this did not happen in {seconds:g} s: {what}")
        await asyncio.sleep(pause)
