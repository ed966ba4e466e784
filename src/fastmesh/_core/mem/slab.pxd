"""Pools of equal-sized objects: connections, streams, slices.

One owner thread. Memory goes back to the system only with the slab; peak use is bounded by the
limits on connections. Objects come uninitialised.
"""
from libc.stdint cimport uint32_t

ctypedef struct slab_t:
    void *free                # singly linked through the first word
    void *chunks              # singly linked through the first word
    uint32_t size             # of one object, a multiple of 64: objects start on a cache line
    uint32_t per_chunk
    uint32_t live             # handed out; zero when everything was given back


cdef void slab_init(slab_t *s, uint32_t size, uint32_t per_chunk) noexcept nogil
cdef void slab_fini(slab_t *s) noexcept nogil
cdef void slab_grow(slab_t *s) noexcept nogil


cdef inline void *slab_take(slab_t *s) noexcept nogil:
    cdef void *p
    if s.free is NULL:
        slab_grow(s)
    p = s.free
    s.free = (<void **>p)[0]
    s.live += 1
    return p


cdef inline void slab_give(slab_t *s, void *p) noexcept nogil:
    (<void **>p)[0] = s.free
    s.free = p
    s.live -= 1
