"""Which pages of a mapping are there: a look at a hole, too, would make a page of it."""
from libc.stdint cimport uint8_t, uint64_t

ctypedef struct resident_t:
    uint8_t *pages            # owned: one for each page, its lowest bit says that it is there; NULL = nobody knows
    uint64_t first            # number of the first page
    uint64_t n

# The pages of `size` bytes at `p`, as they are now.
cdef void resident_look(resident_t *r, const void *p, uint64_t size) noexcept nogil
cdef void resident_drop(resident_t *r) noexcept nogil
# False: what is there reads as zero.
cdef bint resident_has(const resident_t *r, const void *p) noexcept nogil
