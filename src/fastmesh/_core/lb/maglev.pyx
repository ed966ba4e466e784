"""One key, one endpoint: a table in which each endpoint has its share of the places (Eisenbud et al. 2016).

Endpoints take places in turn, each by an order of its own, until the table is full: shares are even to one place, where
a ring has only its luck. The price is that a change moves a few keys of endpoints that did not change. A pick is one
look-up. `table_size` is prime, so that every step walks through the whole table.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport qsort
from fastmesh._core.mem.arena cimport heap_array, heap_free, heap_new
from fastmesh._core.mem.breath cimport breath_take
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.hash cimport fm_mul_high
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.lb.affinity cimport affinity_again, affinity_hash, endpoint_is_full, total_weight
from fastmesh._core.lb.cluster cimport cluster_t, endpoint_is_usable
from fastmesh._core.lb.endpoint cimport endpoint_t

cdef enum:
    DRAWS = 16                # places that a pick looks at, before it looks at endpoints instead
    BREATH_MASK = 1023        # of places between two looks at the clock

ctypedef struct table_t:
    uint32_t *slots           # indexes into the endpoints, one for each place
    uint32_t size
    uint64_t total            # of weights

# An endpoint while the table is filled.
ctypedef struct taker_t:
    uint64_t place            # its hash: the order of turns follows from it, not from the order in a list
    uint32_t slot
    uint32_t at               # the place it looks at next
    uint32_t step
    uint32_t quota            # places it may still take before all have theirs


cdef int by_place(const void *a, const void *b) noexcept nogil:
    cdef const taker_t *x = <const taker_t *>a
    cdef const taker_t *y = <const taker_t *>b
    if x.place != y.place:
        return 1 if x.place > y.place else -1
    return 1 if x.slot > y.slot else -1


cdef inline void take_one(table_t *t, taker_t *x) noexcept nogil:
    # 0 is a free place: slots are kept plus one until the table is full.
    while t.slots[x.at] != 0:
        x.at += x.step
        if x.at >= t.size:
            x.at -= t.size
    t.slots[x.at] = x.slot + 1


cdef void fill(table_t *t, taker_t *takers, uint32_t n) noexcept nogil:
    cdef uint32_t left = t.size
    cdef uint32_t i, kept
    cdef uint32_t n_with = n  # takers that have a quota left, in front
    while left > 0 and n_with > 0:
        kept = 0
        for i in range(n_with):
            if left == 0:
                break
            take_one(t, &takers[i])
            left -= 1
            if left & BREATH_MASK == 0:
                breath_take()
            takers[i].quota -= 1
            if takers[i].quota > 0:
                if kept != i:
                    takers[kept] = takers[i]
                kept += 1
        n_with = kept
    i = 0
    while left > 0:
        # What rounding down has left over.
        take_one(t, &takers[n + i])
        left -= 1
        i = i + 1 if i + 1 < n else 0
    for i in range(t.size):
        t.slots[i] -= 1


cdef int build(cluster_t *c) noexcept nogil:
    cdef table_t *t
    cdef taker_t *takers
    cdef uint64_t quota
    cdef uint32_t i
    c.lb_state = NULL
    if c.n == 0:
        return FM_OK
    t = <table_t *>heap_new(sizeof(table_t))
    t.size = c.settings.table_size
    t.total = total_weight(c)
    t.slots = <uint32_t *>heap_array(t.size, sizeof(uint32_t))
    # Twice: once for the rounds in which those leave whose quota is used up, once as they all are.
    takers = <taker_t *>heap_array(2 * <size_t>c.n, sizeof(taker_t))
    for i in range(c.n):
        takers[i].place = affinity_hash(&c.endpoints[i])
        takers[i].slot = i
        takers[i].at = <uint32_t>(affinity_again(takers[i].place, 0) % t.size)
        takers[i].step = <uint32_t>(affinity_again(takers[i].place, 1) % (t.size - 1)) + 1 if t.size > 1 else 0
        quota = <uint64_t>c.endpoints[i].weight * t.size // t.total
        takers[i].quota = <uint32_t>quota if quota > 0 else 1
    qsort(takers, c.n, sizeof(taker_t), by_place)
    for i in range(c.n):
        takers[c.n + i] = takers[i]
    fill(t, takers, c.n)
    heap_free(takers)
    c.lb_state = t
    return FM_OK


cdef void drop(cluster_t *c) noexcept nogil:
    cdef table_t *t = <table_t *>c.lb_state
    if t is NULL:
        return
    heap_free(t.slots)
    heap_free(t)
    c.lb_state = NULL


cdef endpoint_t *pick_key(cluster_t *c, uint64_t key, uint64_t now_ns, uint64_t *rng,
                          endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef const table_t *t = <const table_t *>c.lb_state
    cdef uint64_t hash = key
    cdef uint32_t attempt, at, _i
    cdef endpoint_t *e
    cdef endpoint_t *full = NULL
    if t is NULL:
        return NULL
    # Each further look is at a place of its own: the keys of one that is gone spread over all others.
    for attempt in range(DRAWS):
        e = &c.endpoints[t.slots[fm_mul_high(hash, t.size)]]
        if endpoint_is_usable(e, now_ns, tried, n_tried):
            if not endpoint_is_full(c, e, t.total, now_ns):
                return e
            if c.told is not NULL:
                c.told.bound_passed += 1
            if full is NULL:
                full = e
        hash = affinity_again(key, attempt)
    if full is not NULL:
        return full
    at = t.slots[fm_mul_high(hash, t.size)]
    for _i in range(c.n):
        if endpoint_is_usable(&c.endpoints[at], now_ns, tried, n_tried):
            return &c.endpoints[at]
        at = at + 1 if at + 1 < c.n else 0
    return NULL


cdef endpoint_t *pick(cluster_t *c, uint64_t now_ns, uint64_t *rng,
                      endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    # A request without a key may go anywhere.
    return pick_key(c, rng_next(rng), now_ns, rng, tried, n_tried)


cdef lb_ops_t ops
ops.name = b"maglev"
ops.build = build
ops.pick = pick
ops.pick_key = pick_key
ops.drop = drop


cdef const lb_ops_t *maglev_ops() noexcept nogil:
    return &ops
