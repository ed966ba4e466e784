"""See mux_h1_up.pxd."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcpy
from fastmesh._core.http.body cimport BODY_DONE, BODY_OPEN, body_init, body_step
from fastmesh._core.http.h1 cimport H1_AGAIN, h1_copy_fields, h1_limits_t, h1_parse_response, h1_parse_trailers
from fastmesh._core.http.msg cimport (
    FIELD_DROP, FIELD_MERGED, FIELD_OURS, FRAME_CHUNKED, FRAME_CLOSE, FRAME_LENGTH, MSG_CLOSE, MSG_FIELDS_CAP, MSG_LINE,
    MSG_TE_TRAILERS, field_t, msg_span, msg_t, msg_value)
from fastmesh._core.http.token cimport (
    HEADER_CONTENT_LENGTH, HEADER_FORWARDED, HEADER_HOST, HEADER_TRANSFER_ENCODING, HEADER_UPGRADE,
    HEADER_X_FORWARDED_FOR, HEADER_X_FORWARDED_HOST, HEADER_X_FORWARDED_PROTO, HEADER_X_REQUEST_ID, METHOD_OPTIONS)
from fastmesh._core.io.reactor cimport IO_FLUSHING, io_bulk, io_rx
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new, block_put, block_t
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.inbox cimport inbox_add, inbox_attach, inbox_detach
from fastmesh._core.mem.span cimport span_ieq, span_of, span_t
from fastmesh._core.proxy.attempt cimport (
    attempt_on_answer, attempt_on_fault, attempt_on_pool, attempt_on_stale, attempt_on_timer)
from fastmesh._core.proxy.attempt_mark cimport (
    MARK_ROOM, attempt_mark_put, attempt_mark_take, attempt_mark_tell)
from fastmesh._core.proxy.deadline cimport DEADLINE_ROOM, deadline_put, deadline_take_fields, deadline_tell
from fastmesh._core.proxy.emit cimport put_bytes, put_request_id, put_span
from fastmesh._core.proxy.hedge cimport hedge_is_told
from fastmesh._core.proxy.mux cimport (
    FILTER_GO, FILTER_HELD, S_CHUNK_UP, S_CLOSE_UP, S_HOLD_OUT, S_TCP, S_TUNNEL, S_UPGRADE, S_UP_PAUSED, down_t,
    proxy_t, stream_t, up_ops_t)
from fastmesh._core.proxy.payload cimport payload_end, payload_put
from fastmesh._core.proxy.stream cimport (
    stream_on_answer_body, stream_on_answer_end, stream_on_interim, stream_on_upstream_drained, stream_wire_room)
from fastmesh._core.proxy.mux_h1_beside cimport mux_h1_beside_ops
from fastmesh._core.proxy.relay cimport relay_on_error_up, relay_on_ready, relay_t
from fastmesh._core.upstream.pool cimport pool_user_ops_t, up_t

cdef extern from "field_name.h" nogil:
    unsigned int field_name_id(const uint8_t *p, size_t n) noexcept

cdef enum:
    BULK = 65536              # a body longer than this is received in large blocks
    INTERIM_MAX = 16          # 1xx answers to one request
    LOOKALIKES = (1 << HEADER_X_FORWARDED_FOR | 1 << HEADER_X_FORWARDED_PROTO | 1 << HEADER_X_FORWARDED_HOST |
                  1 << HEADER_X_REQUEST_ID | 1 << HEADER_CONTENT_LENGTH | 1 << HEADER_TRANSFER_ENCODING)
    LOOKALIKE_MIN = 12        # of the lengths of their names
    LOOKALIKE_MAX = 17

# An upstream may send larger heads than a client: it is ours.
cdef h1_limits_t ANSWER_LIMITS
ANSWER_LIMITS.head_bytes = 65535
ANSWER_LIMITS.line_bytes = 65535
ANSWER_LIMITS.fields = MSG_FIELDS_CAP


# --- the request's head ----------------------------------------------------------------------------

cdef void _drop_field(msg_t *m, int which) noexcept nogil:
    cdef int i
    if m.at[which] < 0:
        return
    for i in range(m.n_fields):
        if m.fields[i].id == which and not m.fields[i].bits & (FIELD_DROP | FIELD_OURS):
            m.fields[i].bits |= FIELD_DROP


cdef void _drop_lookalikes(msg_t *m) noexcept nogil:
    """As the fields that are replaced, with "_" for "-": to CGI, and what came of it (WSGI, PHP), they are the same."""
    cdef uint8_t name[LOOKALIKE_MAX]
    cdef uint32_t i, k
    cdef field_t *f
    for i in range(m.n_fields):
        f = &m.fields[i]
        if f.id != 0 or f.bits & FIELD_OURS or not LOOKALIKE_MIN <= f.name_len <= LOOKALIKE_MAX:
            continue
        if memchr(m.base + f.name_off, c'_', f.name_len) is NULL:
            continue
        memcpy(name, m.base + f.name_off, f.name_len)
        for k in range(f.name_len):
            if name[k] == c'_':
                name[k] = c'-'
        if <uint32_t>LOOKALIKES >> field_name_id(name, f.name_len) & 1:
            f.bits |= FIELD_DROP


cdef void _take_forwarders(msg_t *m, bint is_trusted) noexcept nogil:
    cdef int i
    cdef field_t *f
    if m.at[HEADER_X_FORWARDED_FOR] < 0:
        return
    for i in range(m.n_fields):
        f = &m.fields[i]
        if f.id == HEADER_X_FORWARDED_FOR and not f.bits & FIELD_DROP:
            f.bits |= FIELD_DROP
            if is_trusted or f.bits & FIELD_OURS:
                f.bits |= FIELD_MERGED


cdef uint8_t *_put_forwarders(uint8_t *to, msg_t *m) noexcept nogil:
    """The values of all X-Forwarded-For fields in their order, with a comma behind each."""
    cdef int i
    cdef span_t value
    if m.at[HEADER_X_FORWARDED_FOR] < 0:
        return to
    for i in range(m.n_fields):
        if m.fields[i].bits & FIELD_MERGED:
            value = msg_value(m, i)
            if value.len != 0:
                to = put_span(to, value)
                to = put_bytes(to, b", ", 2)
    return to


cdef inline bint _is_believed(const msg_t *m, int which, bint is_trusted) noexcept nogil:
    """A field of that name stays: a trusted client or a filter has set it."""
    return m.at[which] >= 0 and (is_trusted or m.fields[m.at[which]].bits & FIELD_OURS)


cdef void _prepare(stream_t *s, msg_t *m, span_t path) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef down_t *d = s.down
    cdef span_t value
    cdef uint8_t *to
    cdef bint keep_id
    cdef bint is_marked
    # A list of forwarders is one field: what there is of it is joined with what is added here.
    _take_forwarders(m, d.is_trusted)
    if not d.is_trusted:
        _drop_field(m, HEADER_X_FORWARDED_PROTO)
        _drop_field(m, HEADER_X_FORWARDED_HOST)
        _drop_field(m, HEADER_X_REQUEST_ID)
        _drop_field(m, HEADER_FORWARDED)
        _drop_lookalikes(m)
    keep_id = _is_believed(m, HEADER_X_REQUEST_ID, d.is_trusted)
    if s.deadline_fields != 0 or s.listener.deadline_sends:
        deadline_take_fields(s, m)
    is_marked = (((s.retry is not NULL and s.retry.is_told) or (s.hedge is not NULL and hedge_is_told(s))) and
                 attempt_mark_take(s, m))
    to = stream_wire_room(s, m.len + path.len + s.listener.via.len + m.authority_len + m.target_len +
                          s.listener.deadline_name.len + DEADLINE_ROOM + MARK_ROOM + 512)
    # --- request line
    if path.ptr is NULL and not m.absolute and m.minor == 1 and not m.bits & MSG_LINE:
        to = put_bytes(to, <const char *>m.base + m.method_off, m.fields_off - m.method_off)
    else:
        to = put_span(to, msg_span(m, m.method_off, m.method_len))
        to = put_bytes(to, b" ", 1)
        if path.ptr is not NULL:
            to = put_span(to, path)
        elif m.path_len != 0:
            to = put_span(to, msg_span(m, m.path_off, m.path_len))
        elif m.method == METHOD_OPTIONS and not m.query_has:
            to = put_bytes(to, b"*", 1)      # RFC 9112 section 3.2.4: an absolute form without a path
        else:
            to = put_bytes(to, b"/", 1)
        if m.query_has:
            to = put_bytes(to, b"?", 1)
            to = put_span(to, msg_span(m, m.query_off, m.query_len))
        to = put_bytes(to, b" HTTP/1.1\r\n", 11)
    # --- host: of an absolute form the target's stands (RFC 9112 section 3.2.2)
    if m.absolute:
        _drop_field(m, HEADER_HOST)
        to = put_bytes(to, b"host: ", 6)
        to = put_span(to, msg_span(m, m.authority_off, m.authority_len))
        to = put_bytes(to, b"\r\n", 2)
    elif m.at[HEADER_HOST] < 0:
        to = put_bytes(to, b"host:\r\n", 7)
    to += h1_copy_fields(to, m)
    to = put_bytes(to, b"x-forwarded-for: ", 17)
    to = _put_forwarders(to, m)
    to = put_bytes(to, d.peer, d.peer_len)
    to = put_bytes(to, b"\r\n", 2)
    if not _is_believed(m, HEADER_X_FORWARDED_PROTO, d.is_trusted):
        to = put_bytes(to, b"x-forwarded-proto: http\r\n", 25)
    if not keep_id:
        to = put_bytes(to, b"x-request-id: ", 14)
        to = put_request_id(to, &p.rng)
        to = put_bytes(to, b"\r\n", 2)
    if s.deadline_fields != 0:
        to = deadline_put(s, to)
    if is_marked:
        to = attempt_mark_put(s, to)
    if m.bits & MSG_TE_TRAILERS:
        to = put_bytes(to, b"te: trailers\r\nconnection: te\r\n", 30)
    if m.framing == FRAME_CHUNKED:
        s.bits |= S_CHUNK_UP
        to = put_bytes(to, b"transfer-encoding: chunked\r\n", 28)
    if s.bits & S_UPGRADE:
        value = msg_value(m, m.at[HEADER_UPGRADE])
        to = put_bytes(to, b"connection: upgrade\r\nupgrade: ", 30)
        s.upgrade_off = <uint32_t>(to - s.wire)
        s.upgrade_len = value.len
        to = put_span(to, value)
        to = put_bytes(to, b"\r\n", 2)
    if s.listener.via.len != 0:
        to = put_bytes(to, b"via: 1.", 7)
        to[0] = 48 + m.minor
        to = put_bytes(to + 1, b" ", 1)
        to = put_span(to, s.listener.via)
        to = put_bytes(to, b"\r\n", 2)
    to = put_bytes(to, b"\r\n", 2)
    s.wire_len = <uint32_t>(to - s.wire)
    if s.snap.n_log_ops != 0 and (path.ptr is not NULL or m.bits & MSG_LINE):
        # The log tells what was asked for, not what became of it.
        s.path_off = s.wire_len
        if m.bits & MSG_LINE:
            to = put_span(to, msg_span(m, m.target_off, m.target_len))
        else:
            to = put_span(to, msg_span(m, m.path_off, m.path_len))
            if m.query_has:
                to = put_bytes(to, b"?", 1)
                to = put_span(to, msg_span(m, m.query_off, m.query_len))
        s.path_len = <uint32_t>(to - s.wire) - s.wire_len


cdef void _head(stream_t *s) noexcept nogil:
    if s.deadline_fields != 0:
        deadline_tell(s)
    if s.mark_at != 0:
        attempt_mark_tell(s, s.attempts - s.retried_reused)
    s.up.row.bytes_sent += s.wire_len
    s.up.x.ops.put(&s.up.x, s.wire, s.wire_len, s.wire_blk)


cdef bint _put(up_t *up, const uint8_t *p, uint32_t n, block_t *blk, bint chunked) noexcept nogil:
    up.row.bytes_sent += n
    payload_put(&up.x, p, n, blk, chunked)
    if up.x.io.out_bytes > up.x.io.out_mark:
        up.x.io.out_over = 1
        return True
    return False


cdef bint _body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    return _put(s.up, p, n, blk, (s.bits & S_CHUNK_UP) != 0)


cdef void _end(stream_t *s, msg_t *trailers) noexcept nogil:
    if s.bits & S_CHUNK_UP:
        payload_end(&s.up.x, trailers)


cdef void _again(stream_t *s, up_t *up, uint32_t attempt) noexcept nogil:
    # A copy: what is told in the head differs, and the one that is kept may still be on its way.
    cdef block_t *blk = block_new(&s.proxy.reactor.blocks, BLOCK_SMALL if s.wire_len <= BLOCK_SMALL else
                                  (BLOCK_LARGE if s.wire_len <= BLOCK_LARGE else s.wire_len))
    cdef uint8_t *kept = s.wire
    memcpy(blk.bytes, kept, s.wire_len)
    s.wire = blk.bytes
    if s.deadline_fields != 0:
        deadline_tell(s)
    if s.mark_at != 0:
        attempt_mark_tell(s, attempt)
    s.wire = kept
    up.row.bytes_sent += s.wire_len
    up.x.ops.put(&up.x, blk.bytes, s.wire_len, blk)
    block_put(blk)
    if s.replay_len != 0:
        _put(up, s.replay.bytes, s.replay_len, s.replay, (s.bits & S_CHUNK_UP) != 0)
    if s.bits & S_CHUNK_UP:
        payload_end(&up.x, NULL)


cdef void _read(stream_t *s, bint on) noexcept nogil:
    io_rx(&s.up.x.io, on)


# --- the answer ------------------------------------------------------------------------------------

cdef enum:
    STEP_ON = 0               # more may be done with what is left
    STEP_WAIT = 1             # the rest is the beginning of something
    STEP_OVER = 2             # the exchange is over: the connection is somebody else's, or closing
    STEP_TUNNEL = 3
    STEP_HOLD = 4             # a filter waits: up_ops.resume goes on


cdef span_t _next_word(const uint8_t *p, const uint8_t *end) noexcept nogil:
    """The first element of a list, absent when there is none."""
    cdef const uint8_t *start
    while p < end and (p[0] == c',' or p[0] == c' ' or p[0] == c'\t'):
        p += 1
    start = p
    while p < end and p[0] != c',' and p[0] != c' ' and p[0] != c'\t':
        p += 1
    return span_of(start if p != start else NULL, <uint32_t>(p - start))


cdef bint _was_offered(stream_t *s, span_t chosen) noexcept nogil:
    """The protocols of a 101 are among those that the client has named (RFC 9110 section 7.8)."""
    cdef const uint8_t *offered_end = s.wire + s.upgrade_off + s.upgrade_len
    cdef const uint8_t *end = chosen.ptr + chosen.len
    cdef span_t word = _next_word(chosen.ptr, end)
    cdef span_t offer
    if word.ptr is NULL:
        return False
    while word.ptr is not NULL:
        offer = _next_word(s.wire + s.upgrade_off, offered_end)
        while offer.ptr is not NULL and not span_ieq(offer, word):
            offer = _next_word(offer.ptr + offer.len, offered_end)
        if offer.ptr is NULL:
            return False
        word = _next_word(word.ptr + word.len, end)
    return True


cdef inline int _held(int how, int otherwise) noexcept nogil:
    return otherwise if how == FILTER_GO else STEP_HOLD if how == FILTER_HELD else STEP_OVER


cdef int _step(stream_t *s, up_t *up, const uint8_t *p, uint32_t n, uint32_t scanned, block_t *blk,
               uint32_t *used) noexcept nogil:
    """One event out of p[0:n)."""
    cdef proxy_t *x = s.proxy
    cdef msg_t *m = &x.answer
    cdef span_t payload
    cdef int rc
    used[0] = 0
    if not up.has_head:
        rc = h1_parse_response(m, p, n, scanned, &ANSWER_LIMITS, s.method)
        if rc == H1_AGAIN:
            return STEP_WAIT
        if rc < 0:
            attempt_on_fault(s, True, m.fault)
            return STEP_OVER
        used[0] = <uint32_t>rc
        if m.status == 408 and m.bits & MSG_CLOSE and up.is_reused and up.interims == 0 and attempt_on_stale(s):
            return STEP_OVER
        if m.status < 200 and m.status != 101:
            up.interims += 1
            if up.interims > INTERIM_MAX:
                attempt_on_fault(s, True, b"the upstream sent too many interim answers")
                return STEP_OVER
            stream_on_interim(s, m)
            return STEP_ON
        if m.status == 101 and not (s.bits & S_UPGRADE and _was_offered(s, msg_value(m, m.at[HEADER_UPGRADE]))):
            attempt_on_fault(s, True, b"the upstream switched to a protocol that nobody asked for")
            return STEP_OVER
        up.has_head = 1
        if m.status == 101:
            return _held(attempt_on_answer(s, m), STEP_TUNNEL)
        body_init(&up.body, m.framing, m.length)
        if (m.framing == FRAME_LENGTH and m.length > BULK) or m.framing == FRAME_CLOSE:
            io_bulk(&up.x.io, True)
        rc = _held(attempt_on_answer(s, m), STEP_ON)
        if rc != STEP_ON:
            return rc
    elif up.body.state == BODY_OPEN:
        rc = body_step(&up.body, p, n, &payload)
        if rc < 0:
            attempt_on_fault(s, True, b"the upstream broke the chunked coding")
            return STEP_OVER
        used[0] = <uint32_t>rc
        if payload.len != 0:
            rc = _held(stream_on_answer_body(s, payload.ptr, payload.len, blk), STEP_ON)
            if rc != STEP_ON:
                return rc
    else:
        rc = h1_parse_trailers(&x.trailers, p, n, scanned, &ANSWER_LIMITS)
        if rc == H1_AGAIN:
            return STEP_WAIT
        if rc < 0:
            attempt_on_fault(s, True, x.trailers.fault)
            return STEP_OVER
        used[0] = <uint32_t>rc
        if n > used[0]:
            s.bits |= S_CLOSE_UP
        stream_on_answer_end(s, &x.trailers)
        return STEP_OVER
    if up.body.state != BODY_DONE:
        return STEP_ON
    if n > used[0]:
        s.bits |= S_CLOSE_UP      # bytes after the end of the answer: not to be taken for the next one's
    stream_on_answer_end(s, NULL)
    return STEP_OVER


cdef void _on_bytes(up_t *up, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    cdef stream_t *s = <stream_t *>up.user
    cdef block_t *own = NULL
    cdef uint32_t scanned = up.inbox.scanned
    cdef int how = STEP_TUNNEL if s.bits & S_TUNNEL else STEP_ON
    if up.x.io.tx_total == up.tx_mark and not up.x.io.flags & IO_FLUSHING and how == STEP_ON:
        # Nothing of the request has left: this is no answer to it, but what an idle connection is told at its end.
        attempt_on_fault(s, not up.is_reused, b"the upstream answered before it was asked")
        return
    if up.inbox.len > 0 or how == STEP_TUNNEL or s.bits & S_HOLD_OUT:
        if inbox_add(&up.inbox, &s.proxy.reactor.blocks, p, n) != FM_OK:
            attempt_on_fault(s, True, b"the upstream sent more than it was asked for")
            return
        if how == STEP_TUNNEL or s.bits & S_HOLD_OUT:
            return
        # The inbox is emptied first: whoever looks at the connection meanwhile sees it without leftovers.
        own = inbox_detach(&up.inbox, &p, &n)
        blk = own
    _work(s, up, p, n, scanned, blk, own)


cdef int _work(stream_t *s, up_t *up, const uint8_t *p, uint32_t n, uint32_t scanned, block_t *blk,
               block_t *own) noexcept nogil:
    """Works off p[0:n); what cannot be used yet goes to the inbox. `own`: a reference to give back, or NULL."""
    cdef uint32_t used = 0
    cdef int how = STEP_ON
    while n > 0 and how == STEP_ON:
        how = _step(s, up, p, n, scanned, blk, &used)
        scanned = 0
        p += used
        n -= used
    if how != STEP_OVER and n > 0:
        if own is not NULL:
            inbox_attach(&up.inbox, own, p, n)
            own = NULL
        else:
            inbox_add(&up.inbox, &s.proxy.reactor.blocks, p, n)
        if how == STEP_WAIT:
            up.inbox.scanned = n
    if own is not NULL:
        block_put(own)
    return how


cdef void _resume(stream_t *s) noexcept nogil:
    cdef up_t *up = s.up
    cdef const uint8_t *p = NULL
    cdef uint32_t n = 0
    cdef uint32_t scanned = up.inbox.scanned
    cdef block_t *own
    cdef int how = STEP_ON
    if up.has_head and up.body.state == BODY_DONE:
        if up.inbox.len > 0:
            s.bits |= S_CLOSE_UP
        stream_on_answer_end(s, NULL)
        return
    if up.inbox.len > 0:
        own = inbox_detach(&up.inbox, &p, &n)
        how = _work(s, up, p, n, scanned, own, own)
    if how != STEP_ON and how != STEP_WAIT:
        return
    if s.up_ended == 1:
        _on_eof(up)
    elif s.up_ended == 2:
        _on_error(up, 0)
    elif not s.bits & S_UP_PAUSED:
        io_rx(&up.x.io, True)


cdef inline bint _in_head(up_t *up) noexcept nogil:
    """Part of a head is here: whatever ends the connection now, the answer was no HTTP."""
    return up.inbox.len != 0 and not up.has_head


cdef void _on_eof(up_t *up) noexcept nogil:
    cdef stream_t *s = <stream_t *>up.user
    if s.bits & S_TUNNEL:
        return
    if s.bits & S_HOLD_OUT:
        s.up_ended = 1
        return
    if up.has_head and up.body.framing == FRAME_CLOSE:
        up.body.state = BODY_DONE
        s.bits |= S_CLOSE_UP
        stream_on_answer_end(s, NULL)
        return
    attempt_on_fault(s, _in_head(up), b"the upstream closed the connection before its answer was complete")


cdef void _on_error(up_t *up, int err) noexcept nogil:
    if (<stream_t *>up.user).bits & S_HOLD_OUT:
        (<stream_t *>up.user).up_ended = 2
        return
    if (<stream_t *>up.user).bits & S_TCP and (<stream_t *>up.user).relay is not NULL:
        relay_on_error_up(<relay_t *>(<stream_t *>up.user).relay)
        return
    attempt_on_fault(<stream_t *>up.user, _in_head(up),
                     b"the connection to the upstream was reset before its answer was complete")


cdef void _on_drained(up_t *up) noexcept nogil:
    stream_on_upstream_drained(<stream_t *>up.user)


cdef void _on_watch(up_t *up, int events) noexcept nogil:
    cdef stream_t *s = <stream_t *>up.user
    if s.relay is not NULL:
        relay_on_ready(<relay_t *>s.relay, &up.x.io, events)


cdef pool_user_ops_t USER
USER.on_ready = attempt_on_pool
USER.on_bytes = _on_bytes
USER.on_eof = _on_eof
USER.on_error = _on_error
USER.on_drained = _on_drained
USER.on_watch = _on_watch

cdef up_ops_t H1_UP
H1_UP.name = b"http/1.1"
H1_UP.prepare = _prepare
H1_UP.head = _head
H1_UP.body = _body
H1_UP.end = _end
H1_UP.read = _read
H1_UP.resume = _resume
H1_UP.late = attempt_on_timer
H1_UP.user = &USER
H1_UP.again = _again
H1_UP.beside = mux_h1_beside_ops()


cdef const up_ops_t *mux_h1_up_ops() noexcept nogil:
    return &H1_UP
