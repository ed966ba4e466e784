"""How long something took of late: counts in buckets, an eighth of an octave each, over the last five to ten seconds.

A quantile is read from them to within an eighth. Zeroed memory has seen nothing.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    #define fm_top_bit(x) (63 - __builtin_clzll(x))
    """
    int fm_top_bit(uint64_t x) noexcept nogil

cdef enum:
    RECENT_BUCKETS = 192
    RECENT_FIRST = 14         # 2**14 ns: what is shorter is in the first bucket; the last has what is over 4 minutes
    RECENT_LEAST = 20         # so many make a quantile
    RECENT_HALF_NS = 5000000000
    RECENT_LOOK_NS = 100000000    # a quantile is counted anew after so long

ctypedef struct recent_t:
    uint32_t now[192]
    uint32_t before[192]
    uint32_t n_now
    uint32_t n_before
    uint64_t turned_ns        # when `now` began
    uint64_t looked_ns        # when `found_ns` was counted; 0 = never
    uint64_t found_ns
    uint32_t found_of         # the part that it is of


cdef inline uint32_t recent_bucket(uint64_t took_ns) noexcept nogil:
    cdef int top
    cdef uint32_t at
    if took_ns < 1 << RECENT_FIRST:
        return 0
    top = fm_top_bit(took_ns)
    at = <uint32_t>((top - RECENT_FIRST) * 8 + <int>((took_ns >> (top - 3)) & 7))
    return at if at < RECENT_BUCKETS else RECENT_BUCKETS - 1


cdef inline uint64_t recent_end(uint32_t at) noexcept nogil:
    """The least that is longer than all in this bucket."""
    return <uint64_t>(9 + (at & 7)) << (at // 8 + RECENT_FIRST - 3)


cdef inline void recent_turn(recent_t *r, uint64_t now_ns) noexcept nogil:
    cdef uint64_t past = now_ns - r.turned_ns if now_ns > r.turned_ns else 0
    if past < RECENT_HALF_NS:
        return
    if past < 2 * <uint64_t>RECENT_HALF_NS:
        memcpy(r.before, r.now, sizeof(r.now))
        r.n_before = r.n_now
    else:
        memset(r.before, 0, sizeof(r.before))
        r.n_before = 0
    memset(r.now, 0, sizeof(r.now))
    r.n_now = 0
    r.turned_ns = now_ns


cdef inline void recent_add(recent_t *r, uint64_t took_ns, uint64_t now_ns) noexcept nogil:
    recent_turn(r, now_ns)
    r.now[recent_bucket(took_ns)] += 1
    r.n_now += 1


cdef inline uint64_t recent_quantile(recent_t *r, uint32_t part, uint64_t now_ns) noexcept nogil:
    """What `part`, in millionths, of them took at most; 0 while too few are known."""
    cdef uint64_t wanted, seen = 0
    cdef uint32_t i
    if r.looked_ns != 0 and now_ns < r.looked_ns + RECENT_LOOK_NS and r.found_of == part and r.found_ns != 0:
        return r.found_ns
    recent_turn(r, now_ns)
    r.looked_ns = now_ns
    r.found_of = part
    r.found_ns = 0
    if r.n_now + r.n_before < RECENT_LEAST:
        return 0
    wanted = (<uint64_t>(r.n_now + r.n_before) * part + 999999) // 1000000
    for i in range(RECENT_BUCKETS):
        seen += r.now[i] + r.before[i]
        if seen >= wanted:
            r.found_ns = recent_end(i)
            break
    return r.found_ns
