"""A discrete-event simulation: the clock jumps from one event to the next, and nothing happens in between.

An endpoint works on `slots` requests at once and takes the others in the order in which they came, so the end of a
request is known when it begins, and is its only event. A caller that gives up leaves the endpoint working.
"""

import bisect
import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from fastmesh._core.play.balancer import (
    ANSWERED,
    BY_STATUS,
    BY_TIMEOUT,
    CONNECT,
    FAILED,
    GATEWAY,
    GOOD,
    LEFT,
    TIMEOUT,
    Balancer,
)
from fastmesh._core.play.buckets import Buckets
from fastmesh._core.play.hedging import Hedging
from fastmesh.config.hedge import Hedge
from fastmesh.simulate.proxy import Proxy
from fastmesh.simulate.result import SLICES, Part, Result, Slice, Times
from fastmesh.simulate.scenario import Asked, Group, Keys, Scenario, Time, cluster_of
from fastmesh.snapshot.hedges import hedge_record

_SECOND = 1_000_000_000
# The clock does not begin at 0, which balancers take for "never".
_START = 1_000 * _SECOND
TOLD_EVERY = 4_096      # requests, between two words about how far it is
_TRIED_MOST = 8
_UNAVAILABLE = 503


class _Request:
    """What a caller was asked for, and waits for: one attempt after the other, or several beside each other."""

    __slots__ = ("attempts", "began_ns", "caller", "hedges_left", "key", "share", "subset", "tried", "under_way")

    def __init__(self, caller: "_Caller", key: int | None, share: "_Share", began_ns: int) -> None:
        self.caller = caller
        self.key = key
        self.share = share.number
        self.subset = share.subset
        self.began_ns = began_ns
        self.attempts = 0               # that reached an endpoint
        self.tried: tuple[int, ...] = ()
        self.under_way: dict[int, int] = {}     # endpoint → when it was asked
        self.hedges_left = caller.rule.attempts - 1 if caller.rule is not None else 0


class _End(NamedTuple):
    """The end of an attempt, as its caller sees it. Sorted by time; `order` keeps the others from being compared."""

    at_ns: int
    order: int
    request: _Request
    endpoint: int
    sent_ns: int
    is_ok: bool
    wait_ns: int
    seen: int           # by those who look for outliers
    is_probe: bool
    fault: int          # BY_* of one that may be followed by another; 0 = the request is over


class _Again(NamedTuple):
    """The pause before the next attempt is over."""

    at_ns: int
    order: int
    request: _Request


class _Due(NamedTuple):
    """A request has waited for as long as its first attempt has alone."""

    at_ns: int
    order: int
    request: _Request


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


class _Share(NamedTuple):
    """Some of the requests, and what they ask for."""

    number: int         # among those of the split
    subset: int         # its place among the snapshot's; -1 = it asks for none


def _shares_of(split: Sequence[Asked]) -> list[_Share]:
    places = itertools.count()
    return [_Share(i, next(places) if asked.subset else -1) for i, asked in enumerate(split)]


def _draw_shares(split: Sequence[Asked], dice: random.Random) -> Iterator[_Share]:
    """Of one request after the other."""
    shares = _shares_of(split)
    if len(shares) < 2:
        yield from itertools.repeat(shares[0] if shares else _Share(0, -1))
    sums = list(itertools.accumulate(asked.weight for asked in split))
    while True:
        yield shares[bisect.bisect_right(sums, dice.randrange(sums[-1]))]


class _Caller:
    """One worker: what it has seen itself."""

    __slots__ = ("balancer", "hedging", "proxy", "rule")

    def __init__(self, balancer: Balancer, rule: Hedge | None, proxy: Proxy) -> None:
        self.balancer = balancer
        self.proxy = proxy
        self.rule = rule
        self.hedging = None if rule is None else Hedging(hedge_record(rule))


class Simulation:
    """One run of a scenario. The same scenario gives the same result."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._endpoints = [_Endpoint(group) for group in scenario.endpoints for _ in range(group.count)]
        self._group_of = [i for i, group in enumerate(scenario.endpoints) for _ in range(group.count)]
        # Each kind of chance has its own dice: another balancer meets the same requests.
        seeds = random.Random(scenario.seed)
        self._arrivals = random.Random(seeds.getrandbits(64))
        self._lots = random.Random(seeds.getrandbits(64))
        self._work = random.Random(seeds.getrandbits(64))
        self._keys = _keys(scenario.keys, random.Random(seeds.getrandbits(64)))
        self._proxies = [Proxy(scenario, zone) for zone in scenario.zones or [""]]
        self._callers: list[_Caller] = []
        first: list[Balancer] = []          # of each proxy
        for i in range(scenario.callers):
            proxy = self._proxies[i % len(self._proxies)]
            # Workers of one proxy share what they see of endpoints' health.
            beside = first[i % len(self._proxies)] if i >= len(self._proxies) else None
            balancer = Balancer(proxy.packed, len(self._endpoints), seeds.getrandbits(64), beside)
            if beside is None:
                first.append(balancer)
            self._callers.append(_Caller(balancer, scenario.hedge, proxy))
        self._shares = _draw_shares(scenario.split, random.Random(seeds.getrandbits(64)))
        self._asked = [Times() for _ in scenario.split]
        limit = scenario.rate_limit
        self._buckets = None if limit is None else Buckets(
            limit.rate.nanoseconds, limit.depth, scenario.keys.count if scenario.keys is not None else 1)
        # Only where the scenario speaks of it: what balancers do is seen best by itself.
        self._is_watched = "outlier" in scenario.cluster
        self._attempts_most = cluster_of(scenario, 0).connect_attempts
        self._rule = scenario.retry
        self._events: list[_End | _Again | _Due] = []
        self._order = itertools.count()
        self._whole = Times()
        self._parts = [Part(group.name or f"group {i + 1}", group.count, Times())
                       for i, group in enumerate(scenario.endpoints)]
        self._counts = [0] * len(self._endpoints)
        self._attempts = 0
        self._unaffordable = 0      # further attempts that there was no budget for
        self._slices = [Slice() for _ in range(SLICES)]
        self._refused = 0
        self._limited = 0

    def run(self, tell: Callable[[float], None] | None = None) -> Result:
        """Until every request has ended. `tell` hears now and then which share of the time has passed."""
        scenario = self.scenario
        begun = 0
        joins = sorted({group.joins for group in scenario.endpoints if group.joins})
        now_ns = _START
        while True:
            now_ns += max(1, int(self._arrivals.expovariate(scenario.rate) * _SECOND))
            if now_ns >= _START + scenario.duration:
                break
            while joins and now_ns - _START >= joins[0]:
                since_ns = joins.pop(0)
                for proxy in self._proxies:
                    proxy.compile(since_ns)
                for caller in self._callers:
                    caller.balancer.replace(caller.proxy.packed)
            while self._events and self._events[0].at_ns <= now_ns:
                self._event(heapq.heappop(self._events))
            self._begin(now_ns, next(self._keys), next(self._shares))
            begun += 1
            if tell is not None and begun % TOLD_EVERY == 0:
                tell((now_ns - _START) / scenario.duration)
        while self._events:
            self._event(heapq.heappop(self._events))
        return Result(cluster_of(scenario, 0).load_balancer.pick_by, scenario.duration, scenario.callers, self._whole,
                      self._parts, self._attempts, self._counts, self._unaffordable, self._slices, self._refused,
                      self._limited, self._parts_asked())

    def _parts_asked(self) -> list[Part]:
        balancer = self._callers[0].balancer
        places = _shares_of(self.scenario.split)
        return [Part(asked.title, balancer.size(share.subset), times)
                for asked, share, times in zip(self.scenario.split, places, self._asked, strict=True)]

    def _begin(self, now_ns: int, key: int | None, share: _Share) -> None:
        request = _Request(self._lots.choice(self._callers), key, share, now_ns)
        self._slice(now_ns).requests += 1
        if self._buckets is not None and not self._buckets.take(now_ns, self._bucket(key)):
            if now_ns >= _START + self.scenario.warm_up:
                self._limited += 1
            self._note(request, now_ns, False, None)
            return
        if request.caller.balancer.refuses(now_ns) is not None:
            if now_ns >= _START + self.scenario.warm_up:
                self._refused += 1
            self._note(request, now_ns, False, None)
            return
        request.caller.balancer.begin()
        if self._rule is not None:
            request.caller.balancer.earn(now_ns)
        self._attempt(now_ns, request)

    def _bucket(self, key: int | None) -> int:
        limit = self.scenario.rate_limit
        return key if key is not None and limit is not None and limit.by_key else 0

    def _attempt(self, now_ns: int, request: _Request) -> None:
        caller = request.caller.balancer
        numbers = request.caller.proxy.numbers
        most = min(_TRIED_MOST, self._attempts_most, caller.size(request.subset))
        while (place := caller.pick(now_ns, request.key, request.tried, request.subset)) is not None:
            self._attempts += request.began_ns >= _START + self.scenario.warm_up
            self._slice(now_ns).attempts += 1
            endpoint = self._endpoints[numbers[place]]
            if not endpoint.is_down(now_ns):
                caller.connect_ok(place)
                self._send(now_ns, request, numbers[place], endpoint)
                hedging = request.caller.hedging
                if hedging is not None and request.attempts == 1 and (delay := hedging.request(now_ns)):
                    heapq.heappush(self._events, _Due(now_ns + delay, next(self._order), request))
                return
            caller.leave(place)
            is_probe = caller.has_probed
            caller.connect_failed(place, now_ns)
            if self._is_watched:
                caller.judge(place, CONNECT, 0, now_ns, is_probe)
            request.tried = (*request.tried, place)
            if len(request.tried) >= most:
                break
        caller.end()
        self._note(request, now_ns, False, None)

    def _beside(self, now_ns: int, request: _Request) -> None:
        """One more attempt of a request that still waits, at an endpoint that it has not gone to."""
        hedging, caller = request.caller.hedging, request.caller.balancer
        numbers, places = request.caller.proxy.numbers, request.caller.proxy.places
        if not request.under_way or hedging is None:
            return
        asked = tuple(places[number] for number in request.under_way if number in places)
        place = caller.pick(now_ns, request.key, tuple({*asked, *request.tried})[:_TRIED_MOST],
                            request.subset)
        if place is None:
            return
        endpoint = self._endpoints[numbers[place]]
        if caller.has_probed or endpoint.is_down(now_ns) or not hedging.spend(now_ns):
            caller.leave(place)
            if caller.has_probed:
                caller.give_up_probe(place)
            return
        self._attempts += request.began_ns >= _START + self.scenario.warm_up
        self._slice(now_ns).attempts += 1
        self._send(now_ns, request, numbers[place], endpoint)
        request.hedges_left -= 1
        if request.hedges_left and (delay := hedging.delay(now_ns)):
            heapq.heappush(self._events, _Due(now_ns + delay, next(self._order), request))

    def _set_aside(self, request: _Request, place: int, now_ns: int) -> None:
        """It is not picked again while there is another. When all were tried, better one of them once more than
        none."""
        balancer = request.caller.balancer
        request.tried = (*request.tried, place)
        if len(request.tried) >= min(_TRIED_MOST, balancer.size(request.subset)):
            request.tried = (place,) if balancer.has_other(place, now_ns, request.subset) else ()

    def _send(self, now_ns: int, request: _Request, number: int, endpoint: _Endpoint) -> None:
        failing = endpoint.group.failing
        request.attempts += 1
        request.under_way[number] = now_ns
        wait_ns = 0
        fault = 0
        if failing is not None and endpoint.fails(now_ns, self._work):
            # Refused before any work is done.
            ends, is_ok, wait_ns = now_ns + failing.after, False, failing.retry_after
            seen, fault = GATEWAY, BY_STATUS
        else:
            ends, is_ok = endpoint.work(now_ns, self._work), True
            seen = GOOD
        limits = []
        if self.scenario.timeout:
            limits.append((request.began_ns + self.scenario.timeout, 0))
        if self._rule is not None and self._rule.per_try_timeout is not None:
            limits.append((now_ns + self._rule.per_try_timeout, BY_TIMEOUT))
        if limits and ends > min(limits)[0]:
            ends, fault = min(limits)
            is_ok, wait_ns, seen = False, 0, TIMEOUT
        heapq.heappush(self._events, _End(ends, next(self._order), request, number, now_ns, is_ok, wait_ns, seen,
                                          request.caller.balancer.has_probed, fault))

    def _event(self, event: _End | _Again | _Due) -> None:
        if isinstance(event, _Again):
            self._attempt(event.at_ns, event.request)
        elif isinstance(event, _Due):
            self._beside(event.at_ns, event.request)
        else:
            self._end(event)

    def _end(self, end: _End) -> None:
        request, caller, hedging = end.request, end.request.caller.balancer, end.request.caller.hedging
        if request.under_way.get(end.endpoint) != end.sent_ns:
            return                  # another attempt has answered before; the endpoint has worked for nobody
        del request.under_way[end.endpoint]
        place = request.caller.proxy.places.get(end.endpoint)
        took_ns = end.at_ns - end.sent_ns
        if hedging is not None:
            hedging.took(took_ns, end.at_ns)
        # One that has left the cluster meanwhile is not known any more.
        if place is not None:
            caller.leave(place)
            caller.observe(place, took_ns, ANSWERED if end.is_ok else FAILED, end.wait_ns, end.at_ns)
            if self._is_watched:
                caller.judge(place, end.seen, took_ns if end.seen != TIMEOUT else 0, end.at_ns, end.is_probe)
        if not end.is_ok and request.under_way:
            return                  # the other attempt may still do better
        if end.fault and self._is_tried_again(end, place):
            return
        for number, sent_ns in request.under_way.items():
            self._give_up(end.at_ns, request, number, sent_ns)
        request.under_way.clear()
        caller.answered(504 if end.seen == TIMEOUT else 200 if end.is_ok else 503, took_ns, end.at_ns)
        caller.end()
        self._note(request, end.at_ns, end.is_ok, end.endpoint)

    def _give_up(self, now_ns: int, request: _Request, number: int, sent_ns: int) -> None:
        """An attempt whose answer is not needed any more."""
        caller = request.caller
        if caller.hedging is not None:
            caller.hedging.took(now_ns - sent_ns, now_ns)
        if (place := caller.proxy.places.get(number)) is not None:
            caller.balancer.leave(place)
            caller.balancer.observe(place, now_ns - sent_ns, LEFT, 0, now_ns)

    def _is_tried_again(self, end: _End, place: int | None) -> bool:
        request = end.request
        pause = request.caller.balancer.again(end.fault, _UNAVAILABLE, request.attempts, end.at_ns)
        if pause is False:
            self._unaffordable += 1
        if pause is None or pause is False:
            return False
        if self.scenario.timeout and end.at_ns + pause >= request.began_ns + self.scenario.timeout:
            return False
        if place is not None:
            self._set_aside(request, place, end.at_ns)
        heapq.heappush(self._events, _Again(end.at_ns + pause, next(self._order), request))
        return True

    def _slice(self, now_ns: int) -> Slice:
        return self._slices[min(SLICES - 1, (now_ns - _START) * SLICES // self.scenario.duration)]

    def _note(self, request: _Request, now_ns: int, is_ok: bool, number: int | None) -> None:
        took_ns = now_ns - request.began_ns
        self._slice(request.began_ns).times.add(took_ns, is_ok)
        if request.began_ns < _START + self.scenario.warm_up:
            return
        self._whole.add(took_ns, is_ok)
        if self._asked:
            self._asked[request.share].add(took_ns, is_ok)
        if number is not None:
            self._parts[self._group_of[number]].times.add(took_ns, is_ok)
            self._counts[number] += 1
