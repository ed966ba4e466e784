"""See inbox.pxd."""
from libc.string cimport memcpy, memmove
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new
from fastmesh._core.mem.fault cimport FM_ELIMIT, FM_OK


cdef int inbox_add(inbox_t *b, blocks_t *blocks, const uint8_t *p, uint32_t n) noexcept nogil:
    cdef uint32_t cap
    cdef block_t *k
    if b.len + n > INBOX_MAX:
        return FM_ELIMIT
    if b.blk is NULL or b.off + b.len + n > b.blk.cap or b.blk.refs > 1:
        if b.blk is not NULL and b.len + n <= b.blk.cap and b.blk.refs == 1:
            memmove(b.blk.bytes, b.blk.bytes + b.off, b.len)
        else:
            cap = BLOCK_SMALL
            while cap < b.len + n:
                cap = cap << 1 if cap != BLOCK_SMALL else BLOCK_LARGE
            k = block_new(blocks, cap)
            if b.blk is not NULL:
                memcpy(k.bytes, b.blk.bytes + b.off, b.len)
                block_put(b.blk)
            b.blk = k
        b.off = 0
    memcpy(b.blk.bytes + b.off + b.len, p, n)
    b.len += n
    return FM_OK
