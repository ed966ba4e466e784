"""See access_log.pxd."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, strlen
from fastmesh._core.http.h1 cimport h1_limits_t, h1_parse_request, h1_parse_response
from fastmesh._core.http.msg cimport MSG_FIELDS_ROOM, msg_span, msg_t, msg_value
from fastmesh._core.http.token cimport HEADER_USER_AGENT, HEADER_X_FORWARDED_FOR, HEADER_X_REQUEST_ID
from fastmesh._core.mem.counter cimport G_LOG_DROPPED, G_LOG_LINES, STATS_LOG_BYTES, log_ring_t
from fastmesh._core.mem.label cimport label_find, label_next
from fastmesh._core.mem.raw cimport raw_give, raw_take
from fastmesh._core.mem.span cimport span_ieq, span_of, span_t
from fastmesh._core.net.addr cimport addr_print
from fastmesh._core.proxy.degraded cimport degraded_text
from fastmesh._core.proxy.emit cimport put_number
from fastmesh._core.proxy.limit_fields cimport LIMIT_NAMES, limit_names
from fastmesh._core.proxy.mux cimport S_HTTP10, S_LATE_LABELS, S_TCP
from fastmesh._core.proxy.wall cimport proxy_stamp
from fastmesh._core.snapshot.snapshot cimport snapshot_get, snapshot_put

cdef extern from *:
    """
    static const char *const fm_flag_names[29] = {"LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI",
        "RL", "UAEX", "RLSE", "DC", "URX", "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF",
        "DR", "FB"};
    #define fm_store_release(at, v) __atomic_store_n((at), (v), __ATOMIC_RELEASE)
    #define fm_load_acquire(at) __atomic_load_n((at), __ATOMIC_ACQUIRE)
    """
    const char *const fm_flag_names[29]
    void fm_store_release(unsigned long *at, unsigned long v) nogil
    unsigned long fm_load_acquire(unsigned long *at) nogil

cdef enum:
    LINE_MAX = 65536          # bytes after which values are written as absent: a JSON line stays an object
    VALUE_MAX = 8192          # bytes of one value that are written; the rest is cut
    TEXT_MAX = 65536          # bytes of a format's own text, which is written whatever the values are
    ABSENT_MAX = 4 * 4096     # of operators that are written as absent
    LABELS_BYTES = 6 * VALUE_MAX        # more than all labels of an exchange take, however they are written

cdef h1_limits_t ANY
ANY.head_bytes = 65535
ANY.line_bytes = 65535
ANY.fields = MSG_FIELDS_ROOM

# One line at a time: a worker has one thread.
cdef uint8_t line[LINE_MAX + 6 * VALUE_MAX + TEXT_MAX + ABSENT_MAX + 64]


cdef inline uint8_t *_hex2(uint8_t *to, uint8_t c) noexcept nogil:
    cdef uint8_t high = c >> 4
    cdef uint8_t low = c & 15
    to[0] = 48 + high if high < 10 else 87 + high
    to[1] = 48 + low if low < 10 else 87 + low
    return to + 2


cdef uint8_t *_value(uint8_t *to, span_t v, bint quote) noexcept nogil:
    """A JSON string with its quotes, or text in which nothing can end the line or the field."""
    cdef uint32_t i
    cdef uint32_t n = v.len if v.len < VALUE_MAX else VALUE_MAX
    cdef uint8_t c
    if v.ptr is NULL or (v.len == 0 and not quote):
        if quote:
            memcpy(to, b"null", 4)
            return to + 4
        to[0] = 45
        return to + 1
    if quote:
        to[0] = 34
        to += 1
    for i in range(n):
        c = v.ptr[i]
        if c == 34 or c == 92:
            to[0] = 92
            to[1] = c
            to += 2
        elif 32 <= c < 127:
            to[0] = c
            to += 1
        elif quote:
            # Bytes beyond ASCII as the code points of Latin-1: always valid JSON, whatever the client sent.
            memcpy(to, b"\\u00", 4)
            to = _hex2(to + 4, c)
        else:
            memcpy(to, b"\\x", 2)
            to = _hex2(to + 2, c)
    if quote:
        to[0] = 34
        to += 1
    return to


cdef span_t _field(const msg_t *m, span_t name) noexcept nogil:
    cdef uint32_t i
    for i in range(m.n_fields):
        if span_ieq(msg_span(m, m.fields[i].name_off, m.fields[i].name_len), name):
            return msg_value(m, <int>i)
    return span_of(NULL, 0)


cdef span_t flags_text(uint32_t flags, char *room) noexcept nogil:
    cdef uint32_t n = 0
    cdef int i
    cdef size_t k
    for i in range(29):
        if flags >> i & 1:
            if n:
                room[n] = 44
                n += 1
            k = strlen(fm_flag_names[i])
            memcpy(room + n, fm_flag_names[i], k)
            n += <uint32_t>k
    if n == 0:
        room[0] = 45
        n = 1
    return span_of(<const uint8_t *>room, n)


cdef uint8_t *_labels(uint8_t *to, const uint8_t *labels, uint32_t labels_len, bint quote) noexcept nogil:
    """At most 16 labels of 64 and 256 bytes."""
    cdef const uint8_t *p = labels
    cdef span_t name, value
    cdef bint first = True
    if labels_len == 0:
        return _value(to, span_of(NULL, 0), quote)
    if quote:
        to[0] = c'{'
        to += 1
    while p < labels + labels_len:
        p = label_next(p, &name, &value)
        if not first:
            to[0] = c','
            to += 1
        first = False
        to = _value(to, name, quote)
        to[0] = c':' if quote else c'='
        to = _value(to + 1, value, quote)
    if quote:
        to[0] = c'}'
        to += 1
    return to


cdef void access_log_put(stream_t *s, uint64_t now_ns) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef const log_op_t *op
    cdef msg_t *m = NULL
    cdef msg_t *a = NULL
    cdef late_mark_t marks[16]
    cdef uint32_t n_marks = 0
    cdef uint8_t *to = line
    cdef uint32_t i, n
    cdef uint32_t text = TEXT_MAX
    cdef span_t v
    cdef char room[LIMIT_NAMES]
    cdef uint64_t number
    cdef bint is_number
    if s.wire_len != 0 and h1_parse_request(&p.logged, s.wire, s.wire_len, 0, &ANY) > 0:
        m = &p.logged
    for i in range(s.snap.n_log_ops):
        op = &s.snap.log_ops[i]
        v = span_of(NULL, 0)
        if op.field == LOG_LITERAL:
            n = op.text.len if op.text.len < text else text
            memcpy(to, op.text.ptr, n)
            to += n
            text -= n
            continue
        if to - line > LINE_MAX:
            to = _value(to, v, op.quote)
            continue
        if s.bits & S_LATE_LABELS and (op.field == LOG_LABEL or op.field == LOG_LABELS) and n_marks < LATE_MOST:
            marks[n_marks].at = <uint32_t>(to - line)
            marks[n_marks].op = op
            n_marks += 1
            continue
        number = 0
        is_number = False
        if op.field == LOG_START_TIME:
            v = span_of(<uint8_t *>room, <uint32_t>proxy_stamp(p, s.start_ns, <uint8_t *>room))
        elif op.field == LOG_METHOD:
            if m is not NULL:
                v = msg_span(m, m.method_off, m.method_len)
        elif op.field == LOG_PATH:
            if s.path_len != 0:
                v = span_of(s.wire + s.path_off, s.path_len)
            elif m is not NULL:
                v = msg_span(m, m.target_off, m.target_len)
        elif op.field == LOG_PROTOCOL:
            if s.bits & S_TCP:
                v = span_of(b"TCP", 3)
            elif m is not NULL:
                v = span_of(b"HTTP/1.0", 8) if s.bits & S_HTTP10 else span_of(b"HTTP/1.1", 8)
        elif op.field == LOG_RESPONSE_CODE:
            number = s.status
            is_number = True
        elif op.field == LOG_RESPONSE_FLAGS:
            v = flags_text(s.flags, room)
        elif op.field == LOG_RESPONSE_CODE_DETAILS:
            if s.details is not NULL:
                v = span_of(<const uint8_t *>s.details, <uint32_t>strlen(s.details))
            elif not s.bits & S_TCP:
                v = span_of(b"via_upstream", 12)
        elif op.field == LOG_BYTES_RECEIVED:
            number = s.received - s.head_bytes
            is_number = True
        elif op.field == LOG_BYTES_SENT:
            number = s.sent
            is_number = True
        elif op.field == LOG_DURATION:
            number = (now_ns - s.start_ns) // 1000000
            is_number = True
        elif op.field == LOG_UPSTREAM_SERVICE_TIME:
            if s.first_ns > s.sent_ns and s.sent_ns != 0:
                number = (s.first_ns - s.sent_ns) // 1000000
                is_number = True
            elif s.first_ns != 0:
                is_number = True
        elif op.field == LOG_REQUEST_HEADER:
            if m is not NULL:
                v = _field(m, op.text)
        elif op.field == LOG_RESPONSE_HEADER:
            if s.answer is not NULL:
                if a is NULL:
                    # The same scratch: request values of earlier fields are already written out.
                    if h1_parse_response(&p.answer, s.answer.bytes, s.answer_len, 0, &ANY, s.method) > 0:
                        a = &p.answer
                if a is not NULL:
                    v = _field(a, op.text)
        elif op.field == LOG_AUTHORITY:
            if m is not NULL and m.authority_len != 0:
                v = msg_span(m, m.authority_off, m.authority_len)
        elif op.field == LOG_UPSTREAM_HOST:
            if s.endpoint is not NULL:
                v = s.endpoint.text
            elif s.n_tried != 0:
                v = s.tried[s.n_tried - 1].text
        elif op.field == LOG_UPSTREAM_CLUSTER:
            if s.cluster is not NULL:
                v = s.cluster.name
        elif op.field == LOG_ROUTE_NAME:
            if s.route is not NULL and s.route.name.len != 0:
                v = s.route.name
        elif op.field == LOG_LISTENER:
            v = s.listener.name
        elif op.field == LOG_DOWNSTREAM_REMOTE_ADDRESS:
            v = span_of(<uint8_t *>room, addr_print(&s.down.addr, room))
        elif op.field == LOG_CLIENT:
            v = span_of(<const uint8_t *>s.down.peer, s.down.peer_len)
        elif op.field == LOG_REQUEST_ID:
            if m is not NULL:
                v = msg_value(m, m.at[HEADER_X_REQUEST_ID])
        elif op.field == LOG_CONNECTION_ID:
            number = s.down.id
            is_number = True
        elif op.field == LOG_ATTEMPTS:
            number = s.attempts + s.fall_attempts
            is_number = True
        elif op.field == LOG_PROXY_TIME:
            number = s.proxy_ns // 1000
            is_number = True
        elif op.field == LOG_X_FORWARDED_FOR:
            if m is not NULL:
                v = msg_value(m, m.at[HEADER_X_FORWARDED_FOR])
        elif op.field == LOG_USER_AGENT:
            if m is not NULL:
                v = msg_value(m, m.at[HEADER_USER_AGENT])
        elif op.field == LOG_LABEL:
            v = label_find(s.labels, s.labels_len, op.text)
        elif op.field == LOG_RATE_LIMITED_BY:
            if s.limited != 0:
                v = limit_names(s, <uint8_t *>room)
        elif op.field == LOG_DEGRADED:
            v = degraded_text(s, room)
        elif op.field == LOG_LABELS:
            to = _labels(to, s.labels, s.labels_len, op.quote)
            continue
        if is_number:
            to = put_number(to, number)
        else:
            to = _value(to, v, op.quote)
    to[0] = 10
    n = <uint32_t>(to + 1 - line)
    if n_marks:
        s.late = _hold(s, n, marks, n_marks)
    else:
        _put(p, n)


cdef late_line_t *_hold(stream_t *s, uint32_t n, const late_mark_t *marks, uint32_t n_marks) noexcept nogil:
    cdef late_line_t *late = <late_line_t *>raw_take(sizeof(late_line_t) + n)
    late.proxy = s.proxy
    late.snap = snapshot_get(s.snap)
    late.n = n
    late.n_marks = n_marks
    memcpy(late.marks, marks, n_marks * sizeof(late_mark_t))
    late.bytes = <uint8_t *>(late + 1)
    memcpy(late.bytes, line, n)
    return late


cdef void access_log_put_late(late_line_t *late, const uint8_t *labels, uint32_t labels_len) noexcept nogil:
    cdef const log_op_t *op
    cdef uint8_t *to = line
    cdef uint32_t done = 0
    cdef uint32_t i
    for i in range(late.n_marks):
        op = late.marks[i].op
        memcpy(to, late.bytes + done, late.marks[i].at - done)
        to += late.marks[i].at - done
        done = late.marks[i].at
        if (to - line) + (late.n - done) + LABELS_BYTES + ABSENT_MAX > <int>sizeof(line):
            to = _value(to, span_of(NULL, 0), op.quote)
        elif op.field == LOG_LABELS:
            to = _labels(to, labels, labels_len, op.quote)
        else:
            to = _value(to, label_find(labels, labels_len, op.text), op.quote)
    memcpy(to, late.bytes + done, late.n - done)
    _put(late.proxy, <uint32_t>(to - line) + late.n - done)
    snapshot_put(late.snap)
    raw_give(late)


cdef void _put(proxy_t *p, uint32_t n) noexcept nogil:
    """The first bytes of `line`, into the ring."""
    cdef log_ring_t *ring = &p.stats.log
    cdef uint64_t head = ring.head
    cdef uint32_t at, part
    if head + n - fm_load_acquire(<unsigned long *>&ring.tail) > STATS_LOG_BYTES:
        ring.dropped += 1
        p.stats.globals[G_LOG_DROPPED] += 1
        return
    at = <uint32_t>(head & (STATS_LOG_BYTES - 1))
    part = STATS_LOG_BYTES - at
    if part >= n:
        memcpy(ring.bytes + at, line, n)
    else:
        memcpy(ring.bytes + at, line, part)
        memcpy(ring.bytes, line + part, n - part)
    # The bytes first, then the mark that they are there.
    fm_store_release(<unsigned long *>&ring.head, head + n)
    p.stats.globals[G_LOG_LINES] += 1
