"""A sum over the last ten seconds, kept in slices of one second each.

What was added in a second leaves the sum ten seconds later, all at once. Zeroed memory is an empty window.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

cdef enum:
    WINDOW_SECONDS = 10

ctypedef struct window_t:
    uint64_t second           # that of the newest slice, by the clock that `now_ns` is of
    int64_t sum               # of all slices
    int64_t slices[10]        # that of a second stands at the second's number modulo 10


cdef inline void window_turn(window_t *w, uint64_t now_ns) noexcept nogil:
    """Forgets what is older than ten seconds."""
    cdef uint64_t second = now_ns // 1000000000
    cdef uint32_t at
    if second <= w.second:
        return
    if second - w.second >= WINDOW_SECONDS:
        memset(w, 0, sizeof(window_t))
        w.second = second
        return
    while w.second < second:
        w.second += 1
        at = <uint32_t>(w.second % WINDOW_SECONDS)
        w.sum -= w.slices[at]
        w.slices[at] = 0


cdef inline void window_add(window_t *w, uint64_t now_ns, int64_t n) noexcept nogil:
    window_turn(w, now_ns)
    w.slices[w.second % WINDOW_SECONDS] += n
    w.sum += n
