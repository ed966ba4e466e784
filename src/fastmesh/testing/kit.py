"""A worker without sockets, and filters in it."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Unpack
from weakref import WeakMethod

from pydantic import ValidationError

from fastmesh._core.filter.chain import Table
from fastmesh._core.filter.view import Outcome, Request
from fastmesh._core.filter.wait import Cancelled
from fastmesh._core.play.numbers import set_numbers
from fastmesh._core.play.stage import Stage, is_turning
from fastmesh._core.worker import Worker
from fastmesh.config.fallback import MAX_STEPS, FallbackStep
from fastmesh.filters.balancer import LoadBalancer
from fastmesh.filters.fallback import Fallback
from fastmesh.filters.filter import Filter
from fastmesh.snapshot.wire import WEIGHING
from fastmesh.testing.cuts import cut_answer, cuts, essence, same
from fastmesh.testing.lineup import Lineup
from fastmesh.testing.message import FieldsLike, pairs_of, request_line, write
from fastmesh.testing.reply import LogLine, Reply, Report, Sent
from fastmesh.testing.request import Parts, sent
from fastmesh.testing.traffic import Traffic
from fastmesh.testing.upstream import Cluster
from fastmesh.testing.wiring import PLACES, SECOND, Fall, Match, Policy, Route, snapshot
from fastmesh.testing.wiring import quarantine as quarantine_of
from fastmesh.testing.witness import Witness
from fastmesh.units import parse_duration, parse_size

SPLIT_MOST = 1 << 16            # bytes of a body that is cut everywhere
NO_BUDGET = 3600 * SECOND
BATCH = 100                     # exchanges measured together

Given = Filter | type[Filter]
"""A filter, or the class of one that needs no settings."""


class Leftover(AssertionError):
    """At the end of a kit there was something that should have been gone by then."""


class Kit:
    """One worker with filters, clients that are one line each, and upstreams that say what they are told to::

        kit = Kit(RequireTenant(header="x-team"))
        assert kit.get("/").status == 400
        reply = kit.get("/a?b=c", headers={"x-team": "blue"})
        assert reply.status == 200 and reply.labels == {"tenant": "blue"}
        assert reply.upstream is not None and reply.upstream.path == "/a"

    The worker is the compiled one that serves traffic, with its parser, routes, chains and balancing; there are no
    sockets below it and no time passes but by `pass_time`, or for what an answer waits for. Each request comes on a
    connection of its own. What filters raise is raised in the test.

    An isolated filter runs in the kit too, on an event loop that turns while one of its phases waits, and all else
    stands still meanwhile. Its calls through `self.mesh` and its time limits need a real `Proxy`.

    A kit holds a worker: close it, use it in a `with`, or take it from the fixture `filter_kit`, which closes them all.
    """

    upstream: Cluster
    """The cluster that all requests go to, unless a route or a filter says otherwise."""
    log: list[LogLine]
    """What filters have logged, ever."""
    reports: list[Report]
    """What the proxy had to say of them, ever."""
    raises: bool
    """An exception of a filter is raised in the test."""

    def __init__(self, *filters: Given | Sequence[Given], at: str = "route", raises: bool = True,
                 on_error: str | None = None, match: Match | None = None, body_limit: str | int | None = None,
                 timeout: str | None = None, budget: str | None = None, quarantine: Mapping[str, Any] | None = None,
                 mode: str = "active") -> None:
        """Filters in the order of their chain, as instances or as classes that need no settings.

        With `raises=False` an exception of a filter is not raised in the test: what a client gets is what `on_error`
        says, and `Reply.errors` has it. All else is as in `use`.
        """
        self.raises = raises
        self.log = []
        self.reports = []
        self._routes: list[Route] = []
        self._policies: dict[str, Policy] = {}
        self._steps: list[Fall] = []                # the fallback of all routes
        self._pretended: dict[tuple[str, str], dict[str, Any]] = {}     # cluster, endpoint → its numbers
        self._table: Table | None = None
        self._unraised: list[BaseException] = []    # raised by filters, not yet in the test
        self._version = 0
        self._is_stale = True                       # the worker does not have this configuration
        self._stage = Stage()
        self._worker: Worker | None = self._stage.hire()
        self._traffic = Traffic(self._stage)
        self._clusters = self._traffic.clusters
        self._lineup = Lineup(say=_weakly(self._say), report=_weakly(self._report), on_error=_weakly(self._on_error))
        self._lineup.add(Witness(_weakly(self._on_complete)), "listener", {"budget_ns": NO_BUDGET})
        self.upstream = self.cluster("upstream")
        try:
            self.use(*filters, at=at, on_error=on_error, match=match, body_limit=body_limit, timeout=timeout,
                     budget=budget, quarantine=quarantine, mode=mode)
        except BaseException:
            self._shut()
            raise

    # --- what there is -------------------------------------------------------------------------------------------

    def use(self, *filters: Given | Sequence[Given], at: str = "route", on_error: str | None = None,
            match: Match | None = None, body_limit: str | int | None = None, timeout: str | None = None,
            budget: str | None = None, quarantine: Mapping[str, Any] | None = None, mode: str = "active") -> Kit:
        """Adds filters behind those that are there, `at` the "listener", the "route" or the "cluster".

        The rest is what an operator may write beside a filter: `match`, with a share also as a number from 0 to
        1; `on_error`; `body_limit` ("64KiB"); `timeout` ("2s"); `mode`. A `budget` is not kept unless it is given
        here ("2ms"): it would be one of this machine at this moment. Nor is there a quarantine, unless its `failures`,
        `window`, `pause` and `longest` are given.
        """
        if at not in PLACES:
            raise ValueError(f"filters at {at!r}: allowed are {', '.join(PLACES)}")
        if mode not in ("active", "shadow"):
            raise ValueError(f"mode {mode!r}: allowed are active and shadow")
        for given in _flat(filters):
            made = given() if isinstance(given, type) else given
            settings: dict[str, Any] = {
                "on_error": on_error or type(made).on_error or ("closed" if type(made).security else "open"),
                "body_limit": _bytes(type(made).body_limit if body_limit is None else body_limit),
                "timeout_ns": parse_duration(timeout or type(made).timeout or "30s"),
                "budget_ns": parse_duration(budget) if budget else NO_BUDGET,
                "shadow": mode == "shadow", "changes_body": type(made).changes_body,
                "quarantine": quarantine_of(quarantine)}
            if settings["on_error"] not in ("closed", "open", "skip"):
                raise ValueError(f"on_error={settings['on_error']!r}: allowed are closed, open and skip")
            self._lineup.add(made, at, settings, match)
        self._is_stale = True
        return self

    def cluster(self, name: str, *, endpoints: int | None = None, weights: Sequence[int] = (),
                subsets: Sequence[Mapping[str, str]] = (), fallback: str = "any") -> Cluster:
        """The cluster of this name, made when there is none: for routes, for filters that choose it, and for calls of
        `self.mesh`. It has one endpoint, unless `endpoints` says how many, or `weights` or `subsets` has one for each;
        said of a cluster that is there, it has those from then on. Of `subsets` each is the metadata of an endpoint,
        and their names are those by which `request.subset` may ask; `fallback` is "any" or "none"."""
        found = self._clusters.get(name)
        if found is None:
            found = self._clusters[name] = Cluster(name, len(self._clusters))
            self._is_stale = True
        if weights or endpoints is not None:
            found.has(weights or [1] * (endpoints or 0))
            self._is_stale = True
        if subsets:
            found.splits(subsets, fallback)
            self._is_stale = True
        return found

    def balance(self, balancer: LoadBalancer | type[LoadBalancer], cluster: str = "upstream", *,
                endpoints: int | None = None, weights: Sequence[int] = (), interval: str | None = None,
                pick_by: str = "round_robin", on_error: str | None = None, budget: str | None = None,
                quarantine: Mapping[str, Any] | None = None, mode: str = "active") -> Kit:
        """Lets a load balancer balance a cluster, which gets so many endpoints, or one for each of `weights`.

        It is asked for weights before the first request and then whenever `interval` has passed: `pass_time`. The rest
        is what an operator may write beside it, `budget` and `quarantine` as in `use`.
        """
        made = balancer() if isinstance(balancer, type) else balancer
        if not isinstance(made, LoadBalancer):
            raise TypeError(f"{balancer!r} is no load balancer: instances and classes of fastmesh.LoadBalancer are "
                            "allowed")
        if pick_by not in WEIGHING:
            raise ValueError(f"pick_by={pick_by!r}: allowed are {', '.join(WEIGHING)}")
        if mode not in ("active", "shadow"):
            raise ValueError(f"mode {mode!r}: allowed are active and shadow")
        policy = on_error or type(made).on_error or "open"
        if policy not in ("closed", "open"):
            raise ValueError(f"on_error={policy!r}: allowed are closed and open")
        if cluster in self._policies:
            raise ValueError(f"the cluster {cluster!r} is balanced already")
        self.cluster(cluster, endpoints=endpoints, weights=weights)
        self._policies[cluster] = Policy(len(self._lineup.slots), parse_duration(interval or type(made).interval),
                                         pick_by)
        self._lineup.add(made, "", {
            "on_error": policy, "budget_ns": parse_duration(budget) if budget else NO_BUDGET,
            "shadow": mode == "shadow", "quarantine": quarantine_of(quarantine)})
        self._is_stale = True
        return self

    def fall_back(self, fallback: Fallback | type[Fallback], *, on: Sequence[str | int] = ("gateway-error",),
                  timeout: str = "1s", budget: str | None = None,
                  quarantine: Mapping[str, Any] | None = None) -> Kit:
        """Adds a step to the fallback of all routes, which is asked where their cluster fails as `on` says::

            kit = Kit().fall_back(ProblemDetails())
            kit.upstream.fails("reset")
            assert kit.get("/").status == 503

        Several are asked in their order. The rest is what an operator may write beside it, `budget` and `quarantine`
        as in `use`.
        """
        made = fallback() if isinstance(fallback, type) else fallback
        if not isinstance(made, Fallback):
            raise TypeError(f"{fallback!r} is no fallback: instances and classes of fastmesh.Fallback are allowed")
        try:
            named = FallbackStep.model_validate({"use": "here", "on": list(on)}).on
        except ValidationError as error:
            raise ValueError(f"on={list(on)!r}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
        if len(self._steps) >= MAX_STEPS:
            raise ValueError(f"a fallback has at most {MAX_STEPS} steps")
        self._lineup.add(made, "", {
            "timeout_ns": parse_duration(timeout), "budget_ns": parse_duration(budget) if budget else NO_BUDGET,
            "quarantine": quarantine_of(quarantine)})
        slots = self._lineup.slots
        self._steps.append(Fall(len(slots) - 1, slots[-1].name, type(made).before_filters, named))
        self._is_stale = True
        return self

    def pretend(self, endpoint: int | str, cluster: str = "upstream", **numbers: Any) -> Kit:
        """Makes the worker out to have seen this of an endpoint of a cluster that is balanced, by its place or address:
        `latency` and `answer_time` in seconds, `active`, `requests`, `failures`, `connect_failures`, `answers`,
        `is_avoided`. It holds, whatever traffic there is, until it is said otherwise."""
        self._ready()
        address = self._clusters[cluster].endpoints[endpoint] if isinstance(endpoint, int) else endpoint
        known = self._pretended.setdefault((cluster, address), {})
        known.update(numbers)
        try:
            self._tell_numbers()
        except (ValueError, TypeError):
            del self._pretended[cluster, address]
            raise
        return self

    def shares(self, n: int = 1000, *, cluster: str = "upstream", method: str = "GET", path: str = "/",
               **request: Unpack[Parts]) -> dict[str, float]:
        """Sends n requests, one after the other, and says which part of them each endpoint of the cluster got."""
        __tracebackhide__ = True
        if n < 1:
            raise ValueError(f"n={n}: 1 or more is allowed")
        asked = self._clusters[cluster].requests
        before = len(asked)
        for _ in range(n):
            self.request(method, path, **request)
        got = Counter(one.endpoint for one in asked[before:])
        return {address: got[address] / max(1, got.total()) for address in self._clusters[cluster].endpoints}

    def route(self, *, prefix: str | None = None, path: str | None = None, cluster: str = "upstream",
              timeout: str = "0s", name: str = "") -> Kit:
        """Another route before the one that leads everything to `kit.upstream`; the first that fits counts."""
        if (prefix is None) == (path is None):
            raise ValueError("a route has a prefix or a path: give one of them")
        self.cluster(cluster)
        self._routes.append(Route(name or f"route-{len(self._routes)}", "prefix" if path is None else "exact",
                                  str(prefix if path is None else path), cluster, parse_duration(timeout)))
        self._is_stale = True
        return self

    @property
    def filters(self) -> list[Filter]:
        """The instances, in the order in which they were given."""
        return [made for made in self._lineup.made if isinstance(made, Filter)]

    # --- requests ------------------------------------------------------------------------------------------------

    def get(self, path: str = "/", **request: Unpack[Parts]) -> Reply:
        """As `request`."""
        __tracebackhide__ = True
        return self.request("GET", path, **request)

    def head(self, path: str = "/", **request: Unpack[Parts]) -> Reply:
        """As `request`."""
        __tracebackhide__ = True
        return self.request("HEAD", path, **request)

    def delete(self, path: str = "/", **request: Unpack[Parts]) -> Reply:
        """As `request`."""
        __tracebackhide__ = True
        return self.request("DELETE", path, **request)

    def options(self, path: str = "/", **request: Unpack[Parts]) -> Reply:
        """As `request`."""
        __tracebackhide__ = True
        return self.request("OPTIONS", path, **request)

    def post(self, path: str = "/", **request: Unpack[Parts]) -> Reply:
        """As `request`."""
        __tracebackhide__ = True
        return self.request("POST", path, **request)

    def put(self, path: str = "/", **request: Unpack[Parts]) -> Reply:
        """As `request`."""
        __tracebackhide__ = True
        return self.request("PUT", path, **request)

    def patch(self, path: str = "/", **request: Unpack[Parts]) -> Reply:
        """As `request`."""
        __tracebackhide__ = True
        return self.request("PATCH", path, **request)

    def request(self, method: str, path: str = "/", *, headers: FieldsLike = (), body: bytes | str = b"",
                json: Any = None, chunks: Iterable[bytes] | None = None, trailers: FieldsLike = (),
                peer: str = "127.0.0.1") -> Reply:
        """Sends a request and waits for its answer: time passes until it is there.

        `chunks` sends the body chunked, each piece by itself; so do `trailers`. `peer` is the client's IP address.
        Raises the first exception that a filter has raised, and Unanswered when there is no answer after ten minutes of
        the kit's clock.
        """
        __tracebackhide__ = True
        return self._finish(self._begin(sent(method, path, headers=headers, body=body, json=json, chunks=chunks,
                                              trailers=trailers, peer=peer)))

    def begin(self, method: str, path: str = "/", **request: Unpack[Parts]) -> Reply:
        """Sends a request, as `request`, and lets happen what happens without time passing. Goes on in `pass_time`,
        `Reply.send` and `Reply.leave`. Of several that are under way at a time, the last one is told what filters raise
        and log."""
        __tracebackhide__ = True
        reply = self._begin(sent(method, path, **request))
        self._raise()
        return reply

    def raw(self, *pieces: bytes, peer: str = "127.0.0.1") -> Reply:
        """Sends bytes as they are, each piece by itself, and waits for the answer to the first request in them."""
        __tracebackhide__ = True
        method = pieces[0].split(b" ", 1)[0].decode("latin-1") if pieces else ""
        return self._finish(self._begin(Sent(method, list(pieces), peer)))

    def every_split(self, body: bytes | str = b"", *, answer: bytes | str | None = None, method: str = "POST",
                    path: str = "/", headers: FieldsLike = (),
                    by: Callable[[Reply], Any] | None = None) -> Reply:
        """Runs one exchange again and again, with its bodies cut in every way, and returns that with both in one piece.

        The request's body is `body`; `answer`, when it is given, is the body that `kit.upstream` answers with. Each is
        cut in two at every place, then byte by byte; with a Content-Length, and chunked. Raises AssertionError when an
        exchange with other cuts comes to something else: another status, body, header or label, or another request at
        the upstream; or, with `by`, when `by(reply)` is not equal. The filters are the same instances all along: what
        they count, say, must not show.
        """
        data = body.encode() if isinstance(body, str) else body
        said = answer.encode() if isinstance(answer, str) else answer
        if len(data) > SPLIT_MOST or len(said or b"") > SPLIT_MOST:
            raise ValueError(f"a body of more than {SPLIT_MOST} bytes is too long to be cut everywhere")
        look = by or essence
        fields = pairs_of(headers)

        def run(cut: list[bytes], answer_cut: list[bytes] | None, is_chunked: bool) -> Reply:
            if answer_cut is not None:
                self.upstream.answers(cut_answer(answer_cut, is_chunked), times=1)
            if is_chunked:
                return self.request(method, path, headers=fields, chunks=cut)
            lines = [("host", "test"), *fields, *([("content-length", str(len(data)))] if data else [])]
            head = write(request_line(method, path), lines, b"", None, ())
            return self._finish(self._begin(Sent(method, [*head, *cut], "127.0.0.1")))

        wholly: dict[bool, Reply] = {}
        for is_chunked in (False, True) if data or said is not None else (False,):
            first = wholly[is_chunked] = run([data] if data else [], None if said is None else [said], is_chunked)
            expected = look(first)
            for cut in cuts(data):
                same(expected, look(run(cut, None if said is None else [said], is_chunked)), "request's", cut)
            for cut in cuts(said or b""):
                same(expected, look(run([data] if data else [], cut, is_chunked)), "answer's", cut)
        return wholly[False]

    # --- time ----------------------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """The kit's clock. All kits of a process share it."""
        return self._stage.now_ns

    def pass_time(self, seconds: float) -> None:
        """Lets so much time pass: for sleeps, timeouts, quarantines, answers that come late. Raises what filters raise
        meanwhile."""
        __tracebackhide__ = True
        self._ready()
        self._tell_numbers()
        self._traffic.pass_time(round(seconds * SECOND))
        self._raise()

    # --- what filters say of themselves --------------------------------------------------------------------------

    def metric(self, name: str, *, filter: str | None = None, **labels: str | int) -> float:
        """The value of a metric that a filter has declared, by the name that it used, under these labels; of a
        histogram how many values it has seen. `filter` is the filter's name, needed where several have such a one."""
        found = []
        for made in self._lineup.made:
            if filter is not None and made.name != filter:
                continue
            for full, (_, metric) in made.metrics._declared.items():
                own = full.removeprefix(made.metrics._prefix)
                if name in (own, own.removesuffix("_total"), full):
                    found.append(metric)
        if len(found) != 1:
            known = [full for made in self._lineup.made for full in made.metrics._declared]
            raise KeyError(f"{len(found)} metrics are called {name!r}; declared are {', '.join(known) or 'none'}")
        cell: Any = found[0].labels(**labels)
        return float(cell.count if hasattr(cell, "count") else cell.value)

    def cost(self, n: int = 2000, *, of: Reply | None = None) -> float:
        """Seconds that the filters of this kit take for one exchange: like `of`, or a GET of "/".

        The exchange is run n times, in batches of 100. Of each batch the time that was spent within the filters' phases
        is taken, as the proxy itself counts it for `/metrics`: from each call to its return, without what a phase waits
        for, without the proxy's own work, with the call itself (about 0.1 µs for each phase). The batch that took least
        counts, so what else runs on the machine hardly shows; a slower machine does. It is wall time: a filter that
        blocks is as dear as one that computes. The upstream does what it was told to do when nothing with `times` is
        left of it.
        """
        if n < 1:
            raise ValueError(f"n={n}: 1 or more is allowed")
        sent = of.sent if of is not None else Sent("GET", [b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"], "127.0.0.1")
        best = None
        told = [(cluster, list(cluster._next), len(cluster.requests)) for cluster in self._clusters.values()]
        n_lines, n_reports = len(self.log), len(self.reports)
        was_on = gc.isenabled()
        gc.disable()
        try:
            for cluster, _, _ in told:
                cluster._next = []
            while n > 0:
                size = min(n, BATCH)
                n -= size
                before = self._spent()
                for _ in range(size):
                    self._finish(self._begin(sent))
                for cluster, _, n_requests in told:
                    del cluster.requests[n_requests:]
                took = (self._spent() - before) / size
                best = took if best is None else min(best, took)
        finally:
            if was_on:
                gc.enable()
            # Nobody has asked for what was measured along.
            for cluster, after, n_requests in told:
                cluster._next = after
                del cluster.requests[n_requests:]
            del self.log[n_lines:], self.reports[n_reports:]
        assert best is not None
        return best / 1e9

    def _spent(self) -> int:
        return sum(self._stage.spent(row)[1] for row in range(1, len(self._lineup.slots)))

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """All clients leave, and the worker ends. Raises Leftover when something waits on for a client that has left,
        or for longer than its timeout."""
        if self._worker is None:
            return
        try:
            if self._lineup.slots and not self._is_stale:
                self._leave()
        finally:
            self._shut()

    def _leave(self) -> None:
        worker = self._ready()
        self._traffic.leave()
        # What may still wait is what on_complete waits for: it has its time.
        until = self._stage.now_ns + 60 * SECOND
        while self._stage.now_ns < until and (self._waiting() or any(_in_use(worker).values())):
            self._traffic.wait(until - self._stage.now_ns)
            self._traffic.refuse()
        waiting, left = self._waiting(), _in_use(worker)
        if waiting:
            raise Leftover(f"coroutines wait although everybody has left: {', '.join(waiting)}")
        if any(left.values()):
            raise Leftover(f"the worker still holds {', '.join(f'{n} {what}' for what, n in left.items() if n)}")

    def _waiting(self) -> list[str]:
        return [slot.name for row, slot in enumerate(self._lineup.slots) if self._stage.spent(row)[4]]

    def abandon(self) -> None:
        """Ends it and asks nothing: for a test that has failed."""
        self._shut()

    def _shut(self) -> None:
        if is_turning():
            raise RuntimeError("a kit cannot be closed from within a filter")
        worker, self._worker = self._worker, None
        if worker is None:
            return
        worker.close()
        self._table = None
        self._traffic.forget()
        self._lineup.stop()

    def __enter__(self) -> Kit:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self._shut()

    def __repr__(self) -> str:
        return f"<Kit {', '.join(slot.name for slot in self._lineup.slots[1:]) or 'without filters'}>"

    # --- what filters say ----------------------------------------------------------------------------------------

    def _on_complete(self, request: Request, outcome: Outcome) -> None:
        """Keeps what is gone when the phase is over."""
        reply = self._traffic.at_port(request.connection.port)
        if reply is not None:
            reply.outcome = outcome
            reply.labels = dict(request.labels)
            reply.state = dict(request.state)
            reply.cluster, reply.subset = request.cluster, request.subset
            reply.retry = request.retry
            reply.upstream = self._traffic.asked_as(request.id) or reply.upstream

    def _say(self, event: dict[str, Any]) -> None:
        line = LogLine(event["level"], event["filter"], event["text"])
        self.log.append(line)
        for reply in self._traffic.open[-1:]:
            reply.log.append(line)

    def _report(self, report: Report) -> None:
        self.reports.append(report)
        for reply in self._traffic.open[-1:]:
            reply.reports.append(report)

    def _on_error(self, phase: str, error: BaseException) -> None:
        if isinstance(error, Cancelled):
            return
        for reply in self._traffic.open[-1:]:
            reply.errors.append(error)
        self._unraised.append(error)

    def _raise(self) -> None:
        """What filters have raised and nobody was told of."""
        __tracebackhide__ = True
        errors, self._unraised = self._unraised, []
        if self.raises and errors:
            raise errors[0]

    # --- the worker ----------------------------------------------------------------------------------------------

    def _ready(self) -> Worker:
        if self._worker is None:
            raise RuntimeError("this kit is closed")
        if is_turning():
            raise RuntimeError("a filter's phase cannot use a kit: it runs within the kit's worker")
        if self._is_stale:
            self._is_stale = False
            self._version += 1
            self._table = Table(self._lineup.slots)
            self._worker.apply(
                snapshot(self._version, self._clusters.values(), self._routes, self._lineup.rules,
                         self._lineup.chains, self._policies, self._steps), self._table)
        self._worker.take_filters_over()
        return self._worker

    def _tell_numbers(self) -> None:
        for (cluster, address), numbers in self._pretended.items():
            assert self._table is not None
            set_numbers(self._table, cluster, address, numbers)

    # --- an exchange ---------------------------------------------------------------------------------------------

    def _begin(self, sent: Sent) -> Reply:
        __tracebackhide__ = True
        self._ready()
        self._tell_numbers()
        reply = Reply(self, sent, self._traffic.visit(sent.peer))
        self._traffic.begin(reply)
        return reply

    def _finish(self, reply: Reply) -> Reply:
        __tracebackhide__ = True
        is_answered = self._traffic.finish(reply)
        self._raise()
        if not is_answered:
            reply._whole()
        return reply


def _weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """The worker holds what its filters hold: it must not hold the kit, which holds the worker."""
    reference = WeakMethod(method)

    def call(*args: Any) -> None:
        bound = reference()
        if bound is not None:
            bound(*args)

    return call


def _flat(filters: Iterable[Given | Sequence[Given]]) -> Iterator[Given]:
    for given in filters:
        if isinstance(given, Filter) or (isinstance(given, type) and issubclass(given, Filter)):
            yield given
        elif isinstance(given, (list, tuple)):
            yield from _flat(given)
        else:
            raise TypeError(f"{given!r} is no filter: instances and classes of fastmesh.Filter are allowed")


def _bytes(size: str | int) -> int:
    return size if isinstance(size, int) else parse_size(size)


def _in_use(worker: Worker) -> dict[str, int]:
    live = worker.live()
    return {what: live[what] for what in ("connections", "streams", "upstreams", "relays", "blocks", "slices")}
