"""See cors.pxd.

By the Fetch standard ("CORS protocol"). Whose origin does not fit is told nothing: the browser then keeps the answer
from the page. It is no access control, so that requests which are no preflight are let through all the same.
"""
from libc.string cimport memchr, memcpy
from fastmesh._core.http.edit cimport head_copy, head_drop, head_find
from fastmesh._core.http.msg cimport FIELD_DROP, msg_span, msg_value
from fastmesh._core.mem.block cimport BLOCK_SMALL, block_new
from fastmesh._core.mem.counter cimport G_CORS_OTHER
from fastmesh._core.mem.span cimport span_ieq, span_of
from fastmesh._core.proxy.emit cimport put_bytes
from fastmesh._core.route.asked_for cimport asked_origin
from fastmesh._core.route.cors_rule cimport ORIGIN_EXACT, cors_find, cors_origin_t, cors_rule_t

cdef enum:
    PREFIX = 15               # bytes of "access-control-"
    NAMES = 7
    LINES_MAX = 131072
    OWN = 384                 # room for names and line ends

# What an answer says of origins. What a request says begins alike: access-control-request-…
cdef extern from *:
    """
    static const char *const fm_cors_names[] = {"access-control-allow-origin", "access-control-allow-credentials",
        "access-control-expose-headers", "access-control-allow-methods", "access-control-allow-headers",
        "access-control-max-age", "access-control-allow-private-network"};
    static const unsigned char fm_cors_lens[] = {27, 32, 29, 28, 28, 22, 36};
    """
    const char *const fm_cors_names[7]
    const unsigned char fm_cors_lens[7]

# One at a time: a worker has one thread.
cdef uint8_t lines_room[LINES_MAX]


cdef inline const cors_rule_t *_rule(const stream_t *s) noexcept nogil:
    return &s.snap.cors_rules[s.route.cors - 1]


cdef inline bint _is_about_origins(span_t name) noexcept nogil:
    cdef int i
    if name.len <= PREFIX or not span_ieq(span_of(name.ptr, PREFIX), span_of(b"access-control-", PREFIX)):
        return False
    for i in range(NAMES):
        if span_ieq(name, span_of(<const uint8_t *>fm_cors_names[i], fm_cors_lens[i])):
            return True
    return False


# --- requests ---

cdef bint cors_knows(stream_t *s, span_t origin) noexcept nogil:
    cdef const cors_rule_t *r = _rule(s)
    cdef const cors_origin_t *o
    if r.is_any:
        s.origin = span_of(<const uint8_t *>b"*", 1)
        return True
    o = cors_find(r, origin)
    if o is NULL:
        return False
    if o.kind == ORIGIN_EXACT:
        s.origin = o.text
        return True
    if s.origin_blk is NULL:
        s.origin_blk = block_new(&s.proxy.reactor.blocks, BLOCK_SMALL)
    memcpy(s.origin_blk.bytes, origin.ptr, origin.len)
    s.origin = span_of(s.origin_blk.bytes, origin.len)
    return True


cdef void cors_meets(stream_t *s, const msg_t *m) noexcept nogil:
    cdef span_t origin = asked_origin(m)
    # One that lets anybody read says so to all, so that caches may keep one answer.
    if (origin.ptr is not NULL or _rule(s).is_any) and not cors_knows(s, origin):
        s.proxy.stats.globals[G_CORS_OTHER] += 1


# --- answers ---

cdef head_t *cors_without(head_t *h, const msg_t *m) noexcept nogil:
    cdef const msg_t *now = m
    cdef uint32_t i
    if h is not NULL:
        now = &h.m
    for i in range(now.n_fields):
        if not now.fields[i].bits & FIELD_DROP and _is_about_origins(
                msg_span(now, now.fields[i].name_off, now.fields[i].name_len)):
            break
    else:
        return h
    if h is NULL:
        h = head_copy(m)
    for i in range(NAMES):
        head_drop(h, <const uint8_t *>fm_cors_names[i], fm_cors_lens[i])
    return h


cdef span_t cors_lines(span_t fields) noexcept nogil:
    cdef const uint8_t *p = fields.ptr
    cdef const uint8_t *end = p + fields.len
    cdef const uint8_t *stop
    cdef const uint8_t *colon
    cdef uint8_t *to = lines_room
    if fields.len > LINES_MAX:
        return span_of(NULL, 0)
    while p < end:
        stop = <const uint8_t *>memchr(p, c'\n', <size_t>(end - p))
        stop = end if stop is NULL else stop + 1
        colon = <const uint8_t *>memchr(p, c':', <size_t>(stop - p))
        if colon is NULL or not _is_about_origins(span_of(p, <uint32_t>(colon - p))):
            memcpy(to, p, <size_t>(stop - p))
            to += stop - p
        p = stop
    return span_of(lines_room, <uint32_t>(to - lines_room))


cdef uint32_t cors_room(const stream_t *s) noexcept nogil:
    return OWN + s.origin.len + _rule(s).expose.len


cdef bint _varies(const msg_t *m) noexcept nogil:
    """It says already that it is another one for each origin."""
    cdef span_t v, word
    cdef uint32_t i, start
    cdef int at = head_find(m, <const uint8_t *>b"vary", 4, 0)
    while at >= 0:
        v = msg_value(m, at)
        start = 0
        for i in range(v.len + 1):
            if i < v.len and v.ptr[i] != c',':
                continue
            word = span_of(v.ptr + start, i - start)
            while word.len > 0 and (word.ptr[0] == c' ' or word.ptr[0] == c'\t'):
                word = span_of(word.ptr + 1, word.len - 1)
            while word.len > 0 and (word.ptr[word.len - 1] == c' ' or word.ptr[word.len - 1] == c'\t'):
                word.len -= 1
            if span_ieq(word, span_of(b"origin", 6)) or span_ieq(word, span_of(b"*", 1)):
                return True
            start = i + 1
        at = head_find(m, <const uint8_t *>b"vary", 4, at + 1)
    return False


cdef uint8_t *cors_put(const stream_t *s, const msg_t *m, uint8_t *to) noexcept nogil:
    cdef const cors_rule_t *r = _rule(s)
    if not r.is_any and (m is NULL or not _varies(m)):
        to = put_bytes(to, b"vary: Origin\r\n", 14)
    if s.origin.len == 0:
        return to
    to = cors_line(to, b"access-control-allow-origin", 27, s.origin)
    if r.has_credentials:
        to = put_bytes(to, b"access-control-allow-credentials: true\r\n", 40)
    return to if s.is_preflight else cors_line(to, b"access-control-expose-headers", 29, r.expose)
