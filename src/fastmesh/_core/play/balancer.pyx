"""A worker's balancer alone: the compiled picks of one cluster, with a clock and random numbers that the caller has.

For simulations. Snapshots, settings and algorithms are those of the proxy; what the proxy does around a pick (counting
requests in and out, telling of outcomes) is asked for here call by call. Endpoints are told by their place in the
snapshot. One thread.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from fastmesh._core.lb.cluster cimport (
    OUTCOME_ANSWERED, OUTCOME_FAILED, OUTCOME_LEFT, cluster_pick, cluster_pick_key, cluster_t, endpoint_connect_failed,
    endpoint_connect_ok, endpoint_is_usable)
from fastmesh._core.lb.endpoint cimport endpoint_row_t, endpoint_t
from fastmesh._core.lb.ejection cimport ejection_release
from fastmesh._core.lb.subset cimport subset_choose, subset_pair_t
from fastmesh._core.lb.use cimport endpoint_claim, endpoint_health
from fastmesh._core.mem.arena cimport heap_array, heap_free
from fastmesh._core.mem.health cimport (
    CHECKED_BAD, CHECKED_GOOD, CHECKED_NOT_YET, endpoint_health_t, health_map, health_t, health_unmap)
from fastmesh._core.mem.segment cimport word_add, word_set
from fastmesh._core.resil.adaptive cimport adaptive_admits, adaptive_observe, gradient_t
from fastmesh._core.resil.admission cimport admission_admits, admission_count
from fastmesh._core.resil.breaker cimport OVER_ADAPTIVE, OVER_ADMISSION, OVER_REQUESTS, breaker_refuses_request
from fastmesh._core.resil.breaker import LIMITS
from fastmesh._core.resil.budget cimport budget_earn, budget_spend
from fastmesh._core.resil.outlier cimport (
    SEEN_CONNECT, SEEN_ERROR, SEEN_GATEWAY, SEEN_GOOD, SEEN_TIMEOUT, outlier_observe)
from fastmesh._core.resil.retry cimport FAULT_STATUS, FAULT_TIMEOUT, retry_names, retry_pause, retry_t
from fastmesh._core.route.subset_rule cimport SUBSET_RULE_MAX
from fastmesh._core.snapshot.snapshot cimport (
    live_free, live_new, live_share, snapshot_decode, snapshot_put, snapshot_t)
from fastmesh._core.snapshot.subsets cimport subset_rule_asks

ANSWERED = OUTCOME_ANSWERED
FAILED = OUTCOME_FAILED
LEFT = OUTCOME_LEFT
GOOD = SEEN_GOOD
ERROR = SEEN_ERROR
GATEWAY = SEEN_GATEWAY
CONNECT = SEEN_CONNECT
TIMEOUT = SEEN_TIMEOUT
BY_STATUS = FAULT_STATUS
BY_TIMEOUT = FAULT_TIMEOUT
NOT_YET = CHECKED_NOT_YET
PASSES = CHECKED_GOOD
FAILS = CHECKED_BAD

cdef enum:
    TRIED_MAX = 8
    WHY_MAX = 512


cdef class Balancer:
    cdef void *registry
    cdef endpoint_row_t *rows
    cdef uint32_t n_rows
    cdef snapshot_t *s
    cdef int64_t *places          # of each endpoint in the snapshot, by the number of its row; owned
    cdef uint64_t rng
    cdef health_t *health
    cdef Balancer beside          # owns the health, when there is one
    cdef bint is_probe

    def __cinit__(self, bytes snapshot, uint32_t endpoints, uint64_t seed, Balancer beside=None):
        """`endpoints`: how many there will be at most, over all snapshots. `beside`: another worker of that proxy."""
        self.beside = beside
        self.health = beside.health if beside is not None else health_map(-1)
        if self.health is NULL:
            raise MemoryError("the memory that workers share cannot be had")
        self.registry = live_new()
        live_share(self.registry, self.health)
        self.n_rows = endpoints + 1
        self.rows = <endpoint_row_t *>heap_array(self.n_rows, sizeof(endpoint_row_t))
        self.places = <int64_t *>heap_array(self.n_rows, sizeof(int64_t))
        self.rng = seed
        self.replace(snapshot)

    def __dealloc__(self):
        if self.s is not NULL:
            snapshot_put(self.s)
        live_free(self.registry)
        heap_free(self.rows)
        heap_free(self.places)
        if self.beside is None:
            health_unmap(self.health)

    def replace(self, bytes snapshot):
        """As a reload does: what is known of endpoints that stay is kept. Nothing may be in flight to one that goes."""
        cdef char why[WHY_MAX]
        cdef const char *p = snapshot
        cdef snapshot_t *s = snapshot_decode(<const uint8_t *>p, len(snapshot), self.rows, self.n_rows, self.registry,
                                             why, WHY_MAX)
        if s is NULL:
            raise ValueError((<bytes>why).decode("utf-8", "replace"))
        if self.s is not NULL:
            snapshot_put(self.s)
        self.s = s
        if s.n_clusters != 0 and s.clusters[0].subsets is not NULL:
            self.note_places(&s.clusters[0])

    cdef int note_places(self, const cluster_t *c) except -1:
        """Subsets have copies of endpoints, which are known by their rows."""
        cdef uint32_t i
        for i in range(c.n):
            if c.endpoints[i].row >= self.n_rows:
                raise ValueError(f"endpoint {i} has row {c.endpoints[i].row}, and there are {self.n_rows}")
            self.places[c.endpoints[i].row] = i
        return 0

    cdef cluster_t *part(self, int64_t subset) except NULL:
        """What a request picks from that asks for a subset as the rule of that number says; -1 = it asks for none."""
        cdef subset_pair_t pairs[SUBSET_RULE_MAX]
        cdef cluster_t *c = self.cluster()
        cdef uint32_t n = 0
        cdef int how = 0
        if c.subsets is NULL:
            return c
        if subset >= 0:
            if subset >= self.s.n_subset_rules:
                raise IndexError(subset)
            n = subset_rule_asks(&self.s.subset_rules[subset], NULL, pairs)
        return subset_choose(c, pairs, n, &how)

    cdef endpoint_t *member(self, cluster_t *part, int64_t at) except? NULL:
        """What an endpoint is in a part of the cluster; NULL: it is not in it."""
        cdef endpoint_t *e = self.endpoint(at)
        cdef uint32_t i
        if part.whole is NULL:
            return e
        for i in range(part.n):
            if part.endpoints[i].live is e.live:
                return &part.endpoints[i]
        return NULL

    cdef cluster_t *cluster(self) except NULL:
        if self.s.n_clusters == 0:
            raise IndexError("the snapshot has no cluster")
        return &self.s.clusters[0]

    cdef endpoint_t *endpoint(self, int64_t at) except NULL:
        cdef cluster_t *c = self.cluster()
        if not 0 <= at < c.n:
            raise IndexError(at)
        return &c.endpoints[at]

    def begin(self):
        """A request comes in: it counts as in flight in the cluster until `end`."""
        self.cluster().live.active += 1

    def end(self):
        self.cluster().live.active -= 1

    def refuses(self, uint64_t now_ns):
        """Which limit turns the next request away, one of breaker.LIMITS; None when it may begin."""
        cdef cluster_t *c = self.cluster()
        if breaker_refuses_request(c, False, now_ns):
            return LIMITS[OVER_REQUESTS]
        if c.adaptive is not NULL and not adaptive_admits(c, c.live.active, now_ns):
            return LIMITS[OVER_ADAPTIVE]
        if c.admission is not NULL and not admission_admits(c, now_ns, &self.rng):
            return LIMITS[OVER_ADMISSION]
        return None

    def answered(self, uint32_t status, uint64_t took_ns, uint64_t now_ns):
        """How a request of the cluster ended; 504 is one that was given up."""
        cdef cluster_t *c = self.cluster()
        if c.adaptive is not NULL and (status < 500 or status == 504):
            adaptive_observe(c, c.live.active, took_ns, status == 504, now_ns)
        if c.admission is not NULL:
            admission_count(c, status, now_ns)

    @property
    def limit(self):
        """What the limit of adaptive concurrency has come to; 0 when there is none."""
        cdef const gradient_t *g = <const gradient_t *>self.cluster().live.adaptive
        return g.limit if g is not NULL else 0.0

    def pick(self, uint64_t now_ns, key=None, tuple tried=(), int64_t subset=-1):
        """The endpoint for a request, which is in flight there until `leave`; None when there is none. `subset`: the
        place of what it asks for among the snapshot's; -1 = it asks for none."""
        cdef endpoint_t *list_[TRIED_MAX]
        cdef cluster_t *c = self.part(subset)
        cdef endpoint_t *e
        cdef uint32_t n = 0
        if len(tried) > TRIED_MAX:
            raise ValueError("more than eight attempts")
        for at in tried:
            e = self.member(c, at)
            if e is not NULL:
                list_[n] = e
                n += 1
        if key is None:
            e = cluster_pick(c, now_ns, &self.rng, list_, n)
        else:
            e = cluster_pick_key(c, <uint64_t>key, now_ns, &self.rng, list_, n)
        if e is NULL:
            return None
        e.live.active += 1
        self.is_probe = e.live.is_claimed
        e.live.is_claimed = 0
        return e - c.endpoints if c.whole is NULL else self.places[e.row]

    def has_other(self, int64_t at, uint64_t now_ns, int64_t subset=-1):
        """There is one besides it that a request may go to, and that is not avoided."""
        cdef cluster_t *c = self.part(subset)
        cdef endpoint_t *e = self.member(c, at)
        cdef uint32_t i
        for i in range(c.n):
            if endpoint_is_usable(&c.endpoints[i], now_ns, &e, 1):
                return True
        return False

    def size(self, int64_t subset=-1):
        """How many endpoints a request may go to that asks for it."""
        return self.part(subset).n

    @property
    def has_probed(self):
        """The pick that was made last is the one request that asks an ejected endpoint whether it is well."""
        return bool(self.is_probe)

    def judge(self, int64_t at, int seen, uint64_t took_ns, uint64_t now_ns, bint is_probe=False):
        """How a request ended there, for those who look for outliers."""
        cdef cluster_t *c = self.cluster()
        cdef endpoint_t *e = self.endpoint(at)
        if c.outlier.is_on:
            outlier_observe(c, e, seen, took_ns, now_ns, &self.rng, is_probe)

    def check(self, int64_t at, uint64_t checked):
        """What control's checks say of it: CHECKED_*."""
        cdef endpoint_health_t *h = endpoint_claim(self.endpoint(at).live)
        if h is NULL:
            raise ValueError("it has no row of its own")
        word_set(&h.checked, checked)
        word_add(&self.cluster().health.epoch, 1)

    def give_up_probe(self, int64_t at):
        """It ended without an outcome."""
        ejection_release(self.cluster(), self.endpoint(at))

    def ejection(self, int64_t at):
        """(until when, how often in a row, why): 0 when it is in."""
        cdef const endpoint_health_t *h = endpoint_health(self.endpoint(at).live)
        if h is NULL:
            return 0, 0, 0
        return h.until_ns, h.times, h.reason

    def earn(self, uint64_t now_ns):
        """A request has come: further attempts may be made for it, of it or of others."""
        cdef cluster_t *c = self.cluster()
        budget_earn(&c.live.retries, c.budget_share, now_ns)

    def again(self, int fault, uint32_t status, uint32_t attempts, uint64_t now_ns):
        """Nanoseconds before the next attempt of a request of the snapshot's first retry rule, when its attempt number
        `attempts` has failed by its status (BY_STATUS) or for want of an answer (BY_TIMEOUT). None: there is to be
        none; False: there is no budget for it."""
        cdef cluster_t *c = self.cluster()
        cdef const retry_t *r
        if self.s.n_retries == 0:
            return None
        r = &self.s.retries[0]
        if attempts >= r.attempts or not retry_names(r, fault, status):
            return None
        if not budget_spend(&c.live.retries, c.budget_rate, now_ns):
            return False
        return retry_pause(r, attempts, &self.rng)

    def leave(self, int64_t at):
        self.endpoint(at).live.active -= 1

    def observe(self, int64_t at, uint64_t took_ns, int outcome, uint64_t wait_ns, uint64_t now_ns):
        """How a request ended there; `wait_ns` is its Retry-After."""
        cdef cluster_t *c = self.cluster()
        cdef endpoint_t *e = self.endpoint(at)
        if c.ops.observe is not NULL:
            c.ops.observe(c, e, took_ns, outcome, wait_ns, now_ns)

    def connect_failed(self, int64_t at, uint64_t now_ns):
        endpoint_connect_failed(self.cluster(), self.endpoint(at), now_ns, &self.rng)

    def connect_ok(self, int64_t at):
        endpoint_connect_ok(self.endpoint(at))

    def active(self, int64_t at):
        return self.endpoint(at).live.active
