"""See slab.pxd."""
from libc.stdlib cimport abort, free
from posix.stdlib cimport posix_memalign


cdef void slab_init(slab_t *s, uint32_t size, uint32_t per_chunk) noexcept nogil:
    s.free = NULL
    s.chunks = NULL
    s.size = (size + 63) & ~<uint32_t>63
    s.per_chunk = per_chunk
    s.live = 0


cdef void slab_grow(slab_t *s) noexcept nogil:
    cdef char *chunk
    cdef uint32_t i
    cdef void *p = NULL
    # Out of memory for bookkeeping has no good answer: the supervisor starts a fresh worker.
    if posix_memalign(&p, 64, 64 + <size_t>s.size * s.per_chunk) != 0:
        abort()
    (<void **>p)[0] = s.chunks
    s.chunks = p
    chunk = <char *>p + 64
    for i in range(s.per_chunk):
        (<void **>(chunk + <size_t>i * s.size))[0] = s.free
        s.free = chunk + <size_t>i * s.size


cdef void slab_fini(slab_t *s) noexcept nogil:
    cdef void *p = s.chunks
    cdef void *below
    while p is not NULL:
        below = (<void **>p)[0]
        free(p)
        p = below
    s.chunks = NULL
    s.free = NULL
