"""The registry of what a worker has seen of clusters and endpoints, across snapshots."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
from fastmesh._core.mem.arena cimport heap_array, heap_free, heap_new
from fastmesh._core.mem.hash cimport hash_bytes
from fastmesh._core.mem.raw cimport raw_give
from fastmesh._core.mem.slab cimport slab_fini, slab_init, slab_t
from fastmesh._core.net.addr cimport addr_hash
from fastmesh._core.lb.endpoint cimport PLACE_BYTES, endpoint_hash, endpoint_is_at, endpoint_use_t
from fastmesh._core.lb.use cimport use_end
from fastmesh._core.snapshot.roster cimport (
    roster_add, roster_fini, roster_init, roster_look, roster_next, roster_remove, roster_reserve, roster_t)

ctypedef void (*on_last_t)(endpoint_live_t *) noexcept nogil

# Open addressing with linear probing. A removal closes its gap, so no tombstones pile up over reloads. Places hold
# the hash beside the pointer: a probe run touches one cache line, and only a hit touches the object.
ctypedef struct place_t:
    uint64_t hash
    void *object              # NULL = free

ctypedef struct table_t:
    place_t *places
    uint32_t mask
    uint32_t n

ctypedef struct live_t:
    table_t clusters
    roster_t endpoints
    slab_t uses               # of endpoint_use_t
    on_last_t on_last
    health_t *shared          # borrowed


cdef void table_init(table_t *t, uint32_t size) noexcept nogil:
    t.places = <place_t *>heap_array(size, sizeof(place_t))
    t.mask = size - 1
    t.n = 0


cdef void table_reserve(table_t *t, uint32_t more) noexcept nogil:
    """Room for that many more, at most three quarters full."""
    cdef place_t *was = t.places
    cdef uint32_t was_mask = t.mask
    cdef uint32_t size = t.mask + 1
    cdef uint32_t at
    while 4 * (<uint64_t>t.n + more) > 3 * <uint64_t>size:
        size *= 2
    if size == t.mask + 1:
        return
    table_init(t, size)
    for at in range(was_mask + 1):
        if was[at].object is not NULL:
            table_add(t, was[at].hash, was[at].object)
    heap_free(was)


cdef void table_add(table_t *t, uint64_t hash, void *object) noexcept nogil:
    cdef uint32_t at
    table_reserve(t, 1)
    at = <uint32_t>hash & t.mask
    while t.places[at].object is not NULL:
        at = (at + 1) & t.mask
    t.places[at].hash = hash
    t.places[at].object = object
    t.n += 1


cdef void table_remove(table_t *t, uint64_t hash, void *object) noexcept nogil:
    cdef uint32_t at = <uint32_t>hash & t.mask
    cdef uint32_t gap, home
    while t.places[at].object is not object:
        if t.places[at].object is NULL:
            return
        at = (at + 1) & t.mask
    gap = at
    while True:
        at = (at + 1) & t.mask
        if t.places[at].object is NULL:
            break
        home = <uint32_t>t.places[at].hash & t.mask
        # It may move into the gap unless its home lies behind the gap.
        if ((at - home) & t.mask) >= ((at - gap) & t.mask):
            t.places[gap] = t.places[at]
            gap = at
    t.places[gap].object = NULL
    t.n -= 1


cdef void *live_new() noexcept nogil:
    cdef live_t *v = <live_t *>heap_new(sizeof(live_t))
    table_init(&v.clusters, 64)
    roster_init(&v.endpoints)
    slab_init(&v.uses, sizeof(endpoint_use_t), 32)
    return v


cdef void live_free(void *live) noexcept nogil:
    cdef live_t *v = <live_t *>live
    if v is NULL:
        return
    heap_free(v.clusters.places)
    roster_fini(&v.endpoints)
    slab_fini(&v.uses)
    heap_free(v)


cdef void live_on_last(void *live, void (*fn)(endpoint_live_t *) noexcept nogil) noexcept nogil:
    (<live_t *>live).on_last = fn


cdef void live_share(void *live, health_t *shared) noexcept nogil:
    (<live_t *>live).shared = shared


cdef health_t *live_shared(const void *live) noexcept nogil:
    return (<const live_t *>live).shared


cdef uint32_t live_clusters(const void *live) noexcept nogil:
    return (<const live_t *>live).clusters.n


cdef uint32_t live_endpoints(const void *live) noexcept nogil:
    return (<const live_t *>live).endpoints.n


cdef void live_reserve(void *live, uint32_t n) noexcept nogil:
    roster_reserve(&(<live_t *>live).endpoints, n)


cdef cluster_live_t *live_cluster_get(void *live, span_t name) noexcept nogil:
    cdef live_t *v = <live_t *>live
    cdef uint64_t hash = hash_bytes(name.ptr, name.len, 0)
    cdef uint32_t at = <uint32_t>hash & v.clusters.mask
    cdef cluster_live_t *c
    while v.clusters.places[at].object is not NULL:
        c = <cluster_live_t *>v.clusters.places[at].object
        if (v.clusters.places[at].hash == hash and c.name_len == name.len and
                memcmp(c.name, name.ptr, name.len) == 0):
            c.refs += 1
            return c
        at = (at + 1) & v.clusters.mask
    c = <cluster_live_t *>heap_new(sizeof(cluster_live_t))
    c.refs = 1
    c.name_len = name.len
    c.uses = &v.uses
    memcpy(c.name, name.ptr, name.len)
    table_add(&v.clusters, hash, c)
    return c


cdef void live_cluster_put(void *live, cluster_live_t *c) noexcept nogil:
    c.refs -= 1
    if c.refs == 0:
        table_remove(&(<live_t *>live).clusters, hash_bytes(<const unsigned char *>c.name, c.name_len, 0), c)
        raw_give(c.hedging)
        heap_free(c.adaptive)
        heap_free(c.admission)
        heap_free(c)


cdef endpoint_live_t *live_endpoint_get(void *live, cluster_live_t *cluster, const addr_t *addr,
                                        uint32_t row) noexcept nogil:
    cdef live_t *v = <live_t *>live
    # The address of a cluster_live_t stands for the cluster's name as long as it lives, which is longer than this
    # endpoint does.
    cdef uint64_t hash = addr_hash(addr, <uint64_t>cluster)
    cdef uint32_t at = roster_look(&v.endpoints, hash)
    cdef endpoint_live_t *e = roster_next(&v.endpoints, hash, &at)
    while e is not NULL:
        if e.cluster_live == <void *>cluster and endpoint_is_at(e, addr):
            e.refs += 1
            return e
        e = roster_next(&v.endpoints, hash, &at)
    e = roster_add(&v.endpoints, hash)
    e.refs = 1
    e.row = row
    e.family = <uint8_t>addr.family
    e.port = addr.port
    e.len = <uint8_t>addr.len
    if addr.len <= PLACE_BYTES:
        memcpy(&e.place, addr.ip, addr.len)
    else:
        e.place = <uint64_t>heap_new(addr.len)
        memcpy(<void *>e.place, addr.ip, addr.len)
    e.cluster_live = cluster
    cluster.refs += 1
    return e


cdef void live_endpoint_put(void *live, endpoint_live_t *e) noexcept nogil:
    cdef live_t *v = <live_t *>live
    cdef cluster_live_t *cluster = <cluster_live_t *>e.cluster_live
    cdef uint64_t hash
    e.refs -= 1
    if e.refs != 0:
        return
    if v.on_last is not NULL:
        v.on_last(e)
    hash = endpoint_hash(e, <uint64_t>cluster)
    use_end(e)
    if e.len > PLACE_BYTES:
        heap_free(<void *>e.place)
    roster_remove(&v.endpoints, hash, e)
    live_cluster_put(live, cluster)
