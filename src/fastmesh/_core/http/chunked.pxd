"""The chunked transfer coding, both ways (RFC 9112 section 7.1), strict.

Chunk extensions are skipped up to a bound and not forwarded. Bare LF, white space before
the size or within it, signs, sizes over 2**62 are faults.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.span cimport span_t

ctypedef struct chunked_t:
    uint64_t left             # payload bytes of the current chunk still to come
    uint32_t line             # bytes of the current size line so far (bounded)
    uint8_t state
    uint8_t done              # the last chunk's size line was consumed: the trailer section follows


cdef void chunked_init(chunked_t *c) noexcept nogil
# Consumes from p[0:n) up to and including one run of payload, or to the end of the last chunk's size line.
# Returns bytes consumed (> 0 when n > 0), or FM_EPROTO. `payload` is a run within p, len 0 when there was none.
# Call again with the rest until all is consumed or c.done.
cdef int chunked_step(chunked_t *c, const uint8_t *p, uint32_t n, span_t *payload) noexcept nogil
# Writes "<hex>\r\n" for a chunk of n > 0 bytes; dst has room for 20. Returns bytes written.
cdef uint32_t chunked_put_size(uint8_t *dst, uint64_t n) noexcept nogil
