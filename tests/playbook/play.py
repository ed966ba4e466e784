"""What a test of streams says, and what it is told: the words of the playbook.

A `Play` is one worker on a kernel of probes/playbook: its clients and upstreams are the test. What a client or an
upstream does is followed by as many turns as it takes until nothing is left to do; time does not pass meanwhile.
`with play.batch():` makes several things happen before the next turn instead, in their order.

All `expect_…` consume what they have seen, and fail with the whole course of events.
"""

import gc
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from fastmesh._core.filter.chain import PHASES, Slot, Table
from fastmesh._core.mem.counter import FLAGS
from fastmesh._core.play.stage import left
from fastmesh._core.worker import DRAINED, SnapshotRefused, Worker
from fastmesh.filters.filter import Filter
from fastmesh.observe.families import RETRIED_FOR
from fastmesh.snapshot.endpoint import note_of
from probes import mem_probe, wire
from probes.playbook import END, CompletionKernel, Kernel, Socket

SECOND = 10**9
TICK_NS = 1 << 22
ECONNREFUSED, ECONNRESET, ETIMEDOUT = 111, 104, 110
UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
LIMITS = ("head_bytes", "line_bytes", "fields", "header_timeout", "body_timeout", "idle_timeout", "tcp_idle",
          "request_timeout", "linger", "max_requests_per_connection", "max_connections", "buffer_bytes",
          "stream_idle")
CLUSTER = ("connect_timeout", "idle_timeout", "max_connections", "max_pending", "max_requests",
           "max_requests_per_connection", "max_connect_attempts", "avoid_base", "avoid_max", "pending_timeout")
# Makes the first round robin of a worker begin at the first endpoint, of two or of three.
SEED = 6
TURNS_MOST = 400
LEAVE_MOST = 30


def ns(time: str | int) -> int:
    """Nanoseconds of "250ms"."""
    if isinstance(time, int):
        return time
    found = re.fullmatch(r"([\d.]+)([a-z]+)", time)
    assert found, time
    return round(float(found[1]) * UNITS[found[2]])


@dataclass
class Message:
    """A head and a body, taken apart by nothing that the core has a part in."""
    line: str
    fields: list[tuple[str, str]]
    body: bytes
    trailers: list[tuple[str, str]] = field(default_factory=list)
    is_chunked: bool = False

    @property
    def status(self) -> int:
        return int(self.line.split(" ")[1])

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name]

    def __getitem__(self, name: str) -> str | None:
        found = self.all(name)
        assert len(found) < 2, f"{name} stands there {len(found)} times"
        return found[0] if found else None


class Incomplete(Exception):
    """There is no whole message yet."""


def take_fields(block: bytes) -> list[tuple[str, str]]:
    pairs = (line.split(b":", 1) for line in block.split(b"\r\n") if line)
    return [(name.decode("latin-1").lower(), value.strip().decode("latin-1")) for name, value in pairs]


def take_message(data: bytes, *, is_over: bool, has_body: bool = True) -> tuple[Message, int]:
    """The first message of `data` and how long it is. `is_over`: the connection has ended behind `data`."""
    head, empty, _ = data.partition(b"\r\n\r\n")
    if not empty:
        raise Incomplete
    line, _, rest = head.partition(b"\r\n")
    made = Message(line.decode("latin-1"), take_fields(rest), b"")
    at = len(head) + 4
    is_answer = line.startswith(b"HTTP/")
    if not has_body or (is_answer and (made.status < 200 or made.status in (204, 304))):
        return made, at
    if made["transfer-encoding"] is not None:
        assert made["transfer-encoding"] == "chunked" and made["content-length"] is None, made
        made.is_chunked = True
        while True:
            size, found, _ = data[at:].partition(b"\r\n")
            if not found:
                raise Incomplete
            n = int(size, 16)
            at += len(size) + 2
            if n == 0:
                break
            if len(data) < at + n + 2:
                raise Incomplete
            assert data[at + n:at + n + 2] == b"\r\n", data[at:at + n + 20]
            made.body += data[at:at + n]
            at += n + 2
        end = 0 if data[at:at + 2] == b"\r\n" else data[at:].find(b"\r\n\r\n") + 2
        if end == 1 or len(data) < at + end + 2:
            raise Incomplete
        made.trailers = take_fields(data[at:at + end])
        return made, at + end + 2
    if made["content-length"] is not None:
        n = int(made["content-length"])
        if len(data) < at + n:
            raise Incomplete
        made.body = data[at:at + n]
        return made, at + n
    if is_answer:
        if not is_over:
            raise Incomplete
        made.body = data[at:]
        return made, len(data)
    return made, at


def undated(data: bytes) -> bytes:
    """Without the Date that the proxy has added, the one thing that comes from the real clock."""
    return re.sub(rb"date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", b"", data)


class Peer:
    """Who is at the other end of a socket of the proxy's."""

    def __init__(self, play: "Play", socket: Socket) -> None:
        self.play = play
        self.socket = socket

    def __repr__(self) -> str:
        return repr(self.socket)

    # --- what it does ----------------------------------------------------------------------------

    def sends(self, *pieces: bytes) -> None:
        """Each piece arrives by itself."""
        self.socket.sends(*pieces)
        self.play.settle()

    def closes(self) -> None:
        self.socket.sends(END)
        self.play.settle()

    def resets(self) -> None:
        self.socket.sends(ECONNRESET)
        self.play.settle()

    def stops_reading(self, after: int = 0) -> None:
        """The proxy can send it so many bytes more."""
        self.socket.room = after

    def reads(self, n: int | None = None) -> None:
        """Takes n bytes more; all from now on when none is given."""
        self.socket.reads(n)
        self.play.settle()

    # --- what it sees ----------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        return bool(self.socket.is_closed)

    @property
    def unseen(self) -> bytes:
        return undated(bytes(self.socket.wire[self.socket.seen:]))

    def expect(self, what: bytes | None = None, *, startswith: bytes | None = None) -> bytes:
        """Exactly these bytes and no more, or any that begin so."""
        got = self.unseen
        if what is not None:
            self.play.check(got == what, f"{self} was sent\n  {got!r}\ninstead of\n  {what!r}")
        if startswith is not None:
            self.play.check(got.startswith(startswith),
                            f"{self} was sent\n  {got!r}\nwhich does not begin with\n  {startswith!r}")
        self.socket.seen = len(self.socket.wire)
        return got

    def expect_nothing(self) -> None:
        self.expect(b"")
        self.play.check(not self.is_closed, f"{self} is closed")

    def expect_message(self, has_body: bool = True) -> Message:
        data = bytes(self.socket.wire[self.socket.seen:])
        try:
            made, n = take_message(data, is_over=self.is_closed or self.socket.is_shut, has_body=has_body)
        except Incomplete:
            self.play.fail(f"{self} has no whole message: {data!r}")
        self.socket.seen += n
        return made

    def expect_closed(self, *, reset: bool = False) -> None:
        self.play.check(self.is_closed, f"{self} is still open")
        self.play.check(self.socket.was_reset == reset, f"{self} was {'not ' if reset else ''}closed with RST")
        self.play.check(not self.unseen, f"{self} was sent {self.unseen!r} besides")

    def expect_shut(self) -> None:
        """Half-closed: the proxy says no more and listens on."""
        self.play.check(not self.is_closed and self.socket.is_shut, f"{self} is not half-closed")

    def expect_open(self) -> None:
        self.play.check(not self.is_closed and not self.socket.is_shut, f"{self} is closed")


class Client(Peer):
    def expect_answer(self, status: int | None = None, body: bytes | None = None, *, has_body: bool = True) -> Message:
        made = self.expect_message(has_body)
        if status is not None:
            self.play.check(made.status == status, f"{self} was answered {made.line!r} {made.body!r}, not {status}")
        if body is not None:
            self.play.check(made.body == body, f"{self} got the body {made.body!r}, not {body!r}")
        return made


class Upstream(Peer):
    def connected(self) -> "Upstream":
        self.socket.connect_done(0)
        self.play.settle()
        return self

    def refused(self, err: int = ECONNREFUSED) -> None:
        self.socket.connect_done(err)
        self.play.settle()

    def expect_request(self, startswith: str = "") -> Message:
        made = self.expect_message()
        self.play.check(made.line.startswith(startswith), f"{self} was asked {made.line!r}, not {startswith!r}")
        return made

    def answers(self, status: int = 200, body: bytes = b"", fields: Iterable[str] = ()) -> None:
        lines = [f"HTTP/1.1 {status} Said", *fields, f"content-length: {len(body)}", "", ""]
        self.sends("\r\n".join(lines).encode() + body)


class Play:
    """One worker, its clients and its upstreams."""

    def __init__(self, manners: str) -> None:
        self.manners = manners
        self.before = mem_probe.alive(), left(), descriptors()
        self.stage = {"ready": Kernel, "completion": CompletionKernel}[manners]()
        self.worker: Worker | None = None
        self.version = 0
        self.log_ops: list[Any] | None = None
        self.metric_labels: list[Any] | None = None
        self.most_connections = 0
        self.limits: dict[str, Any] = dict(zip(LIMITS, wire.LIMITS, strict=True))
        self.clusters: dict[str, dict[str, Any]] = {}
        self.rows: dict[tuple[str, str], int] = {}
        self.routes: list[list[Any]] = []
        self.is_tcp = False
        self.trusted = [[4, 8, b"\x7f".ljust(16, b"\0")], [1, 0, bytes(16)]]
        self.deadlines: list[Any] = [False, False, ""]
        self.half_close = False
        self.retry: dict[str, Any] | None = None
        self.budget: list[int] = []
        self.hedge: dict[str, Any] | None = None
        self.is_gone = False          # the listener is not in the snapshot
        self.n_listeners = 1          # alike but for their numbers
        self.peers: list[Client] = []
        self.claimed: set[int] = set()
        self.ports = 40_000
        self.is_batching = False
        self.is_drained = False
        self.slots: list[Slot] = []       # filters
        self.rules: list[list[Any]] = []
        self.faults: list[list[Any]] = []
        self.mirrors: list[tuple[Any, ...]] = []
        self.chain_of_steps: list[list[Any]] = []       # of a fallback
        self.asked_by_steps: dict[int, list[Any]] = {}  # words of subsets, by the place of the step
        self.asked_by_mirrors: dict[int, list[Any]] = {}
        self.cors_rules: list[tuple[list[Any], list[int] | None]] = []
        self.chains: dict[str, list[int]] = {}
        self.reports: list[tuple[str, str, str]] = []
        self.limits_at: dict[str, list[list[Any]]] = {}     # rate limits
        self.cluster()

    # --- configuration: before the first event, or followed by apply() -----------------------------

    def cluster(self, name: str = "x", *, lb: int = wire.ROUND_ROBIN, **settings: Any) -> "Play":
        known = {"connect_timeout": "1s", "idle_timeout": "60s", "max_connections": 0, "max_pending": 1024,
                 "max_requests": 0, "max_requests_per_connection": 0, "max_connect_attempts": 3, "avoid_base": "1s",
                 "avoid_max": "30s", "pending_timeout": 0, "max_cluster_connections": 0, "max_retries": 0,
                 "max_endpoint_requests": 0, "reserve": 0}
        assert settings.keys() <= known.keys(), settings
        old = self.clusters.get(name, {"endpoints": [], "metadata": {}, "fallback": 0, **known})
        self.clusters[name] = {**old, **settings, "lb": lb}
        return self

    def endpoints(self, *names: str, cluster: str = "x") -> "Play":
        """Their addresses follow from their first letters: "a" is 10.0.0.1:80."""
        self.clusters[cluster]["endpoints"] = list(names)
        return self

    def splits(self, cluster: str = "x", fallback: str = "any", **metadata: dict[str, str]) -> "Play":
        """The cluster has a subset for each set of names that its endpoints have."""
        self.clusters[cluster].update(metadata=metadata, fallback=("any", "none").index(fallback))
        return self

    def listener(self, **limits: Any) -> "Play":
        assert limits.keys() <= set(LIMITS), limits
        self.limits.update(limits)
        return self

    def deadline(self, *, read: bool = True, send: bool = True, header: str = "") -> "Play":
        self.deadlines = [read, send, header]
        return self

    def tcp(self) -> "Play":
        self.is_tcp = True
        return self

    def route(self, path: str = "/", *, to: str = "x", timeout: str | int = 0, **options: Any) -> "Play":
        index = -1 if "status" in options else list(self.clusters).index(to)
        self.routes.append(wire.route(path, cluster=index, timeout=ns(timeout), **options))
        return self

    def retrying(self, **rule: Any) -> "Play":
        """All routes have this rule: as probes/wire.retry."""
        self.retry = {key: ns(value) if isinstance(value, str) else value for key, value in rule.items()}
        return self

    def hedging(self, **rule: Any) -> "Play":
        """All routes have this rule: as probes/wire.hedge."""
        self.hedge = {key: ns(value) if isinstance(value, str) else value for key, value in rule.items()}
        return self

    def logged(self, *fields: tuple[int, str]) -> "Play":
        """One line per exchange: fields of proxy/access_log.pxd with spaces between them."""
        self.log_ops = []
        for number, text in fields:
            self.log_ops += [[number, 0, text], [0, 0, " "]]
        del self.log_ops[-1]
        return self

    def filter(self, made: Any, *, at: str = "route", match: list[Any] | None = None, share: int = 1_000_000,
               **settings: Any) -> "Play":
        """One more filter at the listeners, at every route, or at every cluster."""
        phases = {name: getattr(made, name) for name in dir(made)
                  if name in PHASES and getattr(type(made), name, None) is not getattr(Filter, name, None)}
        # No test is about how long the machine took, unless it says so.
        settings.setdefault("budget_ns", 60 * SECOND)
        self.slots.append(Slot(made, phases, row=len(self.slots), report=self.report, **settings))
        self.rules.append([match, share])
        self.chains.setdefault(at, []).append(len(self.slots) - 1)
        return self

    def limit(self, name: str = "l", *, at: str = "route", **settings: Any) -> "Play":
        """One more rate limit at the listeners, or at every route. Its clock is that of the shared segment."""
        row = sum(len(limits) for limits in self.limits_at.values())
        self.limits_at.setdefault(at, []).append(wire.limit(name, row, **settings))
        return self

    def fault(self, *, delay: str | int = 0, status: int = 0, match: list[Any] | None = None,
              share: int = 1_000_000, bandwidth: int = 0, request_bandwidth: int = 0, most: int = 0, grpc: int = 0,
              is_asked: bool = False) -> "Play":
        """One more of every route."""
        self.faults.append([match, share, ns(delay), status, bandwidth, request_bandwidth, most, grpc, is_asked])
        return self

    def falling_back(self, *steps: list[Any], subsets: dict[int, list[Any]] | None = None) -> "Play":
        """All routes have this chain: as snapshot/fallbacks has its steps. `subsets`: the words of those that ask for
        some, by the place of the step."""
        self.chain_of_steps = list(steps)
        self.asked_by_steps = subsets or {}
        return self

    def cors(self, rule: list[Any], routes: list[int] | None = None) -> "Play":
        """A rule about pages of other origins: of all routes when none are given."""
        self.cors_rules.append((rule, routes))
        return self

    def mirror(self, to: str, *, match: list[Any] | None = None, share: int = 1_000_000,
               suffix: str = "-shadow", subset: list[Any] | None = None) -> "Play":
        """One more of every route. `subset`: the words of what its copies ask for."""
        if subset is not None:
            self.asked_by_mirrors[len(self.mirrors)] = subset
        self.mirrors.append((match, share, to, suffix))
        return self

    def rate_limits(self, routes: list[Any]) -> list[Any]:
        limits = [*self.limits_at.get("listener", []), *self.limits_at.get("route", [])]
        first = len(self.limits_at.get("listener", []))
        own, theirs = list(range(first)), list(range(first, len(limits)))
        return [limits, [[i, at, places] for i in range(self.n_listeners) for at in range(-1, len(routes))
                         if (places := own if at < 0 else theirs)]]

    def retries(self, n_routes: int) -> list[Any]:
        rules = [wire.retry(**self.retry)] if self.retry is not None else []
        return [rules, [[i, at, 0] for i in range(self.n_listeners) for at in range(n_routes) if rules],
                [[i, *self.budget] for i in range(len(self.clusters)) if self.budget],
                [wire.hedge(**self.hedge)] if self.hedge is not None else [],
                [[i, at, 0] for i in range(self.n_listeners) for at in range(n_routes) if self.hedge is not None]]

    def report(self, what: str, phase: str, text: str) -> None:
        self.reports.append((what, phase, text))

    def chain(self, at: str) -> int:
        return list(self.chains).index(at) if at in self.chains else -1

    def snapshot(self) -> bytes:
        self.version += 1
        clusters = []
        for i, (name, c) in enumerate(self.clusters.items()):
            members = [wire.endpoint(self.rows.setdefault((name, e), len(self.rows)), ip=ip_of(e), text=e,
                                     note=note_of(c["metadata"].get(e, {}).items())) for e in c["endpoints"]]
            settings = [ns(c[key]) if isinstance(c[key], str) else c[key] for key in CLUSTER]
            clusters.append([i, name, c["lb"], *settings, members, self.chain("cluster"), None, None, None, 0,
                             [c["max_cluster_connections"], c["max_retries"], c["max_endpoint_requests"],
                              c["reserve"], None, None]])
        limits = [ns(v) if isinstance(v, str) else v for v in self.limits.values()]
        routes = self.routes or [wire.route(cluster=0)]
        if "route" in self.chains:
            routes = [[*route[:-4], self.chain("route"), *route[-3:]] for route in routes]
        # As compiled: what the listener says, where the route says nothing.
        routes = [[*route[:-1], route[-1] or limits[-1]] for route in routes]
        listeners = [[i, f"l{i}", int(self.is_tcp), False, True, 0 if self.is_tcp else -1, limits, self.trusted, "",
                      [] if self.is_tcp else routes, self.chain("listener"),
                      self.deadlines, self.half_close] for i in range(self.n_listeners)]
        return wire.pack(["fmsn", 6, self.version, [self.most_connections, self.log_ops, [], None, self.metric_labels],
                          [] if self.is_gone else listeners, clusters, [self.rules, list(self.chains.values())],
                          [[], []] if self.is_gone or self.is_tcp else self.rate_limits(routes),
                          [[i, at, self.faults] for i in range(len(listeners)) for at in range(len(routes))
                           if self.faults and not self.is_gone and not self.is_tcp],
                          [[i, at, [[match, share, list(self.clusters).index(to), suffix]
                                    for match, share, to, suffix in self.mirrors]]
                           for i in range(len(listeners)) for at in range(len(routes))
                           if self.mirrors and not self.is_gone and not self.is_tcp],
                          [[], [], [], [], []] if self.is_gone or self.is_tcp else self.retries(len(routes)),
                          self.fallbacks(len(routes)), self.origins(len(routes)), self.subsets(len(routes)), []])

    def subsets(self, n_routes: int) -> list[Any]:
        names = {name: dict.fromkeys(tuple(sorted(words)) for words in c["metadata"].values())
                 for name, c in self.clusters.items()}
        return [[[i, [list(one) for one in names[name]], c["fallback"], [], 256]
                 for i, (name, c) in enumerate(self.clusters.items()) if names[name]], [],
                [] if self.is_gone or self.is_tcp else [
                    [i, at, k, words] for i in range(self.n_listeners) for at in range(n_routes)
                    for k, words in self.asked_by_mirrors.items()],
                [] if self.is_gone or self.is_tcp else [
                    [0, k, words] for k, words in self.asked_by_steps.items()]]

    def fallbacks(self, n_routes: int) -> list[Any]:
        if self.is_gone or self.is_tcp or not self.chain_of_steps:
            return [[], []]
        return [[self.chain_of_steps], [[i, at, 0] for i in range(self.n_listeners) for at in range(n_routes)]]

    def origins(self, n_routes: int) -> list[Any]:
        if self.is_gone or self.is_tcp:
            return [[], []]
        return [[rule for rule, _ in self.cors_rules],
                [[i, at, place] for place, (_, routes) in enumerate(self.cors_rules) for i in range(self.n_listeners)
                 for at in (range(n_routes) if routes is None else routes)]]

    def table(self) -> Table | None:
        return Table(self.slots) if self.slots else None

    def start(self) -> "Play":
        if self.worker is not None:
            return self
        with mock.patch.object(os, "urandom", lambda n: SEED.to_bytes(n, "little")):
            self.worker = self.stage.hire()
        for i in range(1, self.n_listeners):
            self.stage.open_door(self.worker, i)
        self.worker.apply(self.snapshot(), self.table())
        self.settle()
        return self

    def apply(self) -> None:
        """Swaps in a snapshot of what is configured now."""
        self.running.apply(self.snapshot(), self.table())
        self.settle()

    @property
    def running(self) -> Worker:
        if self.worker is None:
            self.start()
        assert self.worker is not None
        return self.worker

    # --- the course of events --------------------------------------------------------------------

    def settle(self) -> None:
        """Turns until there is nothing more to do."""
        if self.is_batching or self.worker is None:
            return
        for _ in range(TURNS_MOST):
            self.stage.turn()
            if not self.stage.is_busy:
                return
        self.fail(f"the worker spins: {TURNS_MOST} turns and no end")

    @contextmanager
    def batch(self) -> Iterator[None]:
        """All that happens within is there before the next turn."""
        self.start()
        self.is_batching = True
        yield
        self.is_batching = False
        self.settle()

    def pass_time(self, time: str | int) -> None:
        self.running.run(0)
        how = self.running.run(-(-ns(time) // 10**6))
        self.is_drained |= how == DRAINED
        self.stage.check()
        self.settle()

    def drain(self, grace: str = "30s", idle: str | int = 0) -> None:
        self.running.drain(ns(grace) // 10**6, ns(idle) // 10**6)
        self.settle()

    def client(self, address: str | None = None) -> Client:
        """Another client connects."""
        self.start()
        self.ports += 1
        door = next(s for s in self.stage.sockets if s.role == "door")
        seen = len(self.stage.sockets)
        door.visit(address or f"127.0.0.1:{self.ports}")
        was, self.is_batching = self.is_batching, False
        self.settle()
        self.is_batching = was
        accepted = [s for s in self.stage.sockets[seen:] if s.role == "client"]
        self.check(bool(accepted), "nobody was accepted")
        made = Client(self, accepted[-1])
        self.peers.append(made)
        return made

    @property
    def first(self) -> Client:
        """The client that is meant where none is named."""
        return self.peers[0] if self.peers else self.client()

    def upstreams(self, name: str | None = None) -> list[Upstream]:
        """Connections to an endpoint, in the order of their making, closed ones too."""
        return [Upstream(self, s) for s in self.stage.sockets
                if s.was_connecting and (name is None or s.peer == address_of(name))]

    def up(self, name: str = "a") -> Upstream:
        """The latest open connection to an endpoint."""
        found = [u for u in self.upstreams(name) if not u.is_closed]
        self.check(bool(found), f"there is no connection to {name}")
        return found[-1]

    def expect_connect(self, name: str | None = None) -> Upstream:
        """The proxy has begun to connect, to this endpoint."""
        fresh = [u for u in self.upstreams() if u.socket.fd not in self.claimed]
        self.check(bool(fresh), f"nothing is being connected to, {name or 'any'} was expected")
        self.check(name is None or fresh[0].socket.peer == address_of(name),
                   f"{fresh[0]} is being connected to, not {name}")
        self.claimed.add(fresh[0].socket.fd)
        return fresh[0]

    def expect_no_connect(self) -> None:
        fresh = [u for u in self.upstreams() if u.socket.fd not in self.claimed]
        self.check(not fresh, f"{fresh} are being connected to")

    def connect(self, name: str | None = None) -> Upstream:
        """A connect that is expected and succeeds."""
        return self.expect_connect(name).connected()

    def fresh(self) -> Upstream | None:
        """What is being connected to and was not expected yet."""
        return next((u for u in self.upstreams() if u.socket.fd not in self.claimed), None)

    def asked(self) -> Upstream:
        """The one upstream connection on which something was sent that nobody has looked at."""
        found = [u for u in self.upstreams() if not u.is_closed and u.unseen]
        self.check(len(found) == 1, f"asked were {found}")
        return found[0]

    def pool_has(self, *names: str) -> "Play":
        """An idle connection to each of the endpoints, used once before."""
        wanted = list(names)
        guests = []
        asked = []
        while wanted:
            guests.append(self.client())
            guests[-1].sends(b"GET /earlier HTTP/1.1\r\nhost: x\r\n\r\n")
            asked.append(self.connect())
            wanted.remove(name_of(asked[-1].socket.peer))
            asked[-1].expect_request("GET /earlier")
        for up in asked:
            up.answers()
        for guest in guests:
            guest.expect_answer(200)
            guest.closes()
            self.peers.remove(guest)
        return self

    # The short forms of tests with one client.

    def client_sends(self, *pieces: bytes) -> None:
        self.first.sends(*pieces)

    def client_closes(self) -> None:
        self.first.closes()

    def client_resets(self) -> None:
        self.first.resets()

    def connected(self, name: str = "a") -> Upstream:
        return self.up(name).connected()

    def refused(self, name: str = "a") -> None:
        self.up(name).refused()

    def upstream_sends(self, name: str, *pieces: bytes) -> None:
        self.up(name).sends(*pieces)

    def upstream_closes(self, name: str = "a") -> None:
        self.up(name).closes()

    def upstream_resets(self, name: str = "a") -> None:
        self.up(name).resets()

    def expect_send(self, name: str, what: bytes | None = None, *, startswith: bytes | None = None) -> bytes:
        got = self.up(name).expect(what, startswith=startswith)
        self.check(bool(got), f"nothing was sent to {name}")
        return got

    def expect_request(self, name: str = "a", startswith: str = "") -> Message:
        return self.up(name).expect_request(startswith)

    def answers(self, name: str = "a", status: int = 200, body: bytes = b"", fields: Iterable[str] = ()) -> None:
        self.up(name).answers(status, body, fields)

    def expect_client(self, what: bytes) -> None:
        self.first.expect(what)

    def expect_answer(self, status: int | None = None, body: bytes | None = None, *, has_body: bool = True) -> Message:
        return self.first.expect_answer(status, body, has_body=has_body)

    def expect_nothing(self) -> None:
        self.first.expect_nothing()

    def expect_closed(self, *, reset: bool = False) -> None:
        self.first.expect_closed(reset=reset)

    # --- counters --------------------------------------------------------------------------------

    def counter(self, name: str) -> int:
        """"retry_reused", "cluster.x.retries", "endpoint.a.failures", "listener.l.shed" or "limit.l.checked"."""
        kind, _, rest = name.partition(".")
        if not rest:
            return int(self.stage.counters()[name])
        which, _, column = rest.partition(".")
        if kind == "cluster":
            row = self.stage.cluster_row(list(self.clusters).index(which))
            if column.startswith("class_"):
                return int(row["class_"][int(column[-1])])
            if column.startswith("retried_"):
                return int(row["retried"][RETRIED_FOR.index(column.removeprefix("retried_"))])
            return int(row[column])
        if kind == "endpoint":
            return int(self.stage.endpoint_row(next(i for (_, e), i in self.rows.items() if e == which))[column])
        if kind == "limit":
            limits = [*self.limits_at.get("listener", []), *self.limits_at.get("route", [])]
            return int(self.stage.limit_row(next(each[1] for each in limits if each[0] == which))[column])
        assert kind == "listener"
        return int(self.stage.listener_row(0)[column])

    def expect_counter(self, name: str, value: int) -> None:
        self.check(self.counter(name) == value, f"{name} is {self.counter(name)}, not {value}")

    def ended(self) -> list[tuple[int, str]]:
        """(status, flags) of every exchange that has ended, as the metrics have them."""
        found = []
        for protocol, code, flags, count, closed, _, _ in self.stage.series():
            names = ",".join(name for i, name in enumerate(FLAGS) if flags >> i & 1)
            found += [(code, names)] * (closed if protocol == 1 else count)
        return sorted(found)

    # --- failing, and the end --------------------------------------------------------------------

    def course(self) -> str:
        lines = []
        for at, who, what, about in self.stage.trace:
            text = repr(about) if about is not None else ""
            if len(text) > 90:
                text = f"{text[:70]}… ({len(about)} bytes)"
            lines.append(f"  {(at - 1000 * SECOND) / SECOND:9.3f}s {who!r} {what} {text}")
        if len(lines) > 50:
            lines[15:-30] = [f"  … {len(lines) - 45} more …"]
        return "\n".join(lines)

    def fail(self, why: str) -> Any:
        raise AssertionError(f"{why}\n\nThe course of events ({self.manners}):\n{self.course()}")

    def check(self, holds: bool, why: str) -> None:
        __tracebackhide__ = True
        if not holds:
            self.fail(why)

    def live(self) -> dict[str, int]:
        return {**self.running.live(), **{f"row {k}": self.counter(k) for k in (
            "streams", "downstream_connections", "upstream_connections", "listener.l.active",
            *(f"cluster.{c}.{k}" for c in self.clusters for k in ("active", "pending", "connections")))}}

    def end(self) -> None:
        """Everybody leaves; then nothing may be left."""
        try:
            if self.worker is not None:
                self.leave()
        finally:
            self.abandon()
        if self.slots:
            # What filters and tests have caught: tracebacks hold frames, and these views.
            self.slots.clear()
            gc.collect()
        now = mem_probe.alive(), left(), descriptors()
        assert now == self.before, f"arenas, heads and snapshots, descriptors: {self.before} at first, {now} at last"

    def leave(self) -> None:
        self.is_batching = False
        # Whoever is left in the middle of something may go on to another endpoint: that one says no as well.
        for _ in range(LEAVE_MOST):
            staying = [s for s in self.stage.sockets if s.role != "door" and not s.is_closed]
            if not staying:
                break
            for s in staying:
                if s.is_closed or s.broken:
                    continue
                if s.is_connecting:
                    s.connect_done(ECONNREFUSED)
                else:
                    s.sends(ECONNRESET)
                self.settle()
        left = self.live()
        doors = sum(s.role == "door" and not s.is_closed for s in self.stage.sockets)
        self.check(left.pop("ios") == doors, f"ios are left besides {doors} doors: {self.running.live()}")
        left.pop("snapshot")
        self.check(not any(left.values()), f"something is left: { {k: v for k, v in left.items() if v} }")
        for (_, e), row in self.rows.items():
            state = self.stage.endpoint_row(row)
            self.check(state["active"] == state["connections"] == 0, f"endpoint {e}: {state}")

    def abandon(self) -> None:
        if self.worker is not None:
            self.worker.close()
            self.worker = None


def ip_of(name: str) -> bytes:
    return struct.pack(">I", (10 << 24) + ord(name[0]) - ord("a") + 1)


def address_of(name: str) -> str:
    return f"10.0.0.{ord(name[0]) - ord('a') + 1}:80"


def name_of(address: str) -> str:
    return chr(int(address.split(":")[0].rsplit(".", 1)[1]) - 1 + ord("a"))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


__all__ = ["SECOND", "TICK_NS", "Client", "Message", "Play", "SnapshotRefused", "Upstream", "ns"]
MakePlay = Callable[[], Play]
