"""See xprt.pxd: the plain transport, which passes everything through."""
from fastmesh._core.io.reactor cimport io_commit, io_open, io_ops_t, io_put_slice, io_reserve


cdef void _on_bytes(io_t *io, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    (<xprt_t *>io).up.on_bytes(<xprt_t *>io, p, n, blk)


cdef void _on_eof(io_t *io) noexcept nogil:
    (<xprt_t *>io).up.on_eof(<xprt_t *>io)


cdef void _on_error(io_t *io, int err) noexcept nogil:
    (<xprt_t *>io).up.on_error(<xprt_t *>io, err)


cdef void _on_connect(io_t *io, int err) noexcept nogil:
    (<xprt_t *>io).up.on_connect(<xprt_t *>io, err)


cdef void _on_drained(io_t *io) noexcept nogil:
    (<xprt_t *>io).up.on_drained(<xprt_t *>io)


cdef void _on_accept(io_t *io, int fd) noexcept nogil:
    pass    # a transport never listens


cdef void _on_ready(io_t *io, int events) noexcept nogil:
    (<xprt_t *>io).up.on_ready(<xprt_t *>io, events)


cdef void _on_closed(io_t *io) noexcept nogil:
    (<xprt_t *>io).up.on_closed(<xprt_t *>io)


cdef uint8_t *_reserve(xprt_t *x, uint32_t n) noexcept nogil:
    return io_reserve(&x.io, n)


cdef void _commit(xprt_t *x, uint8_t *p, uint32_t used) noexcept nogil:
    io_commit(&x.io, p, used)


cdef void _put(xprt_t *x, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    io_put_slice(&x.io, p, n, blk)


cdef io_ops_t FROM_IO
FROM_IO.on_bytes = _on_bytes
FROM_IO.on_eof = _on_eof
FROM_IO.on_error = _on_error
FROM_IO.on_connect = _on_connect
FROM_IO.on_drained = _on_drained
FROM_IO.on_accept = _on_accept
FROM_IO.on_ready = _on_ready
FROM_IO.on_closed = _on_closed

cdef xprt_ops_t PLAIN
PLAIN.name = b"plain"
PLAIN.reserve = _reserve
PLAIN.commit = _commit
PLAIN.put = _put
PLAIN.is_splice = True
PLAIN.overhead = 0
xprt_plain_ops = &PLAIN


cdef int xprt_open_plain(reactor_t *r, xprt_t *x, int fd, const xprt_up_t *up) noexcept nogil:
    x.ops = &PLAIN
    x.up = up
    return io_open(r, &x.io, fd, &FROM_IO)
