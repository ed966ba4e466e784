"""See request_key.pxd."""
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport msg_span, msg_value
from fastmesh._core.lb.cluster cimport cluster_weight, endpoint_is_usable
from fastmesh._core.lb.settings cimport (
    KEY_COOKIE, KEY_HEADER, KEY_QUERY, STICKY_COOKIE, STICKY_HEADER, hash_key_t, lb_settings_t)
from fastmesh._core.lb.sticky cimport STICKY_DIGITS, sticky_find, sticky_name
from fastmesh._core.mem.hash cimport hash_bytes
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.proxy.emit cimport put_bytes, put_hex, put_number, put_span

cdef enum:
    SEED = 0x6B6579
    COOKIE_DIGITS = 16
    LINE_ROOM = 128           # of a Set-Cookie line, beside name and path


cdef inline bint begins_with(span_t s, span_t name) noexcept nogil:
    """`name` and "=" stand at the beginning."""
    return (s.len > name.len and s.ptr[name.len] == c'=' and memcmp(s.ptr, name.ptr, name.len) == 0)


cdef span_t pair_value(span_t text, uint8_t separator, span_t name) noexcept nogil:
    """The value of `name` in a list of name=value."""
    cdef const uint8_t *end
    cdef span_t pair
    while text.len > 0:
        end = <const uint8_t *>memchr(text.ptr, separator, text.len)
        pair = span_of(text.ptr, <uint32_t>(end - text.ptr) if end is not NULL else text.len)
        text = span_of(text.ptr + pair.len, text.len - pair.len)
        if text.len > 0:
            text = span_of(text.ptr + 1, text.len - 1)
        if separator == c';':
            while pair.len > 0 and (pair.ptr[0] == c' ' or pair.ptr[0] == c'\t'):
                pair = span_of(pair.ptr + 1, pair.len - 1)
            while pair.len > 0 and (pair.ptr[pair.len - 1] == c' ' or pair.ptr[pair.len - 1] == c'\t'):
                pair.len -= 1
        if begins_with(pair, name):
            if pair.len == name.len + 1:
                break
            return span_of(pair.ptr + name.len + 1, pair.len - name.len - 1)
    return span_of(NULL, 0)


cdef span_t cookie_value(const msg_t *m, span_t name) noexcept nogil:
    cdef span_t found = span_of(NULL, 0)
    cdef int at = head_find(m, <const uint8_t *>b"cookie", 6, 0)
    while at >= 0:
        found = pair_value(msg_value(m, at), c';', name)
        if found.ptr is not NULL:
            break
        at = head_find(m, <const uint8_t *>b"cookie", 6, at + 1)
    return found


cdef span_t query_value(span_t query, span_t name) noexcept nogil:
    return pair_value(query, c'&', name)


cdef span_t text_of(const stream_t *s, const msg_t *m, const hash_key_t *k) noexcept nogil:
    """What the request has for one of the keys; absent when nothing."""
    cdef span_t found = span_of(NULL, 0)
    if k.kind > KEY_QUERY:
        # A peer on a Unix-domain socket has no address to tell it by.
        if s.down is not NULL and s.down.addr.port != 0:
            found = span_of(s.down.addr.ip, s.down.addr.len)
    elif m is NULL:
        pass
    elif k.kind == KEY_HEADER:
        found = msg_value(m, head_find(m, k.name.ptr, k.name.len, 0))
    elif k.kind == KEY_COOKIE:
        found = cookie_value(m, k.name)
    elif m.query_has:
        found = query_value(msg_span(m, m.query_off, m.query_len), k.name)
    return found if found.len != 0 else span_of(NULL, 0)


cdef void request_key_find(stream_t *s, const msg_t *m) noexcept nogil:
    cdef const hash_key_t *k
    cdef const hash_key_t *made = NULL
    cdef uint8_t text[COOKIE_DIGITS]
    cdef span_t found
    cdef uint32_t i
    for i in range(s.cluster.settings.n_keys):
        k = &s.cluster.settings.keys[i]
        found = text_of(s, m, k)
        if found.ptr is not NULL:
            s.key = hash_bytes(found.ptr, found.len, SEED)
            s.has_key = 1
            return
        if k.is_made and made is NULL:
            made = k
    if s.cluster.told is not NULL and (made is NULL or m is NULL):
        s.cluster.told.no_key += 1
    if made is not NULL and m is not NULL:
        s.told = made
        s.cookie = rng_next(&s.proxy.rng)
        put_hex(text, s.cookie, COOKIE_DIGITS)
        s.key = hash_bytes(text, COOKIE_DIGITS, SEED)
        s.has_key = 1


cdef void request_key_stick(stream_t *s, const msg_t *m) noexcept nogil:
    cdef const lb_settings_t *settings = &s.cluster.settings
    cdef span_t name
    if settings.sticky == STICKY_COOKIE:
        name = cookie_value(m, settings.sticky_field)
    else:
        name = msg_value(m, head_find(m, settings.sticky_field.ptr, settings.sticky_field.len, 0))
    if name.ptr is not NULL:
        s.wanted = sticky_find(s.cluster, name)
        if s.wanted is NULL and s.cluster.told is not NULL:
            s.cluster.told.sticky_moved += 1


cdef endpoint_t *request_key_home(stream_t *s) noexcept nogil:
    cdef endpoint_t *e = s.wanted
    cdef bint is_open = (endpoint_is_usable(e, s.proxy.reactor.now_ns, s.tried, s.n_tried) and
                         cluster_weight(s.cluster, <uint32_t>(e - s.cluster.endpoints)) != 0)
    if s.attempts == 0 and s.cluster.told is not NULL:
        if is_open:
            s.cluster.told.sticky_kept += 1
        else:
            s.cluster.told.sticky_moved += 1
    return e if is_open else NULL


cdef uint32_t request_key_room(const stream_t *s) noexcept nogil:
    cdef uint32_t room = 0
    if s.told is not NULL:
        room += s.told.name.len + s.told.path.len + LINE_ROOM
    if s.cluster.names is not NULL:
        room += s.cluster.settings.sticky_field.len + s.cluster.settings.sticky_path.len + LINE_ROOM
    return room


cdef uint8_t *put_attributes(uint8_t *to, span_t path, uint64_t ttl_s) noexcept nogil:
    to = put_bytes(to, b"; Path=", 7)
    to = put_span(to, path)
    if ttl_s != 0:
        to = put_bytes(to, b"; Max-Age=", 10)
        to = put_number(to, ttl_s)
    return put_bytes(to, b"; HttpOnly\r\n", 12)


cdef uint8_t *request_key_tell(const stream_t *s, uint8_t *to) noexcept nogil:
    cdef const lb_settings_t *settings = &s.cluster.settings
    if s.told is not NULL:
        to = put_bytes(to, b"set-cookie: ", 12)
        to = put_span(to, s.told.name)
        to = put_bytes(to, b"=", 1)
        to = put_hex(to, s.cookie, COOKIE_DIGITS)
        to = put_attributes(to, s.told.path, s.told.ttl_s)
    if s.cluster.names is NULL or s.endpoint is NULL:
        return to
    if settings.sticky == STICKY_HEADER:
        to = put_span(to, settings.sticky_field)
        to = put_bytes(to, b": ", 2)
        sticky_name(s.cluster, s.endpoint, to)
        return put_bytes(to + STICKY_DIGITS, b"\r\n", 2)
    if s.endpoint is not s.wanted:
        to = put_bytes(to, b"set-cookie: ", 12)
        to = put_span(to, settings.sticky_field)
        to = put_bytes(to, b"=", 1)
        sticky_name(s.cluster, s.endpoint, to)
        to = put_attributes(to + STICKY_DIGITS, settings.sticky_path, settings.sticky_ttl_s)
    return to
