"""See deadline.pxd.

`grpc-timeout` is 1 to 8 digits and a unit (gRPC over HTTP/2, "Requests"), zero included. The others are milliseconds,
as Envoy has them, where 0 is no limit. A value that is neither is passed on as it came, and counted.

Values are written in a fixed width, with spaces behind them, which are no part of a value (RFC 9110 section 5.5): the
head is made once, and what is left is told when it leaves, with each attempt.
"""
from libc.stdint cimport uint64_t
from libc.string cimport memset
from fastmesh._core.http.msg cimport FIELD_DROP, FIELD_OURS, field_t, msg_span, scan_is_fold
from fastmesh._core.mem.counter cimport G_BAD_DEADLINE
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.emit cimport put_bytes, put_number, put_span
from fastmesh._core.proxy.mux cimport S_REQUEST_DONE

cdef enum:
    KIND_NONE = 0
    KIND_GRPC = 1             # also as bits of stream_t.deadline_fields
    KIND_ENVOY = 2
    KIND_OWN = 4              # the name that the listener configures
    GRPC_LEN = 12
    ENVOY_LEN = 30
    GRPC_DIGITS = 8
    DIGITS = 10               # of milliseconds
    GRPC_MOST = 99999999

cdef uint64_t MS = 1000000
cdef uint64_t MOST_NS = 8640000000000000          # 100 days: what is longer is as good as none
cdef const char *GRPC = b"grpc-timeout"
cdef const char *ENVOY = b"x-envoy-expected-rq-timeout-ms"


cdef inline int _kind(const stream_t *s, const msg_t *m, const field_t *f) noexcept nogil:
    cdef const uint8_t *name = m.base + f.name_off
    if f.id != 0 or f.bits & FIELD_DROP:
        return KIND_NONE
    if f.name_len == GRPC_LEN and scan_is_fold(name, GRPC, GRPC_LEN):
        return KIND_GRPC
    if f.name_len == ENVOY_LEN and scan_is_fold(name, ENVOY, ENVOY_LEN):
        return KIND_ENVOY
    if f.name_len == s.listener.deadline_name.len and f.name_len != 0 and \
            scan_is_fold(name, <const char *>s.listener.deadline_name.ptr, f.name_len):
        return KIND_OWN
    return KIND_NONE


cdef inline uint64_t _unit_ns(uint8_t c) noexcept nogil:
    if c == c'm':
        return MS
    if c == c'S':
        return 1000 * MS
    if c == c'u':
        return 1000
    if c == c'n':
        return 1
    if c == c'M':
        return 60000 * MS
    return 3600000 * MS if c == c'H' else 0


cdef bint _value(int kind, span_t v, uint64_t *ns) noexcept nogil:
    cdef uint32_t i
    cdef uint32_t n = v.len
    cdef uint64_t unit = MS
    cdef uint64_t number = 0
    if kind == KIND_GRPC:
        if n == 0:
            return False
        n -= 1
        unit = _unit_ns(v.ptr[n])
    if n == 0 or n > <uint32_t>(GRPC_DIGITS if kind == KIND_GRPC else DIGITS) or unit == 0:
        return False
    for i in range(n):
        if not c'0' <= v.ptr[i] <= c'9':
            return False
        number = number * 10 + (v.ptr[i] - 48)
    ns[0] = MOST_NS if number > MOST_NS // unit else number * unit
    return True


cdef void deadline_read(stream_t *s, const msg_t *m) noexcept nogil:
    cdef uint32_t i
    cdef int kind
    cdef uint64_t ns = 0
    cdef const field_t *f
    for i in range(m.n_fields):
        f = &m.fields[i]
        kind = _kind(s, m, f)
        if kind == KIND_NONE:
            continue
        if not _value(kind, msg_span(m, f.value_off, f.value_len), &ns):
            s.proxy.stats.globals[G_BAD_DEADLINE] += 1
            continue
        s.deadline_fields |= <uint8_t>kind
        if ns == 0 and kind != KIND_GRPC:
            continue
        if s.deadline_ns == 0 or s.start_ns + ns < s.deadline_ns:
            s.deadline_ns = s.start_ns + ns


cdef inline bint _is_bounded(const stream_t *s) noexcept nogil:
    return s.deadline_ns != 0 or s.timeout_ns != 0


cdef void deadline_take_fields(stream_t *s, msg_t *m) noexcept nogil:
    cdef uint32_t i
    cdef int kind
    cdef uint64_t ns = 0
    cdef field_t *f
    if not _is_bounded(s):
        # What came says that there is no limit, and there is none here.
        s.deadline_fields = 0
        return
    if s.listener.deadline_sends:
        s.deadline_fields |= KIND_ENVOY
    if s.deadline_fields == 0:
        return
    for i in range(m.n_fields):
        f = &m.fields[i]
        kind = _kind(s, m, f)
        if not s.deadline_fields & kind:
            continue
        if f.bits & FIELD_OURS:
            # A filter knows better.
            s.deadline_fields &= <uint8_t>~kind
        elif _value(kind, msg_span(m, f.value_off, f.value_len), &ns) or kind == KIND_ENVOY:
            f.bits |= FIELD_DROP


cdef uint8_t *deadline_put(stream_t *s, uint8_t *to) noexcept nogil:
    if s.deadline_fields & KIND_ENVOY:
        to = put_bytes(to, ENVOY, ENVOY_LEN)
        to = put_bytes(to, b": ", 2)
        s.deadline_at[0] = <uint32_t>(to - s.wire)
        to = put_bytes(to, b"          \r\n", DIGITS + 2)
    if s.deadline_fields & KIND_GRPC:
        to = put_bytes(to, GRPC, GRPC_LEN)
        to = put_bytes(to, b": ", 2)
        s.deadline_at[1] = <uint32_t>(to - s.wire)
        to = put_bytes(to, b"         \r\n", GRPC_DIGITS + 3)
    if s.deadline_fields & KIND_OWN:
        to = put_span(to, s.listener.deadline_name)
        to = put_bytes(to, b": ", 2)
        s.deadline_at[2] = <uint32_t>(to - s.wire)
        to = put_bytes(to, b"          \r\n", DIGITS + 2)
    return to


cdef uint64_t deadline_left(const stream_t *s) noexcept nogil:
    cdef uint64_t now = s.proxy.reactor.now_ns
    # The request's own time begins when all of it is here.
    cdef uint64_t until = s.until_ns if s.bits & S_REQUEST_DONE else now + s.timeout_ns if s.timeout_ns != 0 else 0
    if s.deadline_ns != 0 and (until == 0 or s.deadline_ns < until):
        until = s.deadline_ns
    if until == 0:
        return DEADLINE_NONE
    return until - now if until > now else 0


cdef uint64_t _left_ms(const stream_t *s) noexcept nogil:
    cdef uint64_t left = deadline_left(s)
    if left >= MOST_NS:
        return MOST_NS // MS
    # Never 0, which is read as no limit.
    return left // MS if left >= MS else 1


cdef void _tell(stream_t *s, uint32_t at, uint64_t value, uint32_t width, const char *unit) noexcept nogil:
    cdef uint8_t *to
    if at == 0:
        return
    to = s.wire + at
    memset(to, c' ', width)
    to = put_number(to, value)
    if unit is not NULL:
        to[0] = <uint8_t>unit[0]


cdef void deadline_tell(stream_t *s) noexcept nogil:
    cdef uint64_t ms = _left_ms(s)
    _tell(s, s.deadline_at[0], ms, DIGITS, NULL)
    _tell(s, s.deadline_at[2], ms, DIGITS, NULL)
    if ms <= GRPC_MOST:
        _tell(s, s.deadline_at[1], ms, GRPC_DIGITS + 1, b"m")
    else:
        _tell(s, s.deadline_at[1], ms // 1000, GRPC_DIGITS + 1, b"S")
