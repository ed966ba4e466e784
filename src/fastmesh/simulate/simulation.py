"""A discrete-event simulation: the clock jumps from one event to the next, and nothing happens in between.

An endpoint works on `slots` requests at once and takes the others in the order in which they came, so the end of a
request is known when it begins, and is its only event. A caller that gives up leaves the endpoint working.
"""

import bisect
import heapq
import itertools
import math
import random
from collections.abc import Iterator
from typing import NamedTuple

import msgpack

from fastmesh._core.play.balancer import ANSWERED, CONNECT, FAILED, GATEWAY, GOOD, TIMEOUT, Balancer
from fastmesh.config.model import Config
from fastmesh.config.node import Node
from fastmesh.simulate.result import Part, Result, Times
from fastmesh.simulate.scenario import Group, Keys, Scenario, Time, address_of, cluster_of
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry

_SECOND = 1_000_000_000
# The clock does not begin at 0, which balancers take for "never".
_START = 1_000 * _SECOND


class _End(NamedTuple):
    """The end of a request, as its caller sees it. Sorted by time; `order` keeps the others from being compared."""

    at_ns: int
    order: int
    caller: Balancer
    endpoint: int
    began_ns: int
    is_ok: bool
    wait_ns: int
    seen: int           # by those who look for outliers
    is_probe: bool


class _Endpoint:
    """One server: when each of its slots is free again."""

    __slots__ = ("free", "group")

    def __init__(self, group: Group) -> None:
        self.group = group
        self.free = [0] * group.slots

    def is_down(self, now_ns: int) -> bool:
        return self.group.down is not None and self.group.down.holds(now_ns - _START)

    def fails(self, now_ns: int, dice: random.Random) -> bool:
        failing = self.group.failing
        return failing is not None and failing.holds(now_ns - _START) and dice.random() * 1_000_000 < failing.share

    def work(self, now_ns: int, dice: random.Random) -> int:
        """When the answer comes."""
        took = _draw(self.group.time, dice)
        if self.group.slow is not None and self.group.slow.holds(now_ns - _START):
            took *= self.group.slow.factor
        ends = max(now_ns, self.free[0]) + max(1, int(took))
        heapq.heapreplace(self.free, ends)
        return ends


def _draw(time: Time, dice: random.Random) -> float:
    if time.kind == "fixed":
        return time.mean
    if time.kind == "exponential":
        return dice.expovariate(1 / time.mean)
    sigma = time.spread / 10
    return dice.lognormvariate(math.log(time.mean) - sigma * sigma / 2, sigma)


def _keys(keys: Keys | None, dice: random.Random) -> Iterator[int | None]:
    if keys is None:
        yield from itertools.repeat(None)
        return
    sums = list(itertools.accumulate((rank + 1) ** (-keys.skew / 10) for rank in range(keys.count)))
    hashes = [dice.getrandbits(64) for _ in range(keys.count)]
    while True:
        yield hashes[bisect.bisect_left(sums, dice.random() * sums[-1])]


class Simulation:
    """One run of a scenario. The same scenario gives the same result."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._endpoints = [_Endpoint(group) for group in scenario.endpoints for _ in range(group.count)]
        self._group_of = [i for i, group in enumerate(scenario.endpoints) for _ in range(group.count)]
        self._registry = Registry()
        self._version = 0
        self._numbers: list[int] = []           # of the endpoints, by their place in the snapshot
        self._places: dict[int, int] = {}       # the other way round
        # Each kind of chance has its own dice: another balancer meets the same requests.
        seeds = random.Random(scenario.seed)
        self._arrivals = random.Random(seeds.getrandbits(64))
        self._lots = random.Random(seeds.getrandbits(64))
        self._work = random.Random(seeds.getrandbits(64))
        self._keys = _keys(scenario.keys, random.Random(seeds.getrandbits(64)))
        first = self._snapshot(0)
        one = Balancer(first, len(self._endpoints), seeds.getrandbits(64))
        self._callers = [one, *(Balancer(first, len(self._endpoints), seeds.getrandbits(64), one)
                                for _ in range(1, scenario.callers))]
        # Only where the scenario speaks of it: what balancers do is seen best by itself.
        self._is_watched = "outlier" in scenario.cluster
        self._attempts_most = cluster_of(scenario, 0).connect_attempts
        self._ends: list[_End] = []
        self._order = itertools.count()
        self._whole = Times()
        self._parts = [Part(group.name or f"group {i + 1}", group.count, Times())
                       for i, group in enumerate(scenario.endpoints)]
        self._counts = [0] * len(self._endpoints)
        self._attempts = 0
        self._refused = 0

    def run(self) -> Result:
        """Until every request has ended."""
        scenario = self.scenario
        joins = sorted({group.joins for group in scenario.endpoints if group.joins})
        now_ns = _START
        while True:
            now_ns += max(1, int(self._arrivals.expovariate(scenario.rate) * _SECOND))
            if now_ns >= _START + scenario.duration:
                break
            while joins and now_ns - _START >= joins[0]:
                packed = self._snapshot(joins.pop(0))
                for caller in self._callers:
                    caller.replace(packed)
            while self._ends and self._ends[0].at_ns <= now_ns:
                self._end(heapq.heappop(self._ends))
            self._begin(now_ns, next(self._keys))
        while self._ends:
            self._end(heapq.heappop(self._ends))
        return Result(cluster_of(scenario, 0).load_balancer.pick_by, scenario.duration, scenario.callers, self._whole,
                      self._parts, self._attempts, self._counts, self._refused)

    def _snapshot(self, since_ns: int) -> bytes:
        """Of the endpoints that have joined by then."""
        config = Config(node=Node(instance="simulated"), listeners=[], clusters=[cluster_of(self.scenario, since_ns)])
        self._version += 1
        packed, self._registry = compile(config, self._version, self._registry)
        numbers = {address_of(number): number for number in range(len(self._endpoints))}
        self._numbers = [numbers[record[5]] for record in msgpack.unpackb(packed)[5][0][13]]
        self._places = {number: place for place, number in enumerate(self._numbers)}
        return packed

    def _begin(self, now_ns: int, key: int | None) -> None:
        caller = self._lots.choice(self._callers)
        tried: tuple[int, ...] = ()
        if caller.refuses(now_ns) is not None:
            if now_ns >= _START + self.scenario.warm_up:
                self._refused += 1
            self._note(now_ns, 0, False, None)
            return
        caller.begin()
        while len(tried) < self._attempts_most and (place := caller.pick(now_ns, key, tried)) is not None:
            self._attempts += now_ns >= _START + self.scenario.warm_up
            endpoint = self._endpoints[self._numbers[place]]
            if not endpoint.is_down(now_ns):
                caller.connect_ok(place)
                self._send(now_ns, caller, self._numbers[place], endpoint)
                return
            caller.leave(place)
            is_probe = caller.has_probed
            caller.connect_failed(place, now_ns)
            if self._is_watched:
                caller.judge(place, CONNECT, 0, now_ns, is_probe)
            tried = (*tried, place)
        caller.end()
        self._note(now_ns, 0, False, None)

    def _send(self, now_ns: int, caller: Balancer, number: int, endpoint: _Endpoint) -> None:
        failing = endpoint.group.failing
        wait_ns = 0
        if failing is not None and endpoint.fails(now_ns, self._work):
            # Refused before any work is done.
            ends, is_ok, wait_ns = now_ns + failing.after, False, failing.retry_after
            seen = GATEWAY
        else:
            ends, is_ok = endpoint.work(now_ns, self._work), True
            seen = GOOD
        timeout = self.scenario.timeout
        if timeout and ends > now_ns + timeout:
            ends, is_ok, wait_ns = now_ns + timeout, False, 0
            seen = TIMEOUT
        heapq.heappush(self._ends, _End(ends, next(self._order), caller, number, now_ns, is_ok, wait_ns, seen,
                                        caller.has_probed))

    def _end(self, end: _End) -> None:
        place = self._places.get(end.endpoint)
        took_ns = end.at_ns - end.began_ns
        # One that has left the cluster meanwhile is not known any more.
        if place is not None:
            end.caller.leave(place)
            end.caller.observe(place, took_ns, ANSWERED if end.is_ok else FAILED, end.wait_ns, end.at_ns)
            if self._is_watched:
                end.caller.judge(place, end.seen, took_ns if end.seen != TIMEOUT else 0, end.at_ns, end.is_probe)
        end.caller.answered(504 if end.seen == TIMEOUT else 200 if end.is_ok else 503, took_ns, end.at_ns)
        end.caller.end()
        self._note(end.began_ns, took_ns, end.is_ok, end.endpoint)

    def _note(self, began_ns: int, took_ns: int, is_ok: bool, number: int | None) -> None:
        if began_ns < _START + self.scenario.warm_up:
            return
        self._whole.add(took_ns, is_ok)
        if number is not None:
            self._parts[self._group_of[number]].times.add(took_ns, is_ok)
            self._counts[number] += 1
