"""Breaths in long work of a worker."""
from libc.stdint cimport uint64_t
from fastmesh._core.sys.clock_sys cimport clock_monotonic_ns

cdef void (*breathe)(void *) noexcept nogil     # NULL = nobody does long work, or this is a breath
cdef void *breather
cdef uint64_t next_ns
cdef uint64_t n_taken = 0


cdef void breath_set(void (*fn)(void *) noexcept nogil, void *who) noexcept nogil:
    global breathe, breather, next_ns
    breathe = fn
    breather = who
    if fn is not NULL:
        next_ns = clock_monotonic_ns() + BREATH_EACH_NS


cdef void breath_take() noexcept nogil:
    global breathe, next_ns, n_taken
    cdef void (*fn)(void *) noexcept nogil
    if breathe is NULL or clock_monotonic_ns() < next_ns:
        return
    fn = breathe
    breathe = NULL
    n_taken += 1
    fn(breather)
    breathe = fn
    next_ns = clock_monotonic_ns() + BREATH_EACH_NS


cdef uint64_t breaths() noexcept nogil:
    return n_taken
