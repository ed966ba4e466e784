"""A worker's balancer alone: the compiled picks of one cluster, with a clock and random numbers that the caller has.

For simulations. Snapshots, settings and algorithms are those of the proxy; what the proxy does around a pick (counting
requests in and out, telling of outcomes) is asked for here call by call. Endpoints are told by their place in the
snapshot. One thread.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from fastmesh._core.lb.cluster cimport (
    OUTCOME_ANSWERED, OUTCOME_FAILED, OUTCOME_LEFT, cluster_pick, cluster_pick_key, cluster_t, endpoint_connect_failed,
    endpoint_connect_ok)
from fastmesh._core.lb.endpoint cimport endpoint_row_t, endpoint_t
from fastmesh._core.mem.arena cimport heap_array, heap_free
from fastmesh._core.snapshot.snapshot cimport live_free, live_new, snapshot_decode, snapshot_put, snapshot_t

ANSWERED = OUTCOME_ANSWERED
FAILED = OUTCOME_FAILED
LEFT = OUTCOME_LEFT

cdef enum:
    TRIED_MAX = 8
    WHY_MAX = 512


cdef class Balancer:
    cdef void *registry
    cdef endpoint_row_t *rows
    cdef uint32_t n_rows
    cdef snapshot_t *s
    cdef uint64_t rng

    def __cinit__(self, bytes snapshot, uint32_t endpoints, uint64_t seed):
        """`endpoints`: how many there will be at most, over all snapshots."""
        self.registry = live_new()
        self.n_rows = endpoints + 1
        self.rows = <endpoint_row_t *>heap_array(self.n_rows, sizeof(endpoint_row_t))
        self.rng = seed
        self.replace(snapshot)

    def __dealloc__(self):
        if self.s is not NULL:
            snapshot_put(self.s)
        live_free(self.registry)
        heap_free(self.rows)

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

    def pick(self, uint64_t now_ns, key=None, tuple tried=()):
        """The endpoint for a request, which is in flight there until `leave`; None when there is none."""
        cdef endpoint_t *list_[TRIED_MAX]
        cdef cluster_t *c = self.cluster()
        cdef endpoint_t *e
        cdef uint32_t n = <uint32_t>len(tried)
        cdef uint32_t i
        if n > TRIED_MAX:
            raise ValueError("more than eight attempts")
        for i in range(n):
            list_[i] = self.endpoint(tried[i])
        if key is None:
            e = cluster_pick(c, now_ns, &self.rng, list_, n)
        else:
            e = cluster_pick_key(c, <uint64_t>key, now_ns, &self.rng, list_, n)
        if e is NULL:
            return None
        e.live.active += 1
        return e - c.endpoints

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
