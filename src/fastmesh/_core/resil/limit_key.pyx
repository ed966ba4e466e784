"""See limit_key.pxd."""
from libc.string cimport memchr, memcmp, memcpy
from fastmesh._core.http.msg cimport FIELD_DROP, field_t, msg_span, msg_value
from fastmesh._core.mem.hash cimport hash_bytes
from fastmesh._core.mem.label cimport label_find
from fastmesh._core.mem.sip cimport sip_hash
from fastmesh._core.mem.span cimport byte_lower, span_eq, span_of
from fastmesh._core.route.route_table cimport ROUTE_HOST_MAX, route_host

cdef extern from "<sys/socket.h>" nogil:
    enum: AF_INET6
    enum: AF_UNIX

cdef extern from "scan.h" nogil:
    int char_hex(uint8_t c) noexcept

cdef enum:
    NETWORK_BYTES = 8
    LENGTH_MISSING = 0xFFFFFFFF   # in place of a value's length
    PART_ROOM = 4 + KEY_VALUE_MAX
    ROOM = 8 + KEY_PARTS_MAX * PART_ROOM

# A worker has one thread, and makes one key at a time.
cdef uint8_t room[ROOM]
cdef uint8_t other[KEY_VALUE_MAX]


cdef void limit_key_begin(limit_key_t *k) noexcept nogil:
    cdef uint32_t i
    k.shape = k.n
    for i in range(k.n):
        k.shape = hash_bytes(k.parts[i].name.ptr, k.parts[i].name.len, k.shape * 31 + k.parts[i].source)


cdef inline int _put(uint8_t *to, span_t value, uint32_t *n) noexcept nogil:
    if value.ptr is NULL:
        return KEY_MISSING
    if value.len > KEY_VALUE_MAX:
        return KEY_ODD
    if value.len != 0:
        memcpy(to, value.ptr, value.len)
    n[0] = value.len
    return KEY_WHOLE


# --- values, one source each -------------------------------------------------------------------------

cdef inline int _put_address(uint8_t *to, const addr_t *a, bint is_network, uint32_t *n) noexcept nogil:
    to[0] = <uint8_t>a.family
    # Processes of one machine have no address of their own.
    n[0] = 0 if a.family == AF_UNIX else NETWORK_BYTES if is_network and a.family == AF_INET6 else a.len
    memcpy(to + 1, a.ip, n[0])
    n[0] += 1
    return KEY_WHOLE


cdef int _put_method(uint8_t *to, const msg_t *m, uint32_t *n) noexcept nogil:
    cdef uint32_t i
    if m.method_len > KEY_VALUE_MAX:
        return KEY_ODD
    for i in range(m.method_len):
        # As many a framework reads it.
        to[i] = m.base[m.method_off + i]
        if 97 <= to[i] <= 122:
            to[i] &= 0xdf
    n[0] = m.method_len
    return KEY_WHOLE


cdef int _put_route(uint8_t *to, const caller_t *a, uint32_t *n) noexcept nogil:
    """Names of routes are told apart within their listener."""
    if a.route.ptr is NULL:
        return KEY_MISSING
    if a.listener.len + 1 + a.route.len > KEY_VALUE_MAX:
        return KEY_ODD
    memcpy(to, a.listener.ptr, a.listener.len)
    to[a.listener.len] = 0
    if a.route.len != 0:
        memcpy(to + a.listener.len + 1, a.route.ptr, a.route.len)
    n[0] = a.listener.len + 1 + a.route.len
    return KEY_WHOLE


cdef inline bint _is_called(const msg_t *m, const field_t *f, span_t name) noexcept nogil:
    """To somebody: "_" is "-" to CGI, and to what came of it."""
    cdef const uint8_t *p = m.base + f.name_off
    cdef uint32_t i
    if f.name_len != name.len or f.bits & FIELD_DROP:
        return False
    for i in range(name.len):
        if byte_lower(p[i]) != name.ptr[i] and not (p[i] == c'_' and name.ptr[i] == c'-'):
            return False
    return True


cdef int _put_header(uint8_t *to, const msg_t *m, span_t name, uint32_t *n) noexcept nogil:
    cdef span_t value = span_of(NULL, 0)
    cdef int i
    for i in range(m.n_fields):
        if not _is_called(m, &m.fields[i], name):
            continue
        if value.ptr is NULL:
            value = msg_value(m, i)
        elif not span_eq(value, msg_value(m, i)):
            return KEY_ODD
    return _put(to, value, n)


cdef inline span_t _bare(span_t s) noexcept nogil:
    while s.len > 0 and (s.ptr[0] == c' ' or s.ptr[0] == c'\t'):
        s = span_of(s.ptr + 1, s.len - 1)
    while s.len > 0 and (s.ptr[s.len - 1] == c' ' or s.ptr[s.len - 1] == c'\t'):
        s.len -= 1
    return s


cdef inline span_t _next_of(span_t *rest, uint8_t mark) noexcept nogil:
    """What is in front of the next `mark`, which is taken away with it."""
    cdef const uint8_t *end = <const uint8_t *>memchr(rest.ptr, mark, rest.len)
    cdef span_t piece = span_of(rest.ptr, <uint32_t>(end - rest.ptr) if end is not NULL else rest.len)
    rest[0] = span_of(end + 1, rest.len - piece.len - 1) if end is not NULL else span_of(rest.ptr + rest.len, 0)
    return piece


cdef int _put_cookie(uint8_t *to, const msg_t *m, span_t name, uint32_t *n) noexcept nogil:
    cdef span_t found = span_of(NULL, 0)
    cdef span_t rest, value, key
    cdef int i
    for i in range(m.n_fields):
        if not _is_called(m, &m.fields[i], span_of(b"cookie", 6)):
            continue
        rest = msg_value(m, i)
        while rest.len > 0:
            value = _next_of(&rest, c';')
            key = _bare(_next_of(&value, c'='))
            if not span_eq(key, name):
                continue
            value = _bare(value)
            if value.len >= 2 and value.ptr[0] == c'"' and value.ptr[value.len - 1] == c'"':
                value = span_of(value.ptr + 1, value.len - 2)
                if memchr(value.ptr, c'\\', value.len) is not NULL:
                    return KEY_ODD
            if found.ptr is NULL:
                found = value
            elif not span_eq(found, value):
                return KEY_ODD
    return _put(to, found, n)


cdef inline uint32_t _decode(const uint8_t *p, uint32_t n, uint8_t *to, uint32_t most) noexcept nogil:
    """A piece of a query as forms write them; its length, more than `most` when there is no room. A broken escape
    stays as it is."""
    cdef uint32_t i = 0
    cdef uint32_t o = 0
    cdef uint8_t c
    while i < n:
        if o == most:
            return most + 1
        c = p[i]
        if c == c'+':
            c = c' '
        elif c == c'%' and i + 2 < n and char_hex(p[i + 1]) >= 0 and char_hex(p[i + 2]) >= 0:
            c = <uint8_t>(char_hex(p[i + 1]) << 4 | char_hex(p[i + 2]))
            i += 2
        to[o] = c
        o += 1
        i += 1
    return o


cdef int _put_query(uint8_t *to, const msg_t *m, span_t name, uint32_t *n) noexcept nogil:
    cdef span_t rest = msg_span(m, m.query_off, m.query_len)
    cdef span_t key, value
    cdef bint is_there = False
    cdef uint32_t size
    while m.query_has and rest.len > 0:
        value = _next_of(&rest, c'&')
        key = _next_of(&value, c'=')
        # A name that is longer by more than its escapes could make it is another one.
        if not name.len <= key.len <= 3 * name.len:
            continue
        size = _decode(key.ptr, key.len, other, KEY_VALUE_MAX)
        if size != name.len or memcmp(other, name.ptr, size) != 0:
            continue
        size = _decode(value.ptr, value.len, <uint8_t *>other if is_there else to, KEY_VALUE_MAX)
        if size > KEY_VALUE_MAX or (is_there and (size != n[0] or memcmp(other, to, size) != 0)):
            return KEY_ODD
        is_there = True
        n[0] = size
    return KEY_WHOLE if is_there else KEY_MISSING


cdef int _put_part(uint8_t *to, const limit_part_t *part, const caller_t *a, uint32_t *n) noexcept nogil:
    cdef uint8_t host[ROUTE_HOST_MAX]
    if part.source <= KEY_CLIENT_NETWORK:
        return _put_address(to, a.client, part.source == KEY_CLIENT_NETWORK, n)
    if part.source == KEY_METHOD:
        return _put_method(to, a.m, n)
    if part.source == KEY_HOST:
        return KEY_ODD if a.m.authority_len > ROUTE_HOST_MAX else _put(to, route_host(a.m, host), n)
    if part.source == KEY_PATH:
        return KEY_ODD if a.is_path_odd else _put(to, a.path, n)
    if part.source == KEY_ROUTE:
        return _put_route(to, a, n)
    if part.source == KEY_HEADER:
        return _put_header(to, a.m, part.name, n)
    if part.source == KEY_COOKIE:
        return _put_cookie(to, a.m, part.name, n)
    if part.source == KEY_QUERY:
        return _put_query(to, a.m, part.name, n)
    return _put(to, label_find(a.labels, a.labels_len, part.name), n)


cdef int limit_key_of(const limit_key_t *k, const caller_t *a, const uint64_t *seed, uint64_t *digest) noexcept nogil:
    cdef uint8_t *to = room + 8
    cdef int how = KEY_WHOLE
    cdef int found
    cdef uint32_t n, i
    digest[0] = k.shape
    digest[1] = 0
    if k.n == 0:
        return KEY_WHOLE
    memcpy(room, &k.shape, 8)
    for i in range(k.n):
        n = 0
        found = _put_part(to + 4, &k.parts[i], a, &n)
        if found == KEY_ODD:
            return KEY_ODD
        if found == KEY_MISSING:
            how = KEY_MISSING
            n = LENGTH_MISSING
        memcpy(to, &n, 4)
        to += 4 if found == KEY_MISSING else 4 + n
    sip_hash(room, <uint64_t>(to - room), seed, digest)
    return how
