"""See adaptive.pxd."""
from libc.math cimport sqrt
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from fastmesh._core.mem.arena cimport heap_new

cdef enum:
    WINDOW_NS = 100000000         # at least, and as long as two answers take
    SAMPLES = 10                  # at least
    SLOT_NS = 30000000000
    TIGHT_NS = 20000000000        # how long somebody is refused before it is measured what an idle service takes
    FLOORED = 5                   # windows at the least after which the present mean is what there is
    # gradient_t.phase
    OPEN = 0
    SETTLING = 1                  # the limit is halved: those that are in flight leave
    MEASURING = 2

cdef double SHRINK_MOST = 0.5     # in one window
cdef double PROBE = 0.75          # of what is in flight without a queue, by all that is known


cdef inline gradient_t *_state(cluster_t *c) noexcept nogil:
    cdef gradient_t *g = <gradient_t *>c.live.adaptive
    if g is NULL:
        g = <gradient_t *>heap_new(sizeof(gradient_t))
        g.limit = (<const adaptive_t *>c.adaptive).first
        c.live.adaptive = g
    return g


cdef inline double _effective(const adaptive_t *a, const gradient_t *g) noexcept nogil:
    cdef double limit = g.limit
    if g.phase != OPEN:
        limit *= PROBE / a.tolerance
    return limit if limit > a.least else a.least


cdef bint adaptive_admits(cluster_t *c, uint32_t own, uint64_t now_ns) noexcept nogil:
    cdef const adaptive_t *a = <const adaptive_t *>c.adaptive
    cdef gradient_t *g = _state(c)
    if own + 1 > g.peak:
        g.peak = own + 1
    if own < <uint32_t>_effective(a, g):
        return True
    if g.phase == OPEN:
        g.refused += 1
    return False


cdef void _remember(gradient_t *g, double mean, uint64_t now_ns) noexcept nogil:
    """The shortest mean of the last slots."""
    cdef uint64_t slot = now_ns // SLOT_NS
    cdef int i
    if slot > g.slot + ADAPTIVE_SLOTS or slot < g.slot:
        # A pause, or a clock that has been set back: what is remembered is of no known age.
        memset(g.slots, 0, sizeof(g.slots))
        g.slot = slot
    while g.slot < slot:
        g.slot += 1
        g.slots[g.slot % ADAPTIVE_SLOTS] = 0
    i = <int>(slot % ADAPTIVE_SLOTS)
    if g.slots[i] == 0 or mean < g.slots[i]:
        g.slots[i] = mean
    g.base_ns = 0
    for i in range(ADAPTIVE_SLOTS):
        if g.slots[i] != 0 and (g.base_ns == 0 or g.slots[i] < g.base_ns):
            g.base_ns = g.slots[i]


cdef void _forget(gradient_t *g, double mean, uint64_t now_ns) noexcept nogil:
    """What it takes now is what it takes."""
    memset(g.slots, 0, sizeof(g.slots))
    _remember(g, mean, now_ns)


cdef void _adjust(const adaptive_t *a, gradient_t *g, double mean) noexcept nogil:
    cdef double part = a.tolerance * g.base_ns / mean
    cdef double to
    if part > 1:
        part = 1
    elif part < SHRINK_MOST:
        part = SHRINK_MOST
    to = g.limit * part + sqrt(g.limit)
    if to > g.limit and g.refused == 0 and g.peak < g.limit / 2:
        to = g.limit              # a limit that nobody is near says nothing of what is beyond
    g.limit = to
    if g.limit > a.most:
        g.limit = a.most
    if g.limit <= a.least:
        g.limit = a.least
        g.floored += 1
    else:
        g.floored = 0


cdef void _shrink(const adaptive_t *a, gradient_t *g) noexcept nogil:
    g.limit *= SHRINK_MOST
    if g.limit < a.least:
        g.limit = a.least


cdef void adaptive_observe(cluster_t *c, uint32_t own, uint64_t took_ns, bint is_late, uint64_t now_ns) noexcept nogil:
    cdef const adaptive_t *a = <const adaptive_t *>c.adaptive
    cdef gradient_t *g = _state(c)
    cdef double mean
    if g.began_ns == 0:
        g.began_ns = now_ns
    if g.phase == SETTLING:
        # Whoever was in flight before has waited in the old queue.
        if own <= <uint32_t>_effective(a, g) and now_ns - g.began_ns >= took_ns:
            g.phase = MEASURING
            g.began_ns = now_ns
        elif now_ns - g.began_ns > 10 * <uint64_t>WINDOW_NS + 4 * took_ns:
            g.phase = OPEN        # what is in flight stays: streams that last
            g.tight_ns = now_ns
        return
    g.sum_ns += took_ns
    g.n += 1
    g.late += is_late
    if g.n < SAMPLES or now_ns - g.began_ns < WINDOW_NS or now_ns - g.began_ns < 2 * took_ns:
        return
    mean = g.sum_ns / g.n
    if mean < 1:
        mean = 1
    if 2 * g.late > g.n:
        # Most were not answered at all: how long that would have taken is not known, and it is no measure.
        g.phase = OPEN
        _shrink(a, g)
    elif g.phase == MEASURING:
        _forget(g, mean, now_ns)
        g.phase = OPEN
        g.tight_ns = now_ns
    else:
        _remember(g, mean, now_ns)
        if g.floored >= FLOORED:
            _forget(g, mean, now_ns)
            g.floored = 0
        _adjust(a, g, mean)
        if g.refused == 0:
            g.tight_ns = 0
        elif g.tight_ns == 0:
            g.tight_ns = now_ns
        elif now_ns - g.tight_ns >= TIGHT_NS and now_ns // TIGHT_NS != g.began_ns // TIGHT_NS:
            g.phase = SETTLING
    if c.live.tally is not NULL:
        c.live.tally.reserved[ADAPTIVE_SHOWN] = <uint32_t>g.limit
        c.live.tally.reserved[ADAPTIVE_SHOWN_BASE] = <uint32_t>(g.base_ns / 1000)
    g.began_ns = now_ns
    g.sum_ns = 0
    g.n = 0
    g.late = 0
    g.peak = own
    g.refused = 0
