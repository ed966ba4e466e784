"""The route tables of a snapshot for who asks beside the traffic: the same bytes, decoded and asked by the same
code."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.http.h1 cimport (
    H1_EFIELDS, H1_EHEAD, H1_EURI, H1_EVERSION, h1_parse_request)
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.lb.endpoint cimport endpoint_row_t
from fastmesh._core.lb.subset cimport subset_choose, subset_pair_t, subset_pairs
from fastmesh._core.mem.raw cimport raw_give, raw_take, raw_zeroed
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.net.addr cimport addr_parse, addr_t
from fastmesh._core.route.asked_for cimport asked_begin, asked_end, own_method_t
from fastmesh._core.route.decision cimport DECIDED_ROUTE, DECIDE_ROOM, decide, decision_t
from fastmesh._core.route.route_table cimport asker_t, route_miss, route_t
from fastmesh._core.route.route_split cimport split_pick
from fastmesh._core.route.subset_rule cimport SUBSET_RULE_MAX
from fastmesh._core.snapshot.snapshot cimport (
    PROTOCOL_HTTP, listener_t, live_free, live_new, snapshot_decode, snapshot_put, snapshot_t)
from fastmesh._core.snapshot.subsets cimport subset_rule_asks

from fastmesh._core.lb.subset import CHOICES
from fastmesh._core.route.decision import DECISIONS
from fastmesh._core.route.route_table import MISSES

cdef enum:
    WHY_MAX = 512
    LISTED_MOST = 40          # endpoints of a subset


class Refused(Exception):
    """The head is no HTTP, or too much of it; `status` is what it would be answered with."""

    def __init__(self, why, status):
        super().__init__(why)
        self.status = status


cdef dict words_of(const subset_pair_t *pairs, uint32_t n):
    return {span_bytes(pairs[i].name).decode("utf-8", "replace"): span_bytes(pairs[i].value).decode("utf-8", "replace")
            for i in range(n)}


cdef class Tables:
    """The tables of one snapshot, and the request that was asked last."""
    cdef snapshot_t *s
    cdef void *live
    cdef endpoint_row_t *row
    cdef uint8_t *room
    cdef msg_t *m
    cdef addr_t addr
    cdef asker_t who
    cdef decision_t decision
    cdef bytes head           # what `m` points into
    cdef uint32_t asked       # listener
    cdef readonly bint is_preflight     # that a route with `cors` answers, which is matched as what it asks about

    def __cinit__(self, bytes snapshot):
        cdef char why[WHY_MAX]
        cdef const char *p = snapshot
        self.live = live_new()
        self.row = <endpoint_row_t *>raw_zeroed(sizeof(endpoint_row_t))
        self.room = <uint8_t *>raw_take(DECIDE_ROOM)
        self.m = <msg_t *>raw_zeroed(sizeof(msg_t))
        self.s = snapshot_decode(<const uint8_t *>p, len(snapshot), self.row, 1, self.live, why, WHY_MAX)
        if self.s is NULL:
            raise ValueError((<bytes>why).decode("utf-8", "replace"))

    def ask(self, uint32_t listener, bytes head, str peer, uint64_t draw):
        """(how it is decided, route, the path that was compared, cluster) for a request. Raises Refused, or ValueError
        for a peer that is no address."""
        cdef bytes address = peer.encode()
        cdef const char *p
        cdef const char *text = address
        cdef int rc
        if self.s is NULL or listener >= self.s.n_listeners or self.s.listeners[listener].protocol != PROTOCOL_HTTP:
            raise IndexError(listener)
        if addr_parse(&self.addr, text, <uint32_t>len(address)) != 0:
            raise ValueError(f"{peer!r} is no address")
        self.head = head
        self.asked = listener
        p = self.head
        rc = h1_parse_request(self.m, <const uint8_t *>p, <uint32_t>len(head), 0, &self.s.listeners[listener].limits)
        if rc < 0:
            raise Refused((<bytes>self.m.fault).decode() if self.m.fault is not NULL else "this is no request",
                          {H1_EURI: 414, H1_EHEAD: 431, H1_EFIELDS: 431, H1_EVERSION: 505}.get(rc, 400))
        self.who.addr = &self.addr
        self.who.draw = draw
        self._decide(&self.s.listeners[listener])
        return (DECISIONS[self.decision.how], None if self.decision.route is NULL else self.decision.route.index,
                span_bytes(self.decision.path), self._cluster(draw))

    cdef void _decide(self, const listener_t *l):
        cdef own_method_t own
        self.is_preflight = l.has_cors and asked_begin(self.m, &own)
        decide(&l.routes, self.m, &self.who, self.room, &self.decision)
        if self.is_preflight and (self.decision.how != DECIDED_ROUTE or self.decision.route.cors == 0):
            self.is_preflight = False
            asked_end(self.m, &own)
            decide(&l.routes, self.m, &self.who, self.room, &self.decision)

    def _cluster(self, uint64_t draw):
        if self.decision.how != DECIDED_ROUTE:
            return None
        if self.decision.route.split is not NULL:
            return self.decision.route.split.parts[split_pick(self.decision.route.split, self.m, draw)].cluster
        return self.decision.route.cluster if self.decision.route.cluster >= 0 else None

    def subset(self, uint64_t draw):
        """Which subset of its cluster the request that was asked last goes to: (how it was chosen, one of CHOICES; what
        it asks for; what all endpoints of the subset have; how many there are, and the first of them). None when its
        cluster has no subsets."""
        cdef const route_t *route = self.decision.route
        cdef subset_pair_t pairs[SUBSET_RULE_MAX]
        cdef cluster_t *found
        cdef uint32_t n = 0
        cdef uint32_t number
        cdef int how = 0
        cluster = self._cluster(draw)
        if cluster is None or self.s.clusters[<uint32_t>cluster].subsets is NULL:
            return None
        number = route.subset
        if route.split is not NULL:
            number = route.split.parts[split_pick(route.split, self.m, draw)].subset
        if number != 0:
            n = subset_rule_asks(&self.s.subset_rules[number - 1], self.m, pairs)
        found = subset_choose(&self.s.clusters[<uint32_t>cluster], pairs, n, &how)
        asked = words_of(pairs, n)
        n = subset_pairs(found, pairs)
        return CHOICES[how], asked, words_of(pairs, n), found.n, [
            span_bytes(found.endpoints[i].text).decode() for i in range(min(found.n, LISTED_MOST))]

    def miss(self, uint32_t listener, uint32_t route):
        """(what keeps the request that was asked last from a route, of which header, cookie or parameter); "" for
        nothing."""
        cdef span_t name
        cdef int how
        if self.head is None or listener != self.asked or route >= self.s.listeners[listener].routes.n:
            raise IndexError(route)
        how = route_miss(&self.s.listeners[listener].routes.routes[route], self.m, self.decision.path, &self.who, &name)
        return MISSES[how], span_bytes(name).decode("utf-8", "replace")

    def close(self):
        """Gives everything back."""
        if self.s is not NULL:
            snapshot_put(self.s)
            self.s = NULL
        if self.live is not NULL:
            live_free(self.live)
            self.live = NULL
            raw_give(self.row)
            raw_give(self.room)
            raw_give(self.m)

    def __dealloc__(self):
        self.close()


cdef inline bytes span_bytes(span_t s):
    return (<const char *>s.ptr)[:s.len] if s.ptr is not NULL else b""
