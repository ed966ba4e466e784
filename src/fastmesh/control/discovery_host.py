"""The process that the discovery policies of a snapshot run in, as control knows it, and what it says."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple, Protocol

from fastmesh.control.host import Host
from fastmesh.control.snapshot import DiscoverySpec, Snapshot
from fastmesh.observe.stats import StatsFile
from fastmesh.worker.packet import Message

PATIENCE = 10.0             # seconds that its loop may stand still
SET_MOST = 16 << 20         # bytes of a set: 65,536 endpoints take at most 8 MiB
SETS_MOST = 64 << 20        # of all that wait


class FoundSet(NamedTuple):
    """What a policy has yielded, packed and not looked into."""

    packed: bytes
    may_be_empty: bool
    at: float               # monotonic, when it came


@dataclass(slots=True)
class Policies:
    """Those of a snapshot, as the host reads them: a descriptor of our own, where they begin in it, their bytes."""

    fd: int
    at: int
    size: int
    specs: tuple[DiscoverySpec, ...]

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Policies":
        return cls(os.dup(snapshot.fd), snapshot.size + snapshot.filters_size, snapshot.discovery_size,
                   snapshot.discoveries)

    def are_those_of(self, snapshot: Snapshot) -> bool:
        at = snapshot.size + snapshot.filters_size
        return self.size == snapshot.discovery_size and (
            os.pread(self.fd, self.size, self.at) == os.pread(snapshot.fd, self.size, at))

    def close(self) -> None:
        os.close(self.fd)


class Keeper(Protocol):
    """Who is told what a host says."""

    def on_set(self, host: "DiscoveryHost", spec: DiscoverySpec) -> None: ...
    def on_problem(self, host: "DiscoveryHost", spec: DiscoverySpec, kind: str, text: str, wait: float) -> None: ...
    def on_log(self, message: Message) -> None: ...
    def on_death(self, host: "DiscoveryHost") -> None: ...


class DiscoveryHost(Host):
    """A host from its start to its death. The newest set of each policy waits in `sets` until somebody takes it."""

    noun = "the policy of cluster"
    advice = "A policy that blocks holds up all others: let it use asyncio, or asyncio.to_thread"

    def __init__(self, paths: Sequence[str], policies: Policies, keeper: Keeper, stats: StatsFile) -> None:
        """Start the process. `stats`: where its policies count. Raises OSError."""
        self.policies = policies
        self.sets: dict[str, FoundSet] = {}         # cluster → what came last
        self.stats = stats
        self._keeper = keeper
        super().__init__("fastmesh.host.discovery", paths, (policies.at, policies.size), {5: policies.fd, 8: stats.fd},
                         [spec.cluster for spec in policies.specs], PATIENCE)

    def end(self) -> None:
        """Let its policies give back what they hold; it is gone soon."""
        self._hang_up()

    def _take(self, message: Message, fds: list[int]) -> None:
        op, place = message["op"], message.get("policy")
        if op == "event":
            self._keeper.on_log(message)
        if not isinstance(place, int) or not 0 <= place < len(self.policies.specs):
            return
        spec = self.policies.specs[place]
        if op == "endpoints" and len(fds) == 1:
            self._take_set(spec, message.get("size"), fds[0])
        elif op == "problem":
            wait = message.get("wait", 0.0)
            self._keeper.on_problem(self, spec, str(message.get("kind", "")), str(message.get("text", "")),
                                    wait if isinstance(wait, float) else 0.0)

    def _take_set(self, spec: DiscoverySpec, size: object, fd: int) -> None:
        waiting = sum(len(one.packed) for cluster, one in self.sets.items() if cluster != spec.cluster)
        if not isinstance(size, int) or not 0 <= size <= SET_MOST or os.fstat(fd).st_size != size or (
                waiting + size > SETS_MOST):
            self._keeper.on_problem(
                self, spec, "refused", f"a set of {size!r} bytes: at most {SET_MOST >> 20} MiB are taken, and "
                f"{SETS_MOST >> 20} MiB of all that wait", 0.0)
            return
        self.sets[spec.cluster] = FoundSet(os.pread(fd, size, 0), spec.allow_empty, monotonic())
        self._keeper.on_set(self, spec)

    def _gone(self) -> None:
        self.stats.is_taken = False
        self._keeper.on_death(self)
