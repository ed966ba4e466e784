"""See mux_h1_down.pxd."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, strlen
from fastmesh._core.http.body cimport BODY_DONE, BODY_OPEN, body_init, body_step
from fastmesh._core.http.h1 cimport (
    H1_AGAIN, H1_EFIELDS, H1_EHEAD, H1_EURI, H1_EVERSION, h1_copy_fields, h1_parse_request, h1_parse_trailers,
    h1_reason)
from fastmesh._core.http.msg cimport (
    FRAME_CHUNKED, FRAME_CLOSE, FRAME_LENGTH, FRAME_NONE, MSG_CLOSE, MSG_KEEPALIVE, MSG_LINE, MSG_UPGRADE, msg_t,
    msg_value)
from fastmesh._core.http.token cimport HEADER_DATE, HEADER_UPGRADE, METHOD_HEAD
from fastmesh._core.io.reactor cimport io_bulk, io_hangup, io_rx, io_shut, io_taken
from fastmesh._core.io.timer cimport timer_arm, timer_cancel, timer_init, timer_t
from fastmesh._core.mem.block cimport block_put, block_t
from fastmesh._core.mem.counter cimport (
    FLAG_DPE, FLAG_SI, G_BAD_REQUEST, G_BAD_VERSION, G_BODY_TIMEOUT, G_BYTES_RECEIVED, G_BYTES_SENT,
    G_HEADER_TIMEOUT, G_HEAD_TOO_LARGE, G_IDLE_CLOSED, G_LINGERED, G_REQUESTS_LIMIT_CLOSED, G_STREAM_IDLE,
    G_TOO_MANY_FIELDS,
    G_URI_TOO_LONG)
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.inbox cimport inbox_add, inbox_attach, inbox_clear, inbox_detach
from fastmesh._core.mem.span cimport span_ieq, span_of, span_t
from fastmesh._core.net.xprt cimport xprt_t
from fastmesh._core.proxy.cors cimport cors_put, cors_room
from fastmesh._core.proxy.degraded cimport DEGRADED_ROOM, degraded_put
from fastmesh._core.proxy.down cimport (
    down_close, down_close_sent, down_is_moving, down_on_closed, down_refresh, down_reset, down_wait)
from fastmesh._core.proxy.emit cimport put_bytes, put_number, put_span
from fastmesh._core.proxy.limit_fields cimport limit_fields_put, limit_fields_room
from fastmesh._core.proxy.local cimport local_answer
from fastmesh._core.proxy.mux cimport (
    DOWN_BODY, DOWN_BUSY, DOWN_CLOSING, DOWN_HEAD, DOWN_IDLE, DOWN_LINGER, DOWN_TUNNEL, S_ANSWER_HEAD, S_CHUNK_DOWN,
    S_CLIENT_ASKED, S_CLOSE_DOWN, S_HTTP10, S_REQUEST_DONE, S_TUNNEL, S_UPGRADE, S_WANT_BODY, down_ops_t, proxy_t,
    stream_t)
from fastmesh._core.proxy.overload cimport overload_ends_connections
from fastmesh._core.proxy.payload cimport payload_end, payload_put
from fastmesh._core.proxy.relay cimport relay_on_ready, relay_t
from fastmesh._core.proxy.routing cimport routing_begin
from fastmesh._core.proxy.request_key cimport request_key_room, request_key_tell
from fastmesh._core.proxy.stream cimport (
    stream_end, stream_new, stream_on_client_drained, stream_on_client_gone, stream_on_request_body,
    stream_on_request_end)
from fastmesh._core.proxy.wall cimport proxy_date
from fastmesh._core.resil.fallback_rule cimport STEP_STALE

cdef enum:
    BULK = 65536
    LOCAL_PIECE = 65536       # a fixed response is copied in pieces of at most this


cdef inline void _deadline(down_t *d, uint64_t after_ns) noexcept nogil:
    if after_ns == 0:
        timer_cancel(&d.timer)
    else:
        timer_arm(&d.proxy.reactor.wheel, &d.timer, d.proxy.reactor.now_ns + after_ns)


cdef inline uint64_t _idle_ns(const down_t *d) noexcept nogil:
    """How long the exchange may stand still, as the route says once that is known."""
    if d.stream is not NULL and d.stream.route is not NULL:
        return d.stream.route.stream_idle_ns
    return d.listener.stream_idle_ns


cdef void _stands(stream_t *s) noexcept nogil:
    if s.down.phase == DOWN_BUSY:
        _deadline(s.down, s.route.stream_idle_ns)


# --- reading -----------------------------------------------------------------------------------------

cdef void mux_h1_down_start(down_t *d) noexcept nogil:
    timer_init(&d.timer, _on_timer, d)
    d.phase = DOWN_IDLE
    d.idle_since_ns = d.proxy.reactor.now_ns
    d.x.io.out_mark = d.listener.buffer_bytes
    _deadline(d, d.listener.idle_timeout_ns)
    io_rx(&d.x.io, True)
    io_hangup(&d.x.io)


cdef bint _offers_h2c(span_t list) noexcept nogil:
    cdef uint32_t i
    cdef uint32_t start = 0
    for i in range(list.len + 1):
        if i == list.len or list.ptr[i] == c',' or list.ptr[i] == c' ' or list.ptr[i] == c'\t':
            if span_ieq(span_of(list.ptr + start, i - start), span_of(b"h2c", 3)):
                return True
            start = i + 1
    return False


cdef void _request(down_t *d, msg_t *m) noexcept nogil:
    cdef stream_t *s
    cdef proxy_t *p = d.proxy
    down_refresh(d)
    d.requests += 1
    s = stream_new(d, &H1_DOWN)
    d.stream = s
    body_init(&d.body, m.framing, m.length)
    if m.minor == 0:
        s.bits |= S_HTTP10
        if not m.bits & MSG_KEEPALIVE or m.bits & MSG_CLOSE:
            s.bits |= S_CLOSE_DOWN | S_CLIENT_ASKED
    elif m.bits & MSG_CLOSE:
        s.bits |= S_CLOSE_DOWN | S_CLIENT_ASKED
    if d.listener.max_requests_per_connection != 0 and d.requests >= d.listener.max_requests_per_connection:
        if not s.bits & S_CLOSE_DOWN:
            p.stats.globals[G_REQUESTS_LIMIT_CLOSED] += 1
        s.bits |= S_CLOSE_DOWN
    if p.is_draining or overload_ends_connections(p):
        s.bits |= S_CLOSE_DOWN
    if m.bits & MSG_UPGRADE and m.minor == 1 and m.framing == FRAME_NONE:
        # h2c is between two neighbours; the next hop is not this one (RFC 9113 removed it besides).
        if not _offers_h2c(msg_value(m, m.at[HEADER_UPGRADE])):
            s.bits |= S_UPGRADE
    if d.body.state == BODY_DONE:
        d.phase = DOWN_BUSY
        _deadline(d, _idle_ns(d))
    else:
        d.phase = DOWN_BODY
        _deadline(d, d.listener.body_timeout_ns)
        if m.framing == FRAME_LENGTH and m.length > BULK:
            io_bulk(&d.x.io, True)
    routing_begin(s, m)


cdef void _bad(down_t *d, int rc, const char *why) noexcept nogil:
    """The head is not HTTP, or too much of it: an answer, and the connection ends."""
    cdef stream_t *s
    cdef uint64_t *counters = d.proxy.stats.globals
    cdef int status = 400
    cdef const char *details = b"http1.codec_error"
    if rc == H1_EURI:
        status = 414
        details = b"request_line_too_long"
        counters[G_URI_TOO_LONG] += 1
    elif rc == H1_EHEAD:
        status = 431
        details = b"request_headers_too_large"
        counters[G_HEAD_TOO_LARGE] += 1
    elif rc == H1_EFIELDS:
        status = 431
        details = b"too_many_headers"
        counters[G_TOO_MANY_FIELDS] += 1
    elif rc == H1_EVERSION:
        status = 505
        details = b"unsupported_version"
        counters[G_BAD_VERSION] += 1
    else:
        counters[G_BAD_REQUEST] += 1
    s = stream_new(d, &H1_DOWN)
    d.stream = s
    s.bits |= S_CLOSE_DOWN
    local_answer(s, status, FLAG_DPE, details, why)


cdef void _bad_body(down_t *d, stream_t *s, const char *why) noexcept nogil:
    d.proxy.stats.globals[G_BAD_REQUEST] += 1
    s.bits |= S_CLOSE_DOWN
    if s.bits & S_ANSWER_HEAD:
        s.flags |= FLAG_DPE
        s.details = b"http1.codec_error"
        _cut(s)
        return
    local_answer(s, 400, FLAG_DPE, b"http1.codec_error", why)


cdef void _consume(down_t *d, const uint8_t *p, uint32_t n, uint32_t scanned, block_t *blk,
                   block_t *own) noexcept nogil:
    """Works off p[0:n); what cannot be used yet goes to the inbox. `own`: a reference to give back, or NULL."""
    cdef proxy_t *x = d.proxy
    cdef stream_t *s
    cdef span_t payload
    cdef int rc
    cdef bint wait = False
    d.is_processing = 1
    while n > 0:
        if d.gone or d.phase >= DOWN_LINGER:
            if d.phase != DOWN_TUNNEL:
                n = 0
            break
        s = d.stream
        if s is NULL:
            if d.x.io.out_over:
                # The client does not read its answers: no further request before it does.
                io_rx(&d.x.io, False)
                break
            rc = h1_parse_request(&x.request, p, n, scanned, &d.listener.limits)
            scanned = 0
            if rc == H1_AGAIN:
                if d.phase != DOWN_HEAD:
                    d.phase = DOWN_HEAD
                    _deadline(d, d.listener.header_timeout_ns)
                wait = True
                break
            if rc < 0:
                _bad(d, rc, x.request.fault)
                continue
            p += rc
            n -= rc
            _request(d, &x.request)
        elif d.body.state == BODY_OPEN:
            if not s.bits & S_WANT_BODY:
                io_rx(&d.x.io, False)
                break
            rc = body_step(&d.body, p, n, &payload)
            if rc < 0:
                _bad_body(d, s, b"the chunked coding of the request's body is broken")
                continue
            p += rc
            n -= rc
            if payload.len != 0:
                stream_on_request_body(s, payload.ptr, payload.len, blk)
                if d.stream is NULL:
                    # A filter has answered.
                    continue
            if d.body.state == BODY_DONE:
                _request_done(d, s, NULL)
            else:
                _deadline(d, d.listener.body_timeout_ns)
        elif d.body.state != BODY_DONE:
            rc = h1_parse_trailers(&x.trailers, p, n, scanned, &d.listener.limits)
            scanned = 0
            if rc == H1_AGAIN:
                wait = True
                break
            if rc < 0:
                _bad_body(d, s, x.trailers.fault)
                continue
            p += rc
            n -= rc
            d.body.state = BODY_DONE
            _request_done(d, s, &x.trailers)
        else:
            # The next request of a pipeline: its answer comes after this one's.
            io_rx(&d.x.io, False)
            break
    d.is_processing = 0
    if n > 0:
        if own is not NULL:
            inbox_attach(&d.inbox, own, p, n)
            own = NULL
        elif inbox_add(&d.inbox, &x.reactor.blocks, p, n) != FM_OK:
            _gone(d, True)
        if wait:
            d.inbox.scanned = n
    if own is not NULL:
        block_put(own)
    if d.eof:
        _ended(d)


cdef void _request_done(down_t *d, stream_t *s, msg_t *trailers) noexcept nogil:
    d.phase = DOWN_BUSY
    _deadline(d, _idle_ns(d))
    io_bulk(&d.x.io, False)
    stream_on_request_end(s, trailers)


cdef void _resume(down_t *d) noexcept nogil:
    cdef const uint8_t *p = NULL
    cdef uint32_t n = 0
    cdef block_t *own
    cdef uint32_t scanned = d.inbox.scanned
    if d.inbox.len > 0:
        own = inbox_detach(&d.inbox, &p, &n)
        _consume(d, p, n, scanned, own, own)
    if d.inbox.len == 0 or d.inbox.scanned != 0:
        if not d.gone:
            io_rx(&d.x.io, True)


cdef void _on_bytes(xprt_t *x, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    cdef down_t *d = <down_t *>x
    cdef uint32_t scanned
    cdef block_t *own
    d.proxy.stats.globals[G_BYTES_RECEIVED] += n
    if d.phase >= DOWN_LINGER and d.phase != DOWN_TUNNEL:
        return
    if d.inbox.len == 0 and d.phase != DOWN_TUNNEL:
        _consume(d, p, n, 0, blk, NULL)
        return
    if inbox_add(&d.inbox, &d.proxy.reactor.blocks, p, n) != FM_OK:
        _gone(d, True)
        return
    if d.phase == DOWN_TUNNEL or (d.stream is not NULL and d.body.state == BODY_DONE):
        return
    scanned = d.inbox.scanned
    own = inbox_detach(&d.inbox, &p, &n)
    _consume(d, p, n, scanned, own, own)


cdef void _gone(down_t *d, bint reset) noexcept nogil:
    """The client is away, or not worth keeping."""
    cdef stream_t *s = d.stream
    if reset:
        down_reset(d)
    else:
        down_close(d)
    if s is not NULL:
        d.stream = NULL
        stream_on_client_gone(s)


cdef void _ended(down_t *d) noexcept nogil:
    """The client says no more: it has left, unless the listener lets it wait for what it has asked for."""
    cdef stream_t *s = d.stream
    if d.gone or d.phase == DOWN_CLOSING or d.phase == DOWN_TUNNEL:
        return
    if s is NULL:
        if d.phase != DOWN_IDLE or d.inbox.len == 0:
            down_close_sent(d)
    elif not d.listener.half_close:
        _gone(d, False)
    elif d.body.state == BODY_OPEN:
        if s.bits & S_WANT_BODY or d.inbox.len == 0:
            _gone(d, False)
    elif d.body.state != BODY_DONE:
        _gone(d, False)


cdef void _on_eof(xprt_t *x) noexcept nogil:
    (<down_t *>x).eof = 1
    _ended(<down_t *>x)


cdef void _on_error(xprt_t *x, int err) noexcept nogil:
    _gone(<down_t *>x, False)


cdef void _on_connect(xprt_t *x, int err) noexcept nogil:
    pass


cdef void _on_drained(xprt_t *x) noexcept nogil:
    cdef down_t *d = <down_t *>x
    if d.stream is not NULL:
        if d.phase == DOWN_BUSY:
            _deadline(d, _idle_ns(d))
        stream_on_client_drained(d.stream)
    elif d.phase == DOWN_IDLE:
        _deadline(d, d.listener.idle_timeout_ns)
        if d.inbox.len > 0:
            _resume(d)
        else:
            io_rx(&d.x.io, True)


cdef void _on_ready(xprt_t *x, int events) noexcept nogil:
    cdef down_t *d = <down_t *>x
    if d.stream is not NULL and d.stream.relay is not NULL:
        relay_on_ready(<relay_t *>d.stream.relay, &x.io, events)


cdef inline uint64_t _moved(down_t *d, stream_t *s) noexcept nogil:
    """A number that is another one whenever something of the exchange has moved."""
    cdef uint64_t n = io_taken(&d.x.io) + s.sent + s.attempts + d.requests
    if s.up is not NULL:
        n += io_taken(&s.up.x.io) + s.up.interims
    return n


cdef void _on_timer(timer_t *t, void *owner) noexcept nogil:
    cdef down_t *d = <down_t *>owner
    cdef uint64_t *counters = d.proxy.stats.globals
    cdef stream_t *s = d.stream
    cdef uint64_t moved, taken
    if d.phase == DOWN_IDLE and not d.x.io.out_over:
        counters[G_IDLE_CLOSED] += 1
        down_close(d)
    elif d.phase == DOWN_HEAD:
        counters[G_HEADER_TIMEOUT] += 1
        s = stream_new(d, &H1_DOWN)
        d.stream = s
        s.bits |= S_CLOSE_DOWN
        local_answer(s, 408, FLAG_DPE, b"request_header_timeout", b"the request's head did not arrive in time")
    elif d.phase == DOWN_BODY and s is not NULL:
        if not s.bits & S_WANT_BODY:
            # It is not the client who is slow: the request waits for a connection, or the upstream does not read.
            _deadline(d, d.listener.body_timeout_ns)
            if s.up is NULL:
                return
            taken = io_taken(&s.up.x.io)
            if taken != d.tx_seen:
                d.tx_seen = taken
                return
            counters[G_BODY_TIMEOUT] += 1
            local_answer(s, 504, FLAG_SI, b"stream_idle_timeout", b"the upstream does not read the request's body")
            return
        counters[G_BODY_TIMEOUT] += 1
        s.bits |= S_CLOSE_DOWN
        if s.bits & S_ANSWER_HEAD:
            s.flags |= FLAG_SI
            s.details = b"stream_idle_timeout"
            _cut(s)
        else:
            local_answer(s, 408, FLAG_SI, b"stream_idle_timeout", b"the request's body stopped arriving")
    elif (d.phase == DOWN_BUSY or d.phase == DOWN_IDLE) and d.x.io.out_over:
        taken = io_taken(&d.x.io)
        if taken != d.tx_seen:
            d.tx_seen = taken
            _deadline(d, d.listener.body_timeout_ns)
            return
        counters[G_BODY_TIMEOUT] += 1
        down_reset(d)
        if s is not NULL:
            s.flags |= FLAG_SI
            s.details = b"stream_idle_timeout"
            d.stream = NULL
            stream_end(s)
    elif d.phase == DOWN_BUSY and s is not NULL:
        moved = _moved(d, s)
        if moved != d.moved_seen:
            d.moved_seen = moved
            _deadline(d, _idle_ns(d))
            return
        counters[G_STREAM_IDLE] += 1
        # The route may have somebody else to ask.
        _deadline(d, _idle_ns(d))
        if s.bits & S_ANSWER_HEAD:
            s.flags |= FLAG_SI
            s.details = b"stream_idle_timeout"
            _cut(s)
        else:
            local_answer(s, 504, FLAG_SI, b"stream_idle_timeout", b"nothing moved for longer than stream_idle")
    elif (d.phase == DOWN_LINGER or d.phase == DOWN_CLOSING) and not down_is_moving(d):
        down_close(d)


cdef void mux_h1_down_drain(down_t *d) noexcept nogil:
    cdef proxy_t *p = d.proxy
    if d.phase == DOWN_IDLE and d.inbox.len == 0 and d.idle_since_ns + p.drain_idle_ns <= p.reactor.now_ns:
        down_close_sent(d)


# --- answering ---------------------------------------------------------------------------------------

cdef inline uint8_t *_ending(stream_t *s, uint8_t *to) noexcept nogil:
    """The fields that are this connection's own, and the empty line."""
    cdef proxy_t *p = s.proxy
    if not s.bits & S_REQUEST_DONE:
        # An answer before the request's end: nobody knows whether that end will come in time (RFC 9110 section
        # 10.1.1), and the client must not find out with its next request.
        s.bits |= S_CLOSE_DOWN
        s.bits &= ~<uint32_t>S_CLIENT_ASKED
    if p.is_draining or (s.down.eof and s.down.inbox.len == 0 and not s.down.is_processing):
        s.bits |= S_CLOSE_DOWN
    if s.bits & S_CLOSE_DOWN:
        to = put_bytes(to, b"connection: close\r\n", 19)
    elif s.bits & S_HTTP10:
        to = put_bytes(to, b"connection: keep-alive\r\n", 24)
    return put_bytes(to, b"\r\n", 2)


cdef inline bint _tells_of_cors(const stream_t *s) noexcept nogil:
    return s.route is not NULL and s.route.cors != 0


cdef inline bint _tells_of_key(const stream_t *s) noexcept nogil:
    return s.told is not NULL or s.cluster.names is not NULL


cdef inline uint32_t _rare_room(const stream_t *s) noexcept nogil:
    """Of what few answers tell."""
    cdef uint32_t room = 0
    if s.n_drawn != 0:
        room += limit_fields_room(s)
    if s.degraded != 0:
        room += DEGRADED_ROOM
    if _tells_of_cors(s):
        room += cors_room(s)
    return room


cdef void _head(stream_t *s, msg_t *m, int framing) noexcept nogil:
    cdef down_t *d = s.down
    cdef uint8_t *at = d.x.ops.reserve(
        &d.x, m.len + s.listener.via.len + _rare_room(s) + (request_key_room(s) if _tells_of_key(s) else 0) + 256)
    cdef uint8_t *to = at
    cdef span_t value
    if m.minor == 1 and not m.bits & MSG_LINE:
        to = put_bytes(to, <const char *>m.base, m.fields_off)
    else:
        to = put_bytes(to, b"HTTP/1.1 ", 9)
        to = put_number(to, m.status)
        to = put_bytes(to, b" ", 1)
        if m.bits & MSG_LINE:
            to = put_bytes(to, h1_reason(m.status), <uint32_t>strlen(h1_reason(m.status)))
        else:
            to = put_bytes(to, <const char *>m.base + m.reason_off, m.reason_len)
        to = put_bytes(to, b"\r\n", 2)
    to += h1_copy_fields(to, m)
    if m.status == 101:
        value = msg_value(m, m.at[HEADER_UPGRADE])
        to = put_bytes(to, b"connection: upgrade\r\nupgrade: ", 30)
        to = put_span(to, value)
        to = put_bytes(to, b"\r\n\r\n", 4)
        d.x.ops.commit(&d.x, at, <uint32_t>(to - at))
        return
    if framing == FRAME_CHUNKED or framing == FRAME_CLOSE:
        if s.bits & S_HTTP10:
            s.bits |= S_CLOSE_DOWN      # delimited by the end of the connection
        else:
            s.bits |= S_CHUNK_DOWN
            to = put_bytes(to, b"transfer-encoding: chunked\r\n", 28)
    if m.status == 426 and m.at[HEADER_UPGRADE] >= 0 and not s.bits & S_HTTP10:
        # What it asks for is the point of this status (RFC 9110 section 15.5.22).
        value = msg_value(m, m.at[HEADER_UPGRADE])
        if not _offers_h2c(value):
            to = put_bytes(to, b"connection: upgrade\r\nupgrade: ", 30)
            to = put_span(to, value)
            to = put_bytes(to, b"\r\n", 2)
    if m.at[HEADER_DATE] < 0:
        to = put_bytes(to, proxy_date(s.proxy), 37)      # RFC 9110 section 6.6.1
    if s.listener.via.len != 0:
        to = put_bytes(to, b"via: 1.", 7)
        to[0] = 48 + m.minor
        to = put_bytes(to + 1, b" ", 1)
        to = put_span(to, s.listener.via)
        to = put_bytes(to, b"\r\n", 2)
    if s.n_drawn != 0:
        to = limit_fields_put(s, to)
    if _tells_of_key(s):
        to = request_key_tell(s, to)
    if s.degraded != 0:
        to = degraded_put(s, to)
    if _tells_of_cors(s):
        to = cors_put(s, m, to)
    to = _ending(s, to)
    d.x.ops.commit(&d.x, at, <uint32_t>(to - at))


cdef void _interim(stream_t *s, msg_t *m) noexcept nogil:
    cdef down_t *d = s.down
    cdef uint8_t *at = d.x.ops.reserve(&d.x, m.len + 16)
    cdef uint8_t *to = put_bytes(at, b"HTTP/1.1 ", 9)
    to = put_number(to, m.status)
    to = put_bytes(to, b" ", 1)
    to = put_bytes(to, <const char *>m.base + m.reason_off, m.reason_len)
    to = put_bytes(to, b"\r\n", 2)
    to += h1_copy_fields(to, m)
    to = put_bytes(to, b"\r\n", 2)
    d.x.ops.commit(&d.x, at, <uint32_t>(to - at))


cdef void _local(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil:
    cdef down_t *d = s.down
    cdef uint8_t *at
    cdef uint8_t *to
    cdef uint32_t piece
    cdef const char *reason = h1_reason(status)
    cdef uint32_t n_reason = <uint32_t>strlen(reason)
    cdef bint bare = status == 204 or status == 304
    if body.ptr is NULL and not bare:
        # Something to read for who looks at it with curl.
        body = span_of(<const uint8_t *>reason, n_reason)
        content_type = span_of(b"text/plain; charset=utf-8", 25)
    at = d.x.ops.reserve(&d.x, n_reason + content_type.len + fields.len + _rare_room(s) + 256)
    to = put_bytes(at, b"HTTP/1.1 ", 9)
    to = put_number(to, <uint64_t>status)
    to = put_bytes(to, b" ", 1)
    to = put_bytes(to, reason, n_reason)
    to = put_bytes(to, b"\r\n", 2)
    if s.degraded != STEP_STALE:
        # A copy has those of whoever has made it.
        to = put_bytes(to, proxy_date(s.proxy), 37)
        to = put_bytes(to, b"server: fastmesh\r\n", 18)
    to = put_span(to, fields)
    if s.n_drawn != 0:
        to = limit_fields_put(s, to)
    if s.degraded != 0:
        to = degraded_put(s, to)
    if _tells_of_cors(s):
        to = cors_put(s, NULL, to)
    if not bare:
        if content_type.len != 0:
            to = put_bytes(to, b"content-type: ", 14)
            to = put_span(to, content_type)
            to = put_bytes(to, b"\r\n", 2)
        to = put_bytes(to, b"content-length: ", 16)
        to = put_number(to, body.len)
        to = put_bytes(to, b"\r\n", 2)
    to = _ending(s, to)
    d.x.ops.commit(&d.x, at, <uint32_t>(to - at))
    if bare or s.method == METHOD_HEAD:
        return
    s.sent += body.len
    while body.len > 0:
        # Copied: the bytes belong to a snapshot that may be gone before they are sent.
        piece = body.len if body.len < LOCAL_PIECE else LOCAL_PIECE
        at = d.x.ops.reserve(&d.x, piece)
        memcpy(at, body.ptr, piece)
        d.x.ops.commit(&d.x, at, piece)
        body.ptr += piece
        body.len -= piece


cdef bint _body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    cdef down_t *d = s.down
    s.proxy.stats.globals[G_BYTES_SENT] += n
    payload_put(&d.x, p, n, blk, (s.bits & S_CHUNK_DOWN) != 0)
    if d.x.io.out_bytes > d.x.io.out_mark:
        if not d.x.io.out_over:
            d.x.io.out_over = 1
            if d.phase == DOWN_BUSY:
                d.tx_seen = d.x.io.tx_total
                _deadline(d, d.listener.body_timeout_ns)
        return True
    return False


cdef void _linger(down_t *d) noexcept nogil:
    # Closing now would answer what the client still sends with RST, and the RST would overtake the answer
    # (RFC 9112 section 9.6).
    d.phase = DOWN_LINGER
    d.proxy.stats.globals[G_LINGERED] += 1
    inbox_clear(&d.inbox)
    io_bulk(&d.x.io, False)
    io_shut(&d.x.io)
    down_wait(d)
    io_rx(&d.x.io, True)


cdef void _end(stream_t *s, msg_t *trailers) noexcept nogil:
    cdef down_t *d = s.down
    cdef proxy_t *p = s.proxy
    cdef uint32_t bits
    if s.bits & S_CHUNK_DOWN:
        payload_end(&d.x, trailers)
    bits = s.bits
    d.stream = NULL
    stream_end(s)
    if d.gone:
        return
    if bits & S_TUNNEL:
        down_close(d)
        return
    if not bits & S_REQUEST_DONE:
        if d.eof:
            down_close_sent(d)
        else:
            _linger(d)
        return
    if bits & S_CLOSE_DOWN or (d.eof and d.inbox.len == 0 and not d.is_processing):
        if d.eof or (bits & S_CLIENT_ASKED and d.inbox.len == 0):
            down_close_sent(d)
        else:
            _linger(d)
        return
    d.phase = DOWN_IDLE
    d.idle_since_ns = p.reactor.now_ns
    if d.x.io.out_bytes > d.x.io.out_mark:
        d.x.io.out_over = 1
        d.tx_seen = d.x.io.tx_total
        _deadline(d, d.listener.body_timeout_ns)
    else:
        _deadline(d, d.listener.idle_timeout_ns)
    if not d.is_processing:
        if d.inbox.len > 0:
            _resume(d)
        else:
            io_rx(&d.x.io, True)


cdef void _cut(stream_t *s) noexcept nogil:
    cdef down_t *d = s.down
    cdef bint delimited = (s.bits & (S_HTTP10 | S_CHUNK_DOWN)) == S_HTTP10
    d.stream = NULL
    stream_end(s)
    if d.gone:
        return
    if delimited:
        # Only an abnormal end tells this client that something is missing.
        down_reset(d)
    else:
        down_close_sent(d)


cdef void _read(stream_t *s) noexcept nogil:
    if not s.down.is_processing:
        _resume(s.down)


cdef void _tunnel(stream_t *s) noexcept nogil:
    s.down.phase = DOWN_TUNNEL
    timer_cancel(&s.down.timer)


cdef down_ops_t H1_DOWN
H1_DOWN.name = b"http/1.1"
H1_DOWN.interim = _interim
H1_DOWN.head = _head
H1_DOWN.local = _local
H1_DOWN.body = _body
H1_DOWN.end = _end
H1_DOWN.cut = _cut
H1_DOWN.read = _read
H1_DOWN.tunnel = _tunnel
H1_DOWN.stands = _stands

cdef xprt_up_t EVENTS
EVENTS.on_bytes = _on_bytes
EVENTS.on_eof = _on_eof
EVENTS.on_error = _on_error
EVENTS.on_connect = _on_connect
EVENTS.on_drained = _on_drained
EVENTS.on_ready = _on_ready
EVENTS.on_closed = down_on_closed


cdef const xprt_up_t *mux_h1_down_events() noexcept nogil:
    return &EVENTS
