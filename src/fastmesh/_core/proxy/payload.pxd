"""The body of an HTTP/1 message on its way out, to a client or to an upstream."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy
from fastmesh._core.http.chunked cimport chunked_put_size
from fastmesh._core.http.h1 cimport h1_copy_fields
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.net.xprt cimport xprt_t
from fastmesh._core.proxy.emit cimport put_bytes

cdef enum:
    SMALL_COPY = 2048         # shorter pieces are copied behind their chunk size: one piece instead of three


cdef inline void payload_put(xprt_t *x, const uint8_t *p, uint32_t n, block_t *blk, bint chunked) noexcept nogil:
    """n > 0 bytes within blk."""
    cdef uint8_t *at
    cdef uint8_t *to
    if n <= SMALL_COPY:
        at = x.ops.reserve(x, n + 24)
        to = at
        if chunked:
            to += chunked_put_size(to, n)
        memcpy(to, p, n)
        to += n
        if chunked:
            to = put_bytes(to, b"\r\n", 2)
        x.ops.commit(x, at, <uint32_t>(to - at))
        return
    if chunked:
        at = x.ops.reserve(x, 24)
        x.ops.commit(x, at, chunked_put_size(at, n))
    x.ops.put(x, p, n, blk)
    if chunked:
        at = x.ops.reserve(x, 2)
        memcpy(at, b"\r\n", 2)
        x.ops.commit(x, at, 2)


cdef inline void payload_end(xprt_t *x, const msg_t *trailers) noexcept nogil:
    """The last chunk, and what follows it. `trailers`: NULL = none."""
    cdef uint8_t *at = x.ops.reserve(x, (trailers.len if trailers is not NULL else 0) + 8)
    cdef uint8_t *to = put_bytes(at, b"0\r\n", 3)
    if trailers is not NULL:
        to += h1_copy_fields(to, trailers)
    to = put_bytes(to, b"\r\n", 2)
    x.ops.commit(x, at, <uint32_t>(to - at))
