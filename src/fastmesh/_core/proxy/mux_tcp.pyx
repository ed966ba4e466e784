"""See mux_tcp.pxd."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.reactor cimport io_hangup
from fastmesh._core.io.timer cimport timer_init, timer_t
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.inbox cimport inbox_add
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.net.xprt cimport xprt_t
from fastmesh._core.proxy.down cimport down_close, down_on_closed, down_reset
from fastmesh._core.proxy.mux cimport DOWN_BUSY, DOWN_TUNNEL, down_ops_t, stream_t
from fastmesh._core.proxy.relay cimport relay_on_ready, relay_t
from fastmesh._core.proxy.stream cimport stream_end, stream_new, stream_on_client_gone, stream_on_tcp


cdef void mux_tcp_start(down_t *d) noexcept nogil:
    cdef stream_t *s
    timer_init(&d.timer, _on_timer, d)
    d.phase = DOWN_BUSY
    s = stream_new(d, &TCP_DOWN)
    d.stream = s
    # Nothing is read before there is somewhere to send it.
    io_hangup(&d.x.io)
    stream_on_tcp(s)


cdef void _on_timer(timer_t *t, void *owner) noexcept nogil:
    pass


cdef void _gone(down_t *d) noexcept nogil:
    cdef stream_t *s = d.stream
    down_close(d)
    if s is not NULL:
        d.stream = NULL
        stream_on_client_gone(s)


cdef void _on_bytes(xprt_t *x, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    # Only what was under way when receiving was switched off for the relay.
    if inbox_add(&(<down_t *>x).inbox, &(<down_t *>x).proxy.reactor.blocks, p, n) != FM_OK:
        _gone(<down_t *>x)


cdef void _on_eof(xprt_t *x) noexcept nogil:
    pass    # the relay reads the end again by itself


cdef void _on_error(xprt_t *x, int err) noexcept nogil:
    _gone(<down_t *>x)


cdef void _on_connect(xprt_t *x, int err) noexcept nogil:
    pass


cdef void _on_drained(xprt_t *x) noexcept nogil:
    pass


cdef void _on_ready(xprt_t *x, int events) noexcept nogil:
    cdef down_t *d = <down_t *>x
    if d.stream is not NULL and d.stream.relay is not NULL:
        relay_on_ready(<relay_t *>d.stream.relay, &x.io, events)


cdef void _end(stream_t *s, msg_t *trailers) noexcept nogil:
    cdef down_t *d = s.down
    d.stream = NULL
    stream_end(s)
    down_close(d)


cdef void _cut(stream_t *s) noexcept nogil:
    # No bytes can say what went wrong: the reset does.
    cdef down_t *d = s.down
    d.stream = NULL
    stream_end(s)
    down_reset(d)


cdef void _tunnel(stream_t *s) noexcept nogil:
    s.down.phase = DOWN_TUNNEL


cdef void _no_head(stream_t *s, msg_t *m, int framing) noexcept nogil:
    pass


cdef void _no_message(stream_t *s, msg_t *m) noexcept nogil:
    pass


cdef void _no_local(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil:
    pass


cdef bint _no_body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    return False


cdef void _no_read(stream_t *s) noexcept nogil:
    pass


cdef down_ops_t TCP_DOWN
TCP_DOWN.name = b"tcp"
TCP_DOWN.interim = _no_message
TCP_DOWN.head = _no_head
TCP_DOWN.local = _no_local
TCP_DOWN.body = _no_body
TCP_DOWN.end = _end
TCP_DOWN.cut = _cut
TCP_DOWN.read = _no_read
TCP_DOWN.tunnel = _tunnel

cdef xprt_up_t EVENTS
EVENTS.on_bytes = _on_bytes
EVENTS.on_eof = _on_eof
EVENTS.on_error = _on_error
EVENTS.on_connect = _on_connect
EVENTS.on_drained = _on_drained
EVENTS.on_ready = _on_ready
EVENTS.on_closed = down_on_closed


cdef const xprt_up_t *mux_tcp_events() noexcept nogil:
    return &EVENTS
