"""What the algorithms have in common that send one key to one endpoint: how full an endpoint may be, and how hashes of
keys and endpoints come about.

Hashes have no secret: all workers of all instances must agree. Whoever may choose keys can thus choose those of one
endpoint; `load_bound` is what limits what that does.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.mem.hash cimport hash_mix
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.lb.endpoint cimport endpoint_hash, endpoint_t

cdef enum:
    AFFINITY_SEED = 0x66617374
    LOOK_ALWAYS = 64
    LOOK_EACH_NS = 100


cdef inline uint64_t affinity_hash(const endpoint_t *e) noexcept nogil:
    """The place of an endpoint: follows from its address alone, not from its place in a list."""
    return endpoint_hash(e.live, AFFINITY_SEED)


cdef inline uint64_t affinity_again(uint64_t key, uint32_t attempt) noexcept nogil:
    """Another hash of the same key."""
    return hash_mix(key, <uint64_t>0x9E3779B97F4A7C15 * (attempt + 1))


cdef inline uint64_t total_weight(const cluster_t *c) noexcept nogil:
    cdef uint64_t total = 0
    cdef uint32_t i
    for i in range(c.n):
        total += c.endpoints[i].weight
    return total


cdef inline uint64_t requests_of(cluster_t *c, uint64_t now_ns) noexcept nogil:
    """In flight at the endpoints that the bound is about, the one that asks included."""
    cdef uint32_t i
    if c.whole is NULL:
        return c.live.active
    # Others come to its endpoints by other subsets: there is no count but the sum, which large ones make less often.
    if now_ns >= c.load_until_ns or c.n <= LOOK_ALWAYS:
        c.load = 0
        for i in range(c.n):
            c.load += c.endpoints[i].live.active
        c.load_until_ns = now_ns + <uint64_t>LOOK_EACH_NS * c.n
    return c.load + 1


cdef inline bint endpoint_is_full(cluster_t *c, const endpoint_t *e, uint64_t total, uint64_t now_ns) noexcept nogil:
    """It has its part of the requests in flight, times load_bound percent, rounded up (Mirrokni, Thorup, Zadimoghaddam
    2016). The request that asks is counted in live.active already."""
    cdef double bound
    if c.settings.load_bound == 0:
        return False
    bound = <double>requests_of(c, now_ns) * e.weight * c.settings.load_bound / (100.0 * <double>total)
    # active + 1 > ceil(bound), without ceil: both sides are whole.
    return <double>e.live.active >= bound and e.live.active != 0
