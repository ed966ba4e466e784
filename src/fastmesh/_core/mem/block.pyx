"""See block.pxd."""
from libc.stdlib cimport abort, free, malloc

cdef enum:
    # Kept for reuse; what is above goes back to the system, so that a burst leaves no mark.
    KEEP_SMALL = 256
    KEEP_LARGE = 12


cdef void blocks_init(blocks_t *b) noexcept nogil:
    b.free_small = NULL
    b.free_large = NULL
    b.n_free_small = 0
    b.n_free_large = 0
    b.live = 0
    b.total = 0


cdef block_t *block_make(blocks_t *b, uint32_t cap) noexcept nogil:
    cdef block_t *k = <block_t *>malloc(sizeof(block_t))
    if k is NULL:
        abort()
    k.bytes = <uint8_t *>malloc(cap)
    if k.bytes is NULL:
        abort()
    k.home = b
    k.cap = cap
    k.next = NULL
    b.total += 1
    return k


cdef void _destroy(block_t *k) noexcept nogil:
    k.home.total -= 1
    free(k.bytes)
    free(k)


cdef void block_release(block_t *k) noexcept nogil:
    cdef blocks_t *b = k.home
    b.live -= 1
    if k.cap == BLOCK_SMALL and b.n_free_small < KEEP_SMALL:
        k.next = b.free_small
        b.free_small = k
        b.n_free_small += 1
    elif k.cap == BLOCK_LARGE and b.n_free_large < KEEP_LARGE:
        k.next = b.free_large
        b.free_large = k
        b.n_free_large += 1
    else:
        _destroy(k)


cdef void blocks_fini(blocks_t *b) noexcept nogil:
    cdef block_t *k
    while b.free_small is not NULL:
        k = b.free_small
        b.free_small = k.next
        _destroy(k)
    while b.free_large is not NULL:
        k = b.free_large
        b.free_large = k.next
        _destroy(k)
