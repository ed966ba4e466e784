"""Snapshots that nothing uses any more, on their way out."""
from libc.stdint cimport uint32_t
from fastmesh._core.mem.arena cimport arena_free, heap_free, heap_new
from fastmesh._core.lb.cluster cimport cluster_drop, cluster_t
from fastmesh._core.lb.subset cimport subsets_drop
from fastmesh._core.snapshot.live cimport live_cluster_put, live_endpoint_put

cdef enum:
    AT_ONCE = 4096            # endpoints of a small one
    STEP = 1024               # endpoints and clusters

# One of them, and how far it is.
ctypedef struct leaving_t:
    snapshot_t *s             # owned
    uint32_t cluster
    uint32_t endpoint
    leaving_t *next

# A worker's registry.
ctypedef struct begun_t:
    const void *live
    begun_t *next

cdef leaving_t *first
cdef begun_t *begun           # of all workers of this process: tests have more than one


cdef bint let_go(leaving_t *l, uint32_t most) noexcept nogil:
    """Of so many endpoints at most. True when nothing is left."""
    cdef cluster_t *c
    while l.cluster < l.s.n_clusters:
        c = &l.s.clusters[l.cluster]
        if l.endpoint == 0:
            if most == 0:
                return False
            most -= 1
            subsets_drop(c)
            cluster_drop(c)
        while l.endpoint < c.n:
            if most == 0:
                return False
            most -= 1
            if c.endpoints[l.endpoint].live is not NULL:
                live_endpoint_put(l.s.live, c.endpoints[l.endpoint].live)
            l.endpoint += 1
        if c.live is not NULL:
            live_cluster_put(l.s.live, c.live)
        l.endpoint = 0
        l.cluster += 1
    arena_free(l.s.arena)
    return True


cdef bint is_large(const snapshot_t *s) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t i
    for i in range(s.n_clusters):
        n += s.clusters[i].n
        if n > AT_ONCE:
            return True
    return False


cdef begun_t **find(const void *live) noexcept nogil:
    cdef begun_t **at = &begun
    while at[0] is not NULL and at[0].live is not live:
        at = &at[0].next
    return at


cdef void leaving_begin(const void *live) noexcept nogil:
    global begun
    cdef begun_t *b = <begun_t *>heap_new(sizeof(begun_t))
    b.live = live
    b.next = begun
    begun = b


cdef void leaving_add(snapshot_t *s) noexcept nogil:
    global first
    cdef leaving_t alone
    cdef leaving_t *l
    if not is_large(s) or find(s.live)[0] is NULL:
        alone.s = s
        alone.cluster = 0
        alone.endpoint = 0
        let_go(&alone, <uint32_t>-1)
        return
    l = <leaving_t *>heap_new(sizeof(leaving_t))
    l.s = s
    l.next = first
    first = l


cdef bint leaving_is_any() noexcept nogil:
    return first is not NULL


cdef void unlink(leaving_t *l) noexcept nogil:
    cdef leaving_t **at = &first
    while at[0] is not l:
        at = &at[0].next
    at[0] = l.next
    heap_free(l)


cdef void leaving_step() noexcept nogil:
    cdef leaving_t *l = first
    if l is NULL or not let_go(l, STEP):
        return
    # Its end can have put others in front of it: what hangs on an endpoint holds snapshots.
    unlink(l)


cdef void leaving_end(const void *live) noexcept nogil:
    cdef leaving_t *l = first
    cdef begun_t **at = find(live)
    cdef begun_t *b = at[0]
    if b is not NULL:
        at[0] = b.next
        heap_free(b)
    while l is not NULL:
        if l.s.live is not live:
            l = l.next
            continue
        let_go(l, <uint32_t>-1)
        unlink(l)
        l = first
