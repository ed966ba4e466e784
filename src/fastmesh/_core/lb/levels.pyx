"""Groups of endpoints in an order of preference: priorities, and the own zone before others.

A level is a cluster of its own, over a part of the endpoints, with a table of the same algorithm. Its health is the
part of its endpoints that can be used, divided by `spill_below`, at most 1; it gets as much of the requests as its
health is, of what the levels before it have left. How many can be used is counted every COUNT_EACH_NS per endpoint: a
pick meets one that has become unusable since in the algorithm itself.
"""
from fastmesh._core.mem.arena cimport heap_array, heap_free, heap_new
from fastmesh._core.mem.counter cimport STATS_GROUPS
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.hash cimport hash_mix
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.lb.cluster cimport algorithm_pick, cluster_is_warming, cluster_weight
from fastmesh._core.lb.slow_start cimport slow_start_pick

cdef enum:
    COUNT_EACH_NS = 10000
    COUNT_MIN_NS = 10000000
    COUNT_MAX_NS = 1000000000
    LEVEL_SEED = 0x6C766C

ctypedef struct level_t:
    cluster_t c               # its endpoints and weights are a part of the whole's; c.lb_state is owned
    double up_to              # of a draw from 0 to 1: below it is this level's
    bint was_panic            # when it was counted the time before
    bint is_panic             # too few can be used: all are asked, usable or not
    bint is_out               # all its endpoints were given the weight 0: nobody is asked

ctypedef struct levels_t:
    level_t *levels
    uint32_t n
    uint64_t count_at_ns      # when usable ones are counted again


cdef int levels_build(cluster_t *c) noexcept nogil:
    cdef levels_t *v = <levels_t *>heap_new(sizeof(levels_t))
    cdef uint32_t first = 0
    cdef uint32_t i
    cdef int code = FM_OK
    v.n = c.settings.n_levels if c.settings.n_levels != 0 else 1
    v.levels = <level_t *>heap_array(v.n, sizeof(level_t))
    for i in range(v.n):
        v.levels[i].c = c[0]
        v.levels[i].c.endpoints = c.endpoints + first
        v.levels[i].c.n = c.settings.levels[i] if c.settings.n_levels != 0 else c.n
        first += v.levels[i].c.n
        if code == FM_OK:
            code = c.ops.build(&v.levels[i].c)
    c.levels = v
    return code


cdef void levels_drop(cluster_t *c) noexcept nogil:
    cdef levels_t *v = <levels_t *>c.levels
    cdef uint32_t i
    for i in range(v.n):
        c.ops.drop(&v.levels[i].c)
    heap_free(v.levels)
    heap_free(v)
    c.levels = NULL


cdef bint has_weight(const cluster_t *c) noexcept nogil:
    cdef uint32_t i
    for i in range(c.n):
        if cluster_weight(c, i) != 0:
            return True
    return False


cdef void levels_weigh(cluster_t *c) noexcept nogil:
    cdef levels_t *v = <levels_t *>c.levels
    cdef level_t *l
    cdef uint32_t first = 0
    cdef uint32_t i
    for i in range(v.n):
        l = &v.levels[i]
        l.c.given = c.given + first if c.given is not NULL else NULL
        first += l.c.n
        l.is_out = not has_weight(&l.c)
        if not l.is_out:
            c.ops.weigh(&l.c)
    v.count_at_ns = 0


cdef void levels_count(cluster_t *c) noexcept nogil:
    (<levels_t *>c.levels).count_at_ns = 0


cdef void levels_tell(cluster_t *c) noexcept nogil:
    cdef levels_t *v = <levels_t *>c.levels
    cdef uint32_t i
    for i in range(v.n):
        v.levels[i].c.told = c.told
    # What is shown of panic is shown anew.
    v.count_at_ns = 0


cdef double usable_part(const cluster_t *c, uint64_t now_ns) noexcept nogil:
    """Of those that have a weight."""
    cdef uint32_t usable = 0
    cdef uint32_t n = 0
    cdef uint32_t i
    for i in range(c.n):
        if cluster_weight(c, i) != 0:
            n += 1
            usable += c.endpoints[i].live.avoid_until_ns <= now_ns
    return <double>usable / n if n != 0 else 0


cdef double health_of(const cluster_t *c, double usable) noexcept nogil:
    # spill_below 0: one endpoint that can be used keeps all requests.
    if usable >= c.settings.spill_below:
        return 1.0 if usable > 0 else 0.0
    return usable / c.settings.spill_below


cdef void share_out(cluster_t *c, levels_t *v, uint64_t now_ns) noexcept nogil:
    cdef uint64_t pause = <uint64_t>c.n * COUNT_EACH_NS
    cdef double total = 0
    cdef double taken = 0
    cdef double usable
    cdef level_t *l
    cdef uint32_t i
    for i in range(v.n):
        l = &v.levels[i]
        l.was_panic = l.is_panic
        usable = usable_part(&l.c, now_ns)
        l.is_panic = l.c.n != 0 and not l.is_out and usable < c.settings.panic
        l.up_to = health_of(&l.c, usable)
        total += l.up_to
    for i in range(v.n):
        l = &v.levels[i]
        if total >= 1:
            # Others have room for what this one lacks.
            l.is_panic = False
            taken += l.up_to
        elif total > 0:
            taken += l.up_to / total
        elif l.c.n != 0 and not l.is_out:
            taken = 1
        l.up_to = taken if taken < 1 else 1
        if c.told is not NULL and l.is_panic != l.was_panic:
            c.told.panics += l.is_panic
            # Subsets of a cluster count there, too.
            c.told.panic += 1 if l.is_panic else <uint64_t>-1
    if pause < COUNT_MIN_NS:
        pause = COUNT_MIN_NS
    elif pause > COUNT_MAX_NS:
        pause = COUNT_MAX_NS
    v.count_at_ns = now_ns + pause


cdef endpoint_t *pick_in(level_t *l, const uint64_t *key, uint64_t now_ns, uint64_t *rng,
                         endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    if l.c.n == 0 or l.is_out:
        return NULL
    if l.is_panic:
        if l.c.told is not NULL:
            l.c.told.panic_picks += 1
        # At the end of all times nobody is avoided. What an algorithm has learned has faded then: load decides alone.
        return algorithm_pick(&l.c, key, <uint64_t>-1, rng, tried, n_tried)
    if cluster_is_warming(&l.c, now_ns):
        return slow_start_pick(&l.c, key, now_ns, rng, tried, n_tried)
    return algorithm_pick(&l.c, key, now_ns, rng, tried, n_tried)


cdef endpoint_t *levels_pick(cluster_t *c, const uint64_t *key, uint64_t now_ns, uint64_t *rng,
                             endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef levels_t *v = <levels_t *>c.levels
    cdef endpoint_t *e
    cdef uint32_t chosen = 0
    cdef uint32_t i
    cdef uint64_t place
    cdef double draw
    if now_ns >= v.count_at_ns:
        share_out(c, v, now_ns)
    if v.n > 1:
        # The same key goes to the same level, as long as their shares are what they are.
        place = hash_mix(key[0], LEVEL_SEED) if key is not NULL else rng_next(rng)
        draw = <double>(place >> 11) * 1.1102230246251565e-16
        while chosen + 1 < v.n and draw >= v.levels[chosen].up_to:
            chosen += 1
    e = pick_in(&v.levels[chosen], key, now_ns, rng, tried, n_tried)
    i = 0
    while e is NULL and i < v.n:
        if i != chosen:
            e = pick_in(&v.levels[i], key, now_ns, rng, tried, n_tried)
            if e is not NULL:
                chosen = i
        i += 1
    if c.told is not NULL and v.n > 1 and e is not NULL:
        c.told.groups[chosen if chosen < STATS_GROUPS else STATS_GROUPS - 1] += 1
    return e
