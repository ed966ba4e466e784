"""See admission.pxd."""
from libc.math cimport pow
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from fastmesh._core.mem.arena cimport heap_new
from fastmesh._core.mem.rng cimport rng_below

cdef enum:
    SECOND = 1000000000
    MILLION = 1000000


cdef answers_t *_state(cluster_t *c, uint64_t now_ns) noexcept nogil:
    """What came in the last seconds; what is older is forgotten."""
    cdef answers_t *w = <answers_t *>c.live.admission
    cdef uint64_t second = now_ns // SECOND
    cdef uint32_t at
    if w is NULL:
        w = <answers_t *>heap_new(sizeof(answers_t))
        w.second = second
        c.live.admission = w
    if second > w.second + ADMISSION_SECONDS or second < w.second:
        # A pause, or a clock that has been set back: nothing of it is of the last seconds.
        memset(w, 0, sizeof(answers_t))
        w.second = second
    while w.second < second:
        w.second += 1
        at = <uint32_t>(w.second % ADMISSION_SECONDS)
        w.n -= w.slices_n[at]
        w.good -= w.slices_good[at]
        w.slices_n[at] = 0
        w.slices_good[at] = 0
    return w


cdef uint32_t _refused_part(const admission_t *a, const answers_t *w) noexcept nogil:
    """In millionths."""
    cdef double p
    if w.n < a.least:
        return 0
    p = (w.n - w.good / a.wanted) / (w.n + 1.0)
    if p <= 0:
        return 0
    if a.aggression != 1:
        p = pow(p, 1 / a.aggression)
    return <uint32_t>((p if p < a.most else a.most) * MILLION)


cdef bint admission_admits(cluster_t *c, uint64_t now_ns, uint64_t *rng) noexcept nogil:
    cdef uint32_t p = _refused_part(<const admission_t *>c.admission, _state(c, now_ns))
    if c.live.tally is not NULL:
        c.live.tally.reserved[ADMISSION_SHOWN] = p
    return p == 0 or rng_below(rng, MILLION) >= p


cdef void admission_count(cluster_t *c, uint32_t status, uint64_t now_ns) noexcept nogil:
    cdef const admission_t *a = <const admission_t *>c.admission
    cdef answers_t *w = _state(c, now_ns)
    cdef uint32_t at = <uint32_t>(w.second % ADMISSION_SECONDS)
    cdef bint is_good = status != 0
    if status >= 400:
        is_good = status < 656 and not (a.failures[(status - 400) // 64] >> ((status - 400) % 64)) & 1
    w.n += 1
    w.slices_n[at] += 1
    if is_good:
        w.good += 1
        w.slices_good[at] += 1
