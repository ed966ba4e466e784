"""See take_statuses.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.snapshot.take cimport take_at, take_enter, take_leave, take_list, take_u32


cdef bint take_statuses(take_t *t, const char *name, uint32_t first, uint32_t last,
                        uint64_t *bits) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t status = 0
    cdef uint32_t i
    if not take_list(t, name, 1, last - first + 1, &n):
        return False
    take_enter(t, name)
    for i in range(n):
        take_at(t, i)
        if not take_u32(t, NULL, first, last, &status):
            return False
        status -= first
        bits[status >> 6] |= <uint64_t>1 << (status & 63)
    take_leave(t)
    return True
