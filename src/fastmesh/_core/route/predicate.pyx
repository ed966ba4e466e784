"""See predicate.pxd."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memchr, memcmp
from fastmesh._core.http.msg cimport FIELD_DROP, field_t, msg_span, msg_t, msg_value
from fastmesh._core.http.token cimport (
    HEADER_CONNECTION, HEADER_HTTP2_SETTINGS, HEADER_KEEP_ALIVE, HEADER_PROXY_CONNECTION, HEADER_TE, HEADER_TRAILER,
    HEADER_TRANSFER_ENCODING, HEADER_UPGRADE)
from fastmesh._core.mem.span cimport byte_lower, span_eq, span_ieq, span_of, span_t
from fastmesh._core.route.pattern cimport pattern_takes

cdef extern from "<string.h>" nogil:
    void *memmem(const void *text, size_t n, const void *part, size_t m) noexcept

cdef enum:
    DIGITS_MAX = 18
    HEAD_MAX = 65536
    OF_HOP = (1 << HEADER_CONNECTION | 1 << HEADER_KEEP_ALIVE | 1 << HEADER_PROXY_CONNECTION | 1 << HEADER_TE |
              1 << HEADER_TRAILER | 1 << HEADER_TRANSFER_ENCODING | 1 << HEADER_UPGRADE | 1 << HEADER_HTTP2_SETTINGS)

# What a request says under one name.
ctypedef struct seen_t:
    bint fits                 # one value is taken
    bint fails                # one is not

cdef uint8_t room[HEAD_MAX]   # a value without its percent escapes; nothing outlives the call


cdef bint number_of(span_t s, int64_t *n) noexcept nogil:
    cdef bint minus = s.len > 0 and s.ptr[0] == c'-'
    cdef uint32_t i = 1 if minus else 0
    if s.len == i or s.len - i > DIGITS_MAX:
        return False
    n[0] = 0
    while i < s.len:
        if not c'0' <= s.ptr[i] <= c'9':
            return False
        n[0] = n[0] * 10 + (s.ptr[i] - c'0')
        i += 1
    if minus:
        n[0] = -n[0]
    return True


cdef bint value_takes(const predicate_t *v, span_t value) noexcept nogil:
    cdef int64_t number = 0
    if v.kind == VALUE_EXACT:
        return span_eq(v.text, value)
    if v.kind == VALUE_PREFIX:
        return value.len >= v.text.len and memcmp(value.ptr, v.text.ptr, v.text.len) == 0
    if v.kind == VALUE_SUFFIX:
        return (value.len >= v.text.len and
                memcmp(value.ptr + value.len - v.text.len, v.text.ptr, v.text.len) == 0)
    if v.kind == VALUE_CONTAINS:
        return value.len >= v.text.len and memmem(value.ptr, value.len, v.text.ptr, v.text.len) is not NULL
    if v.kind == VALUE_PRESENT:
        return True
    if v.kind == VALUE_RANGE:
        return number_of(value, &number) and v.low <= number <= v.high
    return pattern_takes(v.pattern, value)


cdef inline void see(seen_t *s, const predicate_t *v, span_t value) noexcept nogil:
    if value_takes(v, value):
        s.fits = True
    else:
        s.fails = True


cdef inline bint holds(const seen_t *s, const predicate_t *v) noexcept nogil:
    """In one of the readings."""
    return s.fails or not s.fits if v.invert else s.fits


# --- headers ---

cdef inline uint8_t folded(uint8_t c) noexcept nogil:
    return 45 if c == 95 else byte_lower(c)


cdef inline bint may_be_called(const field_t *f, const msg_t *m, const predicate_t *v) noexcept nogil:
    """For somebody: "_" is "-" to CGI and what came of it (WSGI, PHP). What is not passed on is not there: a filter has
    removed it, or the client says that it is for this hop alone; but for what such fields are for."""
    cdef const uint8_t *name = m.base + f.name_off
    cdef uint32_t i
    if f.name_len != v.name.len or (f.bits & FIELD_DROP and not <uint32_t>OF_HOP >> f.id & 1):
        return False
    if f.id != 0:
        return f.id == v.id
    for i in range(v.name.len):
        if folded(name[i]) != folded(v.name.ptr[i]):
            return False
    return True


cdef bint header_holds(const predicate_t *v, const msg_t *m) noexcept nogil:
    cdef bint is_there = False
    cdef int i
    for i in range(m.n_fields):
        if not may_be_called(&m.fields[i], m, v):
            continue
        if value_takes(v, msg_value(m, i)) != v.invert:
            return True
        if v.invert and not is_there:
            is_there = span_ieq(msg_span(m, m.fields[i].name_off, m.fields[i].name_len), v.name)
    return v.invert and not is_there


cdef bint header_is_torn(const predicate_t *v, const msg_t *m) noexcept nogil:
    cdef bint is_there = False
    cdef span_t first
    cdef int i
    for i in range(m.n_fields):
        if not may_be_called(&m.fields[i], m, v):
            continue
        if not span_ieq(msg_span(m, m.fields[i].name_off, m.fields[i].name_len), v.name):
            return True
        # Others see all values as one, with commas between them.
        if is_there and v.kind != VALUE_PRESENT and not span_eq(first, msg_value(m, i)):
            return True
        if not is_there:
            first = msg_value(m, i)
        is_there = True
    return False


# --- the query ---

cdef inline int hex_of(uint8_t c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    c |= 0x20
    return c - c'a' + 10 if c'a' <= c <= c'f' else -1


cdef inline uint8_t next_decoded(span_t *s) noexcept nogil:
    """Takes one byte as forms are decoded; an escape that is broken is what it is."""
    cdef uint8_t c = s.ptr[0]
    cdef int high, low
    s.ptr += 1
    s.len -= 1
    if c == c'+':
        return c' '
    if c == c'%' and s.len >= 2:
        high = hex_of(s.ptr[0])
        low = hex_of(s.ptr[1])
        if high >= 0 and low >= 0:
            s.ptr += 2
            s.len -= 2
            return <uint8_t>(high << 4 | low)
    return c


cdef bint is_read_as(span_t raw, span_t name) noexcept nogil:
    cdef uint32_t i
    if raw.len < name.len:
        return False
    for i in range(name.len):
        if raw.len == 0 or next_decoded(&raw) != name.ptr[i]:
            return False
    return raw.len == 0


cdef span_t decoded(span_t raw) noexcept nogil:
    cdef uint32_t n = 0
    if raw.len == 0 or (memchr(raw.ptr, c'%', raw.len) is NULL and memchr(raw.ptr, c'+', raw.len) is NULL):
        return raw
    while raw.len > 0 and n < HEAD_MAX:
        room[n] = next_decoded(&raw)
        n += 1
    return span_of(room, n)


cdef inline span_t cut(span_t *rest, bint at_semicolons, bint at_ampersands) noexcept nogil:
    """Takes one piece off; `rest` is absent behind the last."""
    cdef uint32_t i = 0
    cdef span_t piece
    while i < rest.len and not ((at_semicolons and rest.ptr[i] == c';') or (at_ampersands and rest.ptr[i] == c'&')):
        i += 1
    piece = span_of(rest.ptr, i)
    if i == rest.len:
        rest.ptr = NULL
        rest.len = 0
    else:
        rest.ptr += i + 1
        rest.len -= i + 1
    return piece


cdef inline span_t name_of(span_t *piece) noexcept nogil:
    """Takes the name off; what is left is the value, empty where there is no "="."""
    cdef const uint8_t *at = <const uint8_t *>memchr(piece.ptr, c'=', piece.len) if piece.len > 0 else NULL
    cdef span_t name = piece[0]
    if at is NULL:
        piece.ptr += piece.len
        piece.len = 0
        return name
    name.len = <uint32_t>(at - piece.ptr)
    piece.ptr = at + 1
    piece.len -= name.len + 1
    return name


cdef seen_t see_query(const predicate_t *v, span_t query, bint at_semicolons) noexcept nogil:
    cdef seen_t s
    cdef span_t piece
    s.fits = s.fails = False
    while query.ptr is not NULL:
        piece = cut(&query, at_semicolons, True)
        if is_read_as(name_of(&piece), v.name):
            see(&s, v, decoded(piece))
    return s


cdef inline span_t query_of(const msg_t *m) noexcept nogil:
    return msg_span(m, m.query_off, m.query_len) if m.query_has else span_of(NULL, 0)


cdef inline bint has_semicolon(span_t query) noexcept nogil:
    return query.len > 0 and memchr(query.ptr, c';', query.len) is not NULL


cdef bint query_holds(const predicate_t *v, const msg_t *m) noexcept nogil:
    cdef span_t query = query_of(m)
    cdef seen_t s = see_query(v, query, False)
    if holds(&s, v):
        return True
    if not has_semicolon(query):
        return False
    s = see_query(v, query, True)
    return holds(&s, v)


cdef bint query_is_torn(const predicate_t *v, const msg_t *m) noexcept nogil:
    cdef span_t query = query_of(m)
    cdef seen_t one = see_query(v, query, False)
    cdef seen_t other
    if one.fits and one.fails:
        return True
    if not has_semicolon(query):
        return False
    other = see_query(v, query, True)
    return (other.fits and other.fails) or holds(&one, v) != holds(&other, v)


# --- cookies ---

cdef inline bint is_space(uint8_t c) noexcept nogil:
    return c == c' ' or c == c'\t'


cdef inline span_t trimmed(span_t s) noexcept nogil:
    while s.len > 0 and is_space(s.ptr[0]):
        s.ptr += 1
        s.len -= 1
    while s.len > 0 and is_space(s.ptr[s.len - 1]):
        s.len -= 1
    return s


ctypedef struct cookies_t:
    int field                 # the next one that is looked at
    span_t rest               # of the one before; absent = nothing


cdef span_t next_cookie(cookies_t *at, const msg_t *m, span_t name) noexcept nogil:
    """The value of the next cookie of the name, absent behind the last."""
    cdef const field_t *f
    cdef span_t piece
    while True:
        while at.rest.ptr is not NULL:
            piece = cut(&at.rest, True, False)
            if span_eq(trimmed(name_of(&piece)), name):
                return trimmed(piece)
        if at.field >= m.n_fields:
            return span_of(NULL, 0)
        f = &m.fields[at.field]
        if f.name_len == 6 and not f.bits & FIELD_DROP and span_ieq(msg_span(m, f.name_off, 6), span_of(b"cookie", 6)):
            at.rest = msg_value(m, at.field)
        at.field += 1


cdef span_t cookie_value(const msg_t *m, span_t name) noexcept nogil:
    cdef cookies_t at
    at.field = 0
    at.rest = span_of(NULL, 0)
    return next_cookie(&at, m, name)


cdef seen_t see_cookie(const predicate_t *v, const msg_t *m) noexcept nogil:
    cdef seen_t s
    cdef cookies_t at
    cdef span_t value
    s.fits = s.fails = False
    at.field = 0
    at.rest = span_of(NULL, 0)
    value = next_cookie(&at, m, v.name)
    while value.ptr is not NULL:
        see(&s, v, value)
        if value.len >= 2 and value.ptr[0] == c'"' and value.ptr[value.len - 1] == c'"':
            # To some the quotes are part of the value.
            see(&s, v, span_of(value.ptr + 1, value.len - 2))
        value = next_cookie(&at, m, v.name)
    return s


cdef bint cookie_holds(const predicate_t *v, const msg_t *m) noexcept nogil:
    cdef seen_t s = see_cookie(v, m)
    return holds(&s, v)


cdef bint cookie_is_torn(const predicate_t *v, const msg_t *m) noexcept nogil:
    cdef seen_t s = see_cookie(v, m)
    return s.fits and s.fails
