"""What of an exchange travels to a filter host: written as msgpack straight from what the proxy has parsed.

No Python object is made of a field, a path or a name on its way. Values of header fields are str where they are ASCII,
else bytes: the host decodes them as the views do, and has them raw as well.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
from fastmesh._core.filter.headers cimport Headers
from fastmesh._core.filter.retry_rule cimport retry_of_route
from fastmesh._core.filter.view cimport Request, Response
from fastmesh._core.filter.headers import ViewClosed
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport FIELD_DROP, field_t, msg_span, msg_t, msg_value
from fastmesh._core.http.token cimport HEADER_X_REQUEST_ID
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.mem.raw cimport raw_take
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.proxy.mux cimport down_t, stream_t
from fastmesh._core.resil.retry cimport RETRY_ATTEMPTS_MOST
from fastmesh._core.sys.socket cimport AF_UNIX

import msgpack

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object s, Py_ssize_t *n) except NULL

cdef enum:
    FIELD_OURS = 2
    ROOM = 131072             # bytes: more than any message may have
    # msgpack
    NIL = 0xC0
    NO = 0xC2
    YES = 0xC3
    BIN8 = 0xC4
    BIN16 = 0xC5
    BIN32 = 0xC6
    FLOAT64 = 0xCB
    UINT8 = 0xCC
    UINT16 = 0xCD
    UINT32 = 0xCE
    UINT64 = 0xCF
    STR8 = 0xD9
    STR16 = 0xDA
    STR32 = 0xDB
    ARRAY16 = 0xDC

cdef object pack = msgpack.Packer(autoreset=True).pack
# The message that is being written. A worker has one thread, and writes one at a time.
cdef uint8_t *room = NULL
cdef uint32_t used = 0
cdef bint is_full = False


cdef int _begin() except -1:
    global room, used, is_full
    if room is NULL:
        room = <uint8_t *>raw_take(ROOM)
    used = 0
    is_full = False
    return 0


cdef inline uint8_t *_take(uint32_t n) noexcept nogil:
    """Room for so many bytes; NULL when there is no more."""
    global used, is_full
    cdef uint8_t *at = room + used
    if is_full or n > ROOM - used:
        is_full = True
        return NULL
    used += n
    return at


cdef inline void _byte(uint8_t value) noexcept nogil:
    cdef uint8_t *to = _take(1)
    if to is not NULL:
        to[0] = value


cdef inline void _big(uint8_t kind, uint64_t value, uint32_t n) noexcept nogil:
    """A kind, and a number of so many bytes, the highest first."""
    cdef uint8_t *to = _take(1 + n)
    cdef uint32_t i
    if to is NULL:
        return
    to[0] = kind
    for i in range(n):
        to[n - i] = <uint8_t>(value >> 8 * i)


cdef void _uint(uint64_t value) noexcept nogil:
    if value < 128:
        _byte(<uint8_t>value)
    elif value < 0x100:
        _big(UINT8, value, 1)
    elif value < 0x10000:
        _big(UINT16, value, 2)
    elif value >> 32 == 0:
        _big(UINT32, value, 4)
    else:
        _big(UINT64, value, 8)


cdef void _double(double value) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    _big(FLOAT64, bits, 8)


cdef inline void _bytes(const uint8_t *p, uint32_t n) noexcept nogil:
    cdef uint8_t *to = _take(n)
    if to is not NULL and n:
        memcpy(to, p, n)


cdef inline void _str_head(uint32_t n) noexcept nogil:
    if n < 32:
        _byte(<uint8_t>(0xA0 | n))
    elif n < 0x100:
        _big(STR8, n, 1)
    elif n < 0x10000:
        _big(STR16, n, 2)
    else:
        _big(STR32, n, 4)


cdef inline void _str(const uint8_t *p, uint32_t n) noexcept nogil:
    """UTF-8."""
    _str_head(n)
    _bytes(p, n)


cdef void _bin(const uint8_t *p, uint32_t n) noexcept nogil:
    if n < 0x100:
        _big(BIN8, n, 1)
    elif n < 0x10000:
        _big(BIN16, n, 2)
    else:
        _big(BIN32, n, 4)
    _bytes(p, n)


cdef inline bint _is_ascii(const uint8_t *p, uint32_t n) noexcept nogil:
    cdef uint32_t i
    cdef uint8_t seen = 0
    for i in range(n):
        seen |= p[i]
    return seen < 128


cdef void _latin(span_t s) noexcept nogil:
    """Text as the views read it: each byte is a code point."""
    cdef uint32_t i, high = 0
    cdef uint8_t *to
    if _is_ascii(s.ptr, s.len):
        _str(s.ptr, s.len)
        return
    for i in range(s.len):
        high += s.ptr[i] >> 7
    _str_head(s.len + high)
    to = _take(s.len + high)
    if to is NULL:
        return
    for i in range(s.len):
        if s.ptr[i] < 128:
            to[0] = s.ptr[i]
            to += 1
        else:
            to[0] = 0xC0 | s.ptr[i] >> 6
            to[1] = 0x80 | (s.ptr[i] & 0x3F)
            to += 2


cdef int _text(str value) except -1:
    cdef Py_ssize_t n = 0
    cdef const char *p = PyUnicode_AsUTF8AndSize(value, &n)
    _str(<const uint8_t *>p, <uint32_t>n)
    return 0


cdef inline void _value(const uint8_t *p, uint32_t n) noexcept nogil:
    if _is_ascii(p, n):
        _str(p, n)
    else:
        _bin(p, n)


cdef inline void _field(const msg_t *m, const field_t *f) noexcept nogil:
    _str(m.base + f.name_off, f.name_len)
    _value(m.base + f.value_off, f.value_len)


cdef int _fields(msg_t *m, tuple needs) except -1:
    """Names and values in turn: all, or those of these names (bytes, lower case)."""
    cdef uint32_t at = used
    cdef uint32_t n = 0
    cdef int i
    _big(ARRAY16, 0, 2)
    if needs is None:
        for i in range(m.n_fields):
            if not m.fields[i].bits & FIELD_DROP:
                _field(m, &m.fields[i])
                n += 2
    else:
        for name in needs:
            i = head_find(m, <const uint8_t *><char *>(<bytes>name), <uint32_t>len(<bytes>name), 0)
            while i >= 0:
                _field(m, &m.fields[i])
                n += 2
                i = head_find(m, <const uint8_t *><char *>(<bytes>name), <uint32_t>len(<bytes>name), i + 1)
    if not is_full:
        room[at + 1] = <uint8_t>(n >> 8)
        room[at + 2] = <uint8_t>n
    return 0


cdef int _head(Request r, tuple needs) except -1:
    """The request's head, or nil where there is none to look at (TCP). The target is nil where path and query say
    it."""
    cdef msg_t *m
    cdef span_t raw, query, id
    cdef const char *p
    cdef Py_ssize_t n = 0
    cdef str path
    cdef int at
    cdef down_t *d = r.s.down
    try:
        m = r.look()
    except ViewClosed:
        _byte(NIL)
        return 0
    _byte(0x9C)
    _latin(msg_span(m, m.method_off, m.method_len))
    raw = msg_span(m, m.path_off, m.path_len)
    query = msg_span(m, m.query_off, m.query_len) if m.query_has else span_of(NULL, 0)
    path = r.path
    p = PyUnicode_AsUTF8AndSize(path, &n)
    _str(<const uint8_t *>p, <uint32_t>n)
    _latin(query)
    if m.query_has == (query.len != 0) and raw.len == <uint32_t>n and memcmp(raw.ptr, p, raw.len) == 0:
        _byte(NIL)
    else:
        _text(r.target)
    _latin(msg_span(m, m.authority_off, m.authority_len))
    _text(r.scheme)
    _str(b"1.1" if m.minor else b"1.0", 3)
    at = m.at[HEADER_X_REQUEST_ID]
    # As Request.id: where it is not known yet, the host makes one and sends it as an edit.
    if at >= 0 and (d.is_trusted or r.is_sent or m.fields[at].bits & FIELD_OURS):
        id = msg_value(m, at)
        _value(id.ptr, id.len)
    else:
        _byte(NIL)
    length = r.content_length
    if length is None:
        _byte(NIL)
    else:
        _uint(length)
    _byte(YES if r.is_upgrade else NO)
    _fields(m, needs)
    # What there is of the connection.
    _byte(0x94)
    if d.addr.family == AF_UNIX:
        _str(b"unix", 4)
        _uint(0)
    else:
        _str(<const uint8_t *>d.peer, d.peer_len)
        _uint(d.addr.port)
    _str(d.listener.name.ptr, d.listener.name.len)
    _uint(d.id)
    return 0


cdef int _facts(Request r) except -1:
    """What may be another in each phase."""
    cdef stream_t *s = r.s
    _byte(0x99)
    if s.route is NULL:
        _byte(NIL)
    else:
        _str(s.route.name.ptr, s.route.name.len)
    if s.cluster is NULL:
        _byte(NIL)
    else:
        _str(s.cluster.name.ptr, s.cluster.name.len)
    if s.timeout_ns:
        _double(s.timeout_ns / 1e9)
    else:
        _byte(NIL)
    if s.endpoint is not NULL:
        _latin(s.endpoint.text)
    elif s.n_tried:
        _latin(s.tried[s.n_tried - 1].text)
    else:
        _byte(NIL)
    _uint(s.attempts)
    _double((reactor_clock(s.proxy.reactor) - s.start_ns) / 1e9)
    if r._labels is None:
        _byte(NIL)
    else:
        _packed(pack(r._labels.words))
    _rule(r)
    _subset(r)
    return 0


cdef int _subset(Request r) except -1:
    cdef stream_t *s = r.s
    if s.cluster is NULL or (s.cluster.subsets is NULL and s.cluster.whole is NULL):
        _byte(NIL)
        return 0
    try:
        _packed(pack(r.subset))
    except ViewClosed:
        _byte(NIL)
    return 0


cdef int _rule(Request r) except -1:
    """That of the request, nil for a single attempt, or how many endpoints its cluster's settings give it."""
    cdef stream_t *s = r.s
    if s.retry is not NULL:
        if s.retry.is_route:
            _packed(pack(retry_of_route(s.retry)._told()))
        elif r._retry is None:
            _byte(NIL)
        else:
            _packed(pack(r._retry._told()))
    elif s.cluster is NULL:
        _byte(NIL)
    else:
        _uint(min(s.cluster.max_connect_attempts, <uint32_t>RETRY_ATTEMPTS_MOST))
    return 0


cdef inline void _packed(bytes packed) noexcept:
    _bytes(<const uint8_t *><char *>packed, <uint32_t>len(packed))


cdef int _answer(Response given, tuple needs) except -1:
    """An answer's head, and its body where a filter or the proxy gave it."""
    cdef msg_t *m = given.look()
    _byte(0x94)
    _uint(given.code)
    _byte(YES if given.is_own else NO)
    if given.content is None:
        _byte(NIL)
    else:
        _bin(<const uint8_t *><char *>given.content, <uint32_t>len(given.content))
    _fields(m, needs)
    return 0


cdef bytes _made():
    return None if is_full else <bytes>(<const char *>room)[:used]


def call_of(int kind, uint64_t call, uint64_t exchange, int place, int phase, Request r not None, bint has_head,
            Response given, tuple needs, object argument):
    """A call of a phase, as it travels; None when it is larger than any message may be.

    `has_head`: the host has to be told the request's head. `needs`: of the header fields, only these.
    """
    r.alive()
    _begin()
    _byte(0x99)
    _uint(<uint64_t>kind)
    _uint(call)
    _uint(exchange)
    _uint(<uint64_t>place)
    _uint(<uint64_t>phase)
    if has_head:
        _head(r, needs)
    else:
        _byte(NIL)
    _facts(r)
    if given is None:
        _byte(NIL)
    else:
        _answer(given, needs)
    if argument is None:
        _byte(NIL)
    else:
        _packed(pack(argument))
    return _made()


def answer_of(int kind, uint64_t number, int status, Headers headers not None, bytes piece not None, bint is_all):
    """The answer to what a host has asked of the mesh, as it travels; None when it is too large."""
    _begin()
    _byte(0x96)
    _uint(<uint64_t>kind)
    _uint(number)
    _uint(<uint64_t>status)
    _fields(headers.owner.look(), None)
    _bin(<const uint8_t *><char *>piece, <uint32_t>len(piece))
    _byte(YES if is_all else NO)
    return _made()


def is_sent(Request r not None):
    """The head is on its way: nothing of it changes any more."""
    return r.is_sent
