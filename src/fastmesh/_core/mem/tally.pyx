"""See tally.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from fastmesh._core.mem.segment cimport word_get, word_set

cdef extern from *:
    """
    #include <stdint.h>
    #include <sys/mman.h>
    #include <unistd.h>
    static inline int fm_seat_cas(uint64_t *p, uint64_t was, uint64_t v) {
        return __atomic_compare_exchange_n(p, &was, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    /* A claim that nobody counts yet: the seat's pages are given back first, as they are mostly holes. */
    static int fm_pages_drop(void *p, uint64_t size) {
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
        uintptr_t from = (uintptr_t)p;
        if (from % page != 0 || size % page != 0)
            return -1;
        return madvise(p, size, MADV_REMOVE);
    }
    """
    bint seat_cas "fm_seat_cas"(uint64_t *p, uint64_t was, uint64_t v) noexcept nogil
    int pages_drop "fm_pages_drop"(void *p, uint64_t size) noexcept nogil

cdef enum:
    CLAIMED = 1                   # no process that has a seat has this pid


cdef int seat_take(seats_t *s, uint64_t pid) noexcept nogil:
    cdef uint32_t i
    cdef uint64_t n
    for i in range(TALLY_SEATS):
        if word_get(&s.pids[i]) == 0 and seat_cas(&s.pids[i], 0, CLAIMED):
            if pages_drop(&s.seats[i], sizeof(seat_t)) != 0:
                memset(&s.seats[i], 0, sizeof(seat_t))
            word_set(&s.pids[i], pid)
            n = word_get(&s.n)
            while n < i + 1 and not seat_cas(&s.n, n, i + 1):
                n = word_get(&s.n)
            return <int>i
    return -1


cdef void seat_leave(seats_t *s, int seat) noexcept nogil:
    if seat >= 0:
        word_set(&s.pids[seat], 0)


cdef inline uint32_t _seats(seats_t *s) noexcept nogil:
    cdef uint64_t n = word_get(&s.n)
    return <uint32_t>n if n < TALLY_SEATS else TALLY_SEATS


cdef uint32_t seat_rank(seats_t *s, int seat, uint32_t *rank) noexcept nogil:
    cdef uint32_t taken = 0
    cdef uint32_t i
    rank[0] = 0
    for i in range(_seats(s)):
        if word_get(&s.pids[i]) > CLAIMED:
            if <int>i < seat:
                rank[0] += 1
            taken += 1
    return taken if taken != 0 else 1


cdef void tally_others(seats_t *s, int seat, uint32_t row, uint32_t *used) noexcept nogil:
    cdef const tally_t *t
    cdef uint32_t i
    memset(used, 0, USED_COUNT * sizeof(uint32_t))
    for i in range(_seats(s)):
        if <int>i != seat and word_get(&s.pids[i]) > CLAIMED:
            t = &s.seats[i].clusters[row]
            used[USED_REQUESTS] += t.used[USED_REQUESTS]
            used[USED_PENDING] += t.used[USED_PENDING]
            used[USED_CONNECTIONS] += t.used[USED_CONNECTIONS]
            used[USED_RETRIES] += t.used[USED_RETRIES]


cdef uint32_t tally_endpoint_others(seats_t *s, int seat, uint32_t row) noexcept nogil:
    cdef uint32_t used = 0
    cdef uint32_t i
    for i in range(_seats(s)):
        if <int>i != seat and word_get(&s.pids[i]) > CLAIMED:
            used += s.seats[i].endpoints[row].requests
    return used


# In the order of USED_*.
USED = ("requests", "pending", "connections", "retries")

cdef enum:
    BASE = 1 << 30


def _layout():
    # Stands for an address; nothing is read there.
    cdef seats_t *s = <seats_t *><size_t>BASE
    assert len(USED) == USED_COUNT
    return {
        "n": <size_t>&s.n - BASE,
        "pids": <size_t>&s.pids[0] - BASE,
        "near": <size_t>&s.near[0] - BASE,
        "places": TALLY_SEATS,
        "seats": <size_t>&s.seats[0] - BASE,
        "stride": sizeof(seat_t),
        "cluster_stride": sizeof(tally_t),
        "cluster_most": <size_t>&s.seats[0].clusters[0].most[0] - <size_t>&s.seats[0].clusters[0],
        "cluster_near_s": <size_t>&s.seats[0].clusters[0].near_s[0] - <size_t>&s.seats[0].clusters[0],
        "cluster_rows": TALLY_CLUSTERS,
        "endpoints": <size_t>&s.seats[0].endpoints[0] - <size_t>&s.seats[0],
        "endpoint_stride": sizeof(endpoint_tally_t),
        "endpoint_rows": TALLY_ENDPOINTS,
    }


LAYOUT = _layout()
