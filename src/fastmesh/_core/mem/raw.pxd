"""The system's allocator, for what is made once: engines, doors, tables.

Nothing here is called per request. Out of memory has no good answer at these places: the process ends and the
supervisor starts a fresh one.
"""
from libc.stdlib cimport abort, calloc, free, malloc


cdef inline void *raw_zeroed(size_t n) noexcept nogil:
    cdef void *p = calloc(1, n)
    if p is NULL:
        abort()
    return p


cdef inline void *raw_take(size_t n) noexcept nogil:
    cdef void *p = malloc(n)
    if p is NULL:
        abort()
    return p


cdef inline void raw_give(void *p) noexcept nogil:
    free(p)
