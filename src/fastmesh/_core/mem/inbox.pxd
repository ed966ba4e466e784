"""Bytes that arrived before they could be used: half a head, or the next request of a pipeline."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.mem.block cimport block_put, block_t, blocks_t

cdef enum:
    INBOX_MAX = 524288        # a peer that sends more than this while it is told to stop is cut off

ctypedef struct inbox_t:
    block_t *blk              # owned; NULL when empty
    uint32_t off
    uint32_t len
    uint32_t scanned          # of len: searched for the end of a head before


# Appends a copy. FM_OK, or FM_ELIMIT over INBOX_MAX.
cdef int inbox_add(inbox_t *b, blocks_t *blocks, const uint8_t *p, uint32_t n) noexcept nogil


cdef inline void inbox_clear(inbox_t *b) noexcept nogil:
    if b.blk is not NULL:
        block_put(b.blk)
        b.blk = NULL
    b.off = 0
    b.len = 0
    b.scanned = 0


cdef inline block_t *inbox_detach(inbox_t *b, const uint8_t **p, uint32_t *n) noexcept nogil:
    """Takes the bytes out: p[0:n) within the block whose reference is now the caller's."""
    cdef block_t *k = b.blk
    p[0] = k.bytes + b.off
    n[0] = b.len
    b.blk = NULL
    b.off = 0
    b.len = 0
    b.scanned = 0
    return k


cdef inline void inbox_attach(inbox_t *b, block_t *k, const uint8_t *p, uint32_t n) noexcept nogil:
    """Puts back what is left of a detached block: the inbox is empty and takes the reference over."""
    b.blk = k
    b.off = <uint32_t>(p - k.bytes)
    b.len = n
    b.scanned = 0
