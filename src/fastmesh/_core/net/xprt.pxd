"""A transport: what stands between a codec and the reactor. Plain now; TLS is another table of the same shape.

`xprt_t` begins with its io_t and is itself the beginning of a connection of either side.
"""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.io.reactor cimport io_t, reactor_t
from fastmesh._core.sys.socket cimport sockaddr, socklen_t

# Upwards: what the owner of the transport hears. Contracts as in io_ops_t.
ctypedef struct xprt_up_t:
    void (*on_bytes)(xprt_t *x, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil
    void (*on_eof)(xprt_t *x) noexcept nogil
    void (*on_error)(xprt_t *x, int err) noexcept nogil
    void (*on_connect)(xprt_t *x, int err) noexcept nogil
    void (*on_drained)(xprt_t *x) noexcept nogil
    void (*on_ready)(xprt_t *x, int events) noexcept nogil     # after io_watch: opaque relay
    void (*on_closed)(xprt_t *x) noexcept nogil

# Downwards.
ctypedef struct xprt_ops_t:
    const char *name
    # Room for n bytes to send; `commit` sends the first `used` of the last room.
    uint8_t *(*reserve)(xprt_t *x, uint32_t n) noexcept nogil
    void (*commit)(xprt_t *x, uint8_t *p, uint32_t used) noexcept nogil
    # By reference; without a block the bytes must last till the flush.
    void (*put)(xprt_t *x, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil
    bint is_splice            # may its socket be spliced to another
    uint32_t overhead         # bytes added per record, for watermarks

ctypedef struct xprt_t:
    io_t io
    const xprt_ops_t *ops
    const xprt_up_t *up


cdef const xprt_ops_t *xprt_plain_ops
# Takes ownership of fd. FM_OK or FM_ESYS (fd closed).
cdef int xprt_open_plain(reactor_t *r, xprt_t *x, int fd, const xprt_up_t *up) noexcept nogil
