"""See resident.pxd."""
from libc.string cimport memset
from fastmesh._core.mem.arena cimport heap_free, heap_new

cdef extern from "<sys/mman.h>" nogil:
    int mincore(void *p, size_t size, unsigned char *pages)

cdef enum:
    SHIFT = 12                # mincore speaks of pages of 4 KiB where the kernel has such; else nobody knows


cdef void resident_look(resident_t *r, const void *p, uint64_t size) noexcept nogil:
    cdef uint64_t end = (<uint64_t>p + size + (1 << SHIFT) - 1) >> SHIFT
    memset(r, 0, sizeof(resident_t))
    r.first = <uint64_t>p >> SHIFT
    r.n = end - r.first
    r.pages = <uint8_t *>heap_new(r.n)
    if mincore(<void *>(r.first << SHIFT), r.n << SHIFT, r.pages) != 0:
        resident_drop(r)


cdef void resident_drop(resident_t *r) noexcept nogil:
    heap_free(r.pages)
    r.pages = NULL


cdef bint resident_has(const resident_t *r, const void *p) noexcept nogil:
    cdef uint64_t at = (<uint64_t>p >> SHIFT) - r.first
    return r.pages is NULL or at >= r.n or r.pages[at] & 1 != 0
