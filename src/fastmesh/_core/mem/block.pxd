"""Buffer blocks: where received bytes land, counted, moved by reference and never copied on the way.

Two sizes. A small block takes a head or a short message; a large one takes bulk. A connection that
waits owns none.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    BLOCK_SMALL = 4096
    BLOCK_LARGE = 65536
    BLOCK_NO_ID = 0xFFFF

ctypedef struct block_t:
    block_t *next             # in the free list
    blocks_t *home
    uint32_t refs
    uint32_t cap
    uint16_t bid              # its place in a provided-buffer ring, or BLOCK_NO_ID
    uint8_t *bytes            # cap bytes, owned

ctypedef struct blocks_t:
    block_t *free_small
    block_t *free_large
    uint32_t n_free_small
    uint32_t n_free_large
    uint32_t live             # handed out
    uint32_t total


cdef void blocks_init(blocks_t *b) noexcept nogil
cdef void blocks_fini(blocks_t *b) noexcept nogil
cdef block_t *block_make(blocks_t *b, uint32_t cap) noexcept nogil
cdef void block_release(block_t *k) noexcept nogil       # the last reference is gone


cdef inline block_t *block_new(blocks_t *b, uint32_t cap) noexcept nogil:
    """A block of BLOCK_SMALL or BLOCK_LARGE bytes with one reference."""
    cdef block_t *k
    if cap == BLOCK_SMALL and b.free_small is not NULL:
        k = b.free_small
        b.free_small = k.next
        b.n_free_small -= 1
    elif cap == BLOCK_LARGE and b.free_large is not NULL:
        k = b.free_large
        b.free_large = k.next
        b.n_free_large -= 1
    else:
        k = block_make(b, cap)
    k.refs = 1
    k.bid = BLOCK_NO_ID
    b.live += 1
    return k


cdef inline block_t *block_get(block_t *k) noexcept nogil:
    k.refs += 1
    return k


cdef inline void block_put(block_t *k) noexcept nogil:
    k.refs -= 1
    if k.refs == 0:
        block_release(k)
