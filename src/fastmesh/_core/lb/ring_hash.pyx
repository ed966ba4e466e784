"""One key, one endpoint: the next on a ring of hashes (Karger 1997; the many points of each endpoint are ketama's).

An endpoint that goes gives its keys to the owners of the next points and moves no others; one that comes takes its
share from all. The ring is sorted into drawers, by the upper bits of their hashes, so that a pick looks into one
drawer, which holds a few points that lie side by side, instead of searching. With one for each point they would fill as
much memory as the points, and most picks would wait for a second line of it.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.mem.arena cimport heap_array, heap_free, heap_new
from fastmesh._core.mem.breath cimport breath_take
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.net.addr cimport addr_compare, addr_t
from fastmesh._core.lb.affinity cimport affinity_again, affinity_hash, endpoint_is_full, total_weight
from fastmesh._core.lb.cluster cimport cluster_t, endpoint_is_usable
from fastmesh._core.lb.endpoint cimport endpoint_addr, endpoint_t

cdef enum:
    POINTS_MAX = 1 << 19      # of a ring, but for one more of each endpoint
    WALK_MAX = 64             # points that a pick passes by, before it looks at endpoints instead
    BREATH_MASK = 1023        # of points between two looks at the clock
    DRAWER_POINTS = 4         # at most, on the average

ctypedef struct point_t:
    uint32_t hash
    uint32_t slot             # index into the endpoints

ctypedef struct ring_t:
    point_t *points           # by hash
    uint32_t *drawers         # by the upper bits of a hash: its first point; one more at the end
    uint32_t n
    uint32_t shift            # of a 32-bit hash to its drawer
    uint64_t total            # of weights


cdef uint32_t points_of(const cluster_t *c, const endpoint_t *e, uint64_t total) noexcept nogil:
    cdef double all_ = <double>c.settings.points * c.n
    cdef double n
    if all_ > POINTS_MAX:
        all_ = POINTS_MAX
    n = all_ * e.weight / <double>total + 0.5
    return <uint32_t>n if n >= 1 else 1


cdef inline bint comes_before(const cluster_t *c, const point_t *a, const point_t *b) noexcept nogil:
    # Two endpoints on one point: which of them has it must not follow from the order in a list.
    cdef addr_t x, y
    if a.hash != b.hash:
        return a.hash < b.hash
    endpoint_addr(c.endpoints[a.slot].live, &x)
    endpoint_addr(c.endpoints[b.slot].live, &y)
    return addr_compare(&x, &y) < 0


cdef void fill(ring_t *r, const cluster_t *c) noexcept nogil:
    cdef uint64_t place
    cdef uint32_t i, k, at, hash
    cdef uint32_t n = 0
    cdef point_t moving
    # Count what goes into each drawer, make sums of the counts, and fill from the end of each.
    for i in range(c.n):
        place = affinity_hash(&c.endpoints[i])
        for k in range(points_of(c, &c.endpoints[i], r.total)):
            r.drawers[(<uint32_t>(affinity_again(place, k) >> 32)) >> r.shift] += 1
            if k & BREATH_MASK == 0:
                breath_take()
    for i in range((<uint32_t>0xFFFFFFFF >> r.shift) + 1):
        n += r.drawers[i]
        r.drawers[i] = n
    r.drawers[(<uint32_t>0xFFFFFFFF >> r.shift) + 1] = n
    for i in range(c.n):
        place = affinity_hash(&c.endpoints[i])
        for k in range(points_of(c, &c.endpoints[i], r.total)):
            hash = <uint32_t>(affinity_again(place, k) >> 32)
            r.drawers[hash >> r.shift] -= 1
            at = r.drawers[hash >> r.shift]
            r.points[at].hash = hash
            r.points[at].slot = i
            if k & BREATH_MASK == 0:
                breath_take()
    # Nearly sorted: only the few of one drawer may stand in the wrong order.
    for i in range(1, r.n):
        moving = r.points[i]
        at = i
        while at > 0 and comes_before(c, &moving, &r.points[at - 1]):
            r.points[at] = r.points[at - 1]
            at -= 1
        r.points[at] = moving
        if i & BREATH_MASK == 0:
            breath_take()


cdef int build(cluster_t *c) noexcept nogil:
    cdef ring_t *r
    cdef uint32_t i
    cdef uint32_t bits = 4
    c.lb_state = NULL
    if c.n == 0:
        return FM_OK
    r = <ring_t *>heap_new(sizeof(ring_t))
    r.total = total_weight(c)
    for i in range(c.n):
        r.n += points_of(c, &c.endpoints[i], r.total)
    while (<uint32_t>DRAWER_POINTS << bits) < r.n and bits < 26:
        bits += 1
    r.shift = 32 - bits
    r.points = <point_t *>heap_array(r.n, sizeof(point_t))
    r.drawers = <uint32_t *>heap_array((<size_t>1 << bits) + 1, sizeof(uint32_t))
    fill(r, c)
    c.lb_state = r
    return FM_OK


cdef void drop(cluster_t *c) noexcept nogil:
    cdef ring_t *r = <ring_t *>c.lb_state
    if r is NULL:
        return
    heap_free(r.points)
    heap_free(r.drawers)
    heap_free(r)
    c.lb_state = NULL


cdef endpoint_t *scan(cluster_t *c, uint32_t first, uint64_t now_ns,
                      endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef uint32_t at = first
    cdef uint32_t _i
    for _i in range(c.n):
        if endpoint_is_usable(&c.endpoints[at], now_ns, tried, n_tried):
            return &c.endpoints[at]
        at = at + 1 if at + 1 < c.n else 0
    return NULL


cdef endpoint_t *pick_key(cluster_t *c, uint64_t key, uint64_t now_ns, uint64_t *rng,
                          endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef ring_t *r = <ring_t *>c.lb_state
    cdef uint32_t hash = <uint32_t>(key >> 32)
    cdef uint32_t at, end, left
    cdef endpoint_t *e
    cdef endpoint_t *full = NULL
    if r is NULL:
        return NULL
    at = r.drawers[hash >> r.shift]
    end = r.drawers[(hash >> r.shift) + 1]
    while at < end and r.points[at].hash < hash:
        at += 1
    left = r.n if r.n < WALK_MAX else WALK_MAX
    while left > 0:
        left -= 1
        if at >= r.n:
            at = 0
        e = &c.endpoints[r.points[at].slot]
        if endpoint_is_usable(e, now_ns, tried, n_tried):
            if not endpoint_is_full(c, e, r.total, now_ns):
                return e
            if c.told is not NULL:
                c.told.bound_passed += 1
            if full is NULL:
                full = e
        at += 1
    # All on the way are full: then the key's own is as good as any.
    if full is not NULL:
        return full
    return scan(c, r.points[at if at < r.n else 0].slot, now_ns, tried, n_tried)


cdef endpoint_t *pick(cluster_t *c, uint64_t now_ns, uint64_t *rng,
                      endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    # A request without a key may go anywhere.
    return pick_key(c, rng_next(rng), now_ns, rng, tried, n_tried)


cdef lb_ops_t ops
ops.name = b"ring_hash"
ops.build = build
ops.pick = pick
ops.pick_key = pick_key
ops.drop = drop


cdef const lb_ops_t *ring_hash_ops() noexcept nogil:
    return &ops
