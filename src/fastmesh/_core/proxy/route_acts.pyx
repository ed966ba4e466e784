"""See route_acts.pxd."""
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy
from fastmesh._core.http.edit cimport (
    head_add, head_add_own, head_copy, head_drop, head_drop_own, head_free, head_set_target)
from fastmesh._core.http.msg cimport FIELD_OURS, msg_span, msg_value
from fastmesh._core.http.token cimport HEADER_X_FORWARDED_PROTO, HEADER_X_REQUEST_ID
from fastmesh._core.http.uri cimport URI_SAME, uri_normalize
from fastmesh._core.mem.fault cimport FM_ELIMIT
from fastmesh._core.mem.span cimport span_ieq, span_of
from fastmesh._core.net.addr cimport ADDR_TEXT, addr_print
from fastmesh._core.proxy.access_log cimport (
    LOG_AUTHORITY, LOG_CLIENT, LOG_CONNECTION_ID, LOG_DOWNSTREAM_REMOTE_ADDRESS, LOG_LISTENER, LOG_LITERAL, LOG_METHOD,
    LOG_PATH, LOG_PROTOCOL, LOG_REQUEST_HEADER, LOG_REQUEST_ID, LOG_RESPONSE_CODE, LOG_ROUTE_NAME, LOG_START_TIME,
    LOG_UPSTREAM_CLUSTER, LOG_UPSTREAM_HOST, LOG_UPSTREAM_SERVICE_TIME)
from fastmesh._core.proxy.emit cimport put_bytes, put_number, put_request_id, put_span
from fastmesh._core.proxy.mux cimport S_HTTP10
from fastmesh._core.proxy.wall cimport proxy_stamp
from fastmesh._core.proxy.wire_head cimport wire_head
from fastmesh._core.route.acts cimport (
    CHANGE_NONE, CHANGE_PREFIX, CHANGE_WHOLE, EDIT_REMOVE, EDIT_SET, acts_t, change_t, edit_t, edits_t, piece_t)
from fastmesh._core.route.capture cimport capture_replace
from fastmesh._core.route.route_table cimport ROUTE_STARTS, route_t

cdef enum:
    VALUE_MAX = 16384         # bytes of one value; a longer one is cut
    PATH_MAX = 65536 + 8192
    FIELDS_MAX = 131072
    ID_LEN = 36
    LOCATION_LEAST = 320      # scheme, host and port, and what stands between

# One at a time: a worker has one thread.
cdef uint8_t value_room[VALUE_MAX]
cdef uint8_t path_room[PATH_MAX + 1]
cdef uint8_t normal_room[PATH_MAX + 1]
cdef uint8_t fields_room[FIELDS_MAX]


# --- values ---

cdef span_t _field(const msg_t *m, span_t name) noexcept nogil:
    cdef uint32_t i
    for i in range(m.n_fields):
        if span_ieq(msg_span(m, m.fields[i].name_off, m.fields[i].name_len), name):
            return msg_value(m, <int>i)
    return span_of(NULL, 0)


cdef span_t _number(uint64_t number, char *room) noexcept nogil:
    return span_of(<uint8_t *>room, <uint32_t>(put_number(<uint8_t *>room, number) - <uint8_t *>room))


cdef span_t _piece(const piece_t *p, stream_t *s, const msg_t *m, char *room) noexcept nogil:
    """What it stands for; absent when there is none. `m`: the request, or NULL."""
    if p.field == LOG_LITERAL:
        return p.text
    if p.field == LOG_START_TIME:
        return span_of(<uint8_t *>room, <uint32_t>proxy_stamp(s.proxy, s.start_ns, <uint8_t *>room))
    if p.field == LOG_PROTOCOL:
        return span_of(b"HTTP/1.0", 8) if s.bits & S_HTTP10 else span_of(b"HTTP/1.1", 8)
    if p.field == LOG_UPSTREAM_CLUSTER:
        return s.cluster.name if s.cluster is not NULL else span_of(NULL, 0)
    if p.field == LOG_ROUTE_NAME:
        return s.route.name
    if p.field == LOG_LISTENER:
        return s.listener.name
    if p.field == LOG_DOWNSTREAM_REMOTE_ADDRESS:
        return span_of(<uint8_t *>room, addr_print(&s.down.addr, room))
    if p.field == LOG_CLIENT:
        return span_of(<const uint8_t *>s.down.peer, s.down.peer_len)
    if p.field == LOG_CONNECTION_ID:
        return _number(s.down.id, room)
    if p.field == LOG_RESPONSE_CODE:
        return _number(s.status, room)
    if p.field == LOG_UPSTREAM_HOST:
        return s.endpoint.text if s.endpoint is not NULL else span_of(NULL, 0)
    if p.field == LOG_UPSTREAM_SERVICE_TIME:
        if s.first_ns == 0 or s.sent_ns == 0:
            return span_of(NULL, 0)
        return _number((s.first_ns - s.sent_ns) // 1000000 if s.first_ns > s.sent_ns else 0, room)
    if m is NULL:
        return span_of(NULL, 0)
    if p.field == LOG_METHOD:
        return msg_span(m, m.method_off, m.method_len)
    if p.field == LOG_PATH:
        if s.path_len != 0:
            return span_of(s.wire + s.path_off, s.path_len)
        return msg_span(m, m.target_off, m.target_len)
    if p.field == LOG_AUTHORITY:
        return msg_span(m, m.authority_off, m.authority_len)
    if p.field == LOG_REQUEST_ID:
        return msg_value(m, m.at[HEADER_X_REQUEST_ID])
    if p.field == LOG_REQUEST_HEADER:
        return _field(m, p.text)
    return span_of(NULL, 0)


cdef span_t _value(const edit_t *e, stream_t *s, const msg_t *m) noexcept nogil:
    """What a header is to say: "-" for an operator that has no value, as in the log."""
    cdef char room[ADDR_TEXT + 40]
    cdef uint32_t n = 0
    cdef uint32_t i
    cdef span_t part
    for i in range(e.n):
        part = _piece(&e.pieces[i], s, m, room)
        if part.len == 0 and e.pieces[i].field != LOG_LITERAL:
            part = span_of(b"-", 1)
        if part.len > VALUE_MAX - n:
            part.len = VALUE_MAX - n
        if part.len != 0:
            memcpy(value_room + n, part.ptr, part.len)
        n += part.len
    return span_of(value_room, n)


# --- heads ---

cdef bint _edit(head_t *h, const edits_t *edits, stream_t *s, const msg_t *request) noexcept nogil:
    """False when something found no room."""
    cdef const edit_t *e
    cdef bint fits = True
    cdef uint32_t i
    for i in range(edits.n):
        e = &edits.edits[i]
        if e.op == EDIT_REMOVE or e.op == EDIT_SET:
            head_drop(h, e.name.ptr, e.name.len)
        # What cannot stand in a head is not put there: a value never ends a line.
        if e.op != EDIT_REMOVE and head_add(h, e.name.ptr, e.name.len, _value(e, s, request)) == FM_ELIMIT:
            fits = False
    return fits


cdef int32_t _with_prefix(const change_t *c, const route_t *r, span_t path) noexcept nogil:
    """Written behind the first byte of the room; -1 when the route's prefix is not that of the path."""
    cdef span_t rest
    cdef uint8_t *to
    if path.len < c.cut or r.path.len < c.cut or (c.cut != 0 and memcmp(path.ptr, r.path.ptr, c.cut) != 0):
        return -1
    rest = span_of(path.ptr + c.cut, path.len - c.cut)
    if r.path_kind != ROUTE_STARTS and rest.len != 0 and rest.ptr[0] != c'/':
        return -1
    to = put_span(path_room + 1, c.text)
    to = put_span(to, rest)
    return <int32_t>(to - path_room) - 1


cdef span_t _changed(const change_t *c, const route_t *r, span_t path) noexcept nogil:
    """The path with the change made. "*" stays, and what a filter has made of the path that the route did not take."""
    cdef uint32_t n_normal = 0
    cdef int32_t n
    if c.kind == CHANGE_NONE or path.len == 0 or path.ptr[0] != c'/':
        return path
    if c.kind == CHANGE_WHOLE:
        return c.text
    if c.kind == CHANGE_PREFIX:
        n = _with_prefix(c, r, path)
    else:
        n = capture_replace(c.parts, c.n_parts, c.pieces, c.n_pieces, path, path_room + 1, PATH_MAX)
    if n < 0:
        return path
    # Behind a slash of its own, and in normal form: two parts must not make a dot segment.
    path_room[0] = c'/'
    if n > 0 and path_room[1] == c'/':
        path = span_of(path_room + 1, <uint32_t>n)
    else:
        path = span_of(path_room, <uint32_t>n + 1)
    if uri_normalize(path.ptr, path.len, normal_room, &n_normal) > URI_SAME:
        return span_of(normal_room, n_normal)
    return path


cdef inline span_t _path_of(const msg_t *m, span_t path) noexcept nogil:
    if path.ptr is not NULL:
        return path
    return msg_span(m, m.path_off, m.path_len) if m.path_len != 0 else span_of(b"/", 1)


cdef inline span_t _query_of(const msg_t *m) noexcept nogil:
    return msg_span(m, m.query_off, m.query_len) if m.query_has else span_of(NULL, 0)


cdef head_t *route_acts_request(stream_t *s, const msg_t *m, span_t *path) noexcept nogil:
    cdef const acts_t *a = s.route.acts
    cdef head_t *h = head_copy(m)
    cdef uint8_t id_[ID_LEN]
    cdef int has_id = h.m.at[HEADER_X_REQUEST_ID]
    cdef bint fits = True
    if a.request.has_id and not (has_id >= 0 and (s.down.is_trusted or h.m.fields[has_id].bits & FIELD_OURS)):
        # It is made now, so that it can be told.
        head_drop(h, <const uint8_t *>b"x-request-id", 12)
        put_request_id(id_, &s.proxy.rng)
        fits = head_add(h, <const uint8_t *>b"x-request-id", 12, span_of(id_, ID_LEN)) != FM_ELIMIT
    if fits:
        fits = _edit(h, &a.request, s, &h.m)
    if fits and a.host.len != 0:
        head_drop_own(h, <const uint8_t *>b"host", 4)
        fits = head_add_own(h, <const uint8_t *>b"host", 4, a.host) != FM_ELIMIT
    if fits and a.change.kind != CHANGE_NONE:
        fits = head_set_target(h, _changed(&a.change, s.route, _path_of(m, path[0])), _query_of(m)) != FM_ELIMIT
        path[0] = span_of(NULL, 0)
    if fits:
        return h
    head_free(h)
    return NULL


cdef head_t *route_acts_response(stream_t *s, const msg_t *m) noexcept nogil:
    cdef head_t *h = head_copy(m)
    _edit(h, &s.route.acts.response, s, wire_head(s))
    return h


# --- answers of the proxy's own ---

cdef inline bint _is_written_anyway(span_t name) noexcept nogil:
    return (span_ieq(name, span_of(b"date", 4)) or span_ieq(name, span_of(b"server", 6)) or
            span_ieq(name, span_of(b"content-type", 12)))


cdef span_t route_acts_piece(const piece_t *p, stream_t *s, const msg_t *m, char *room) noexcept nogil:
    return _piece(p, s, m, room)


cdef span_t route_acts_value(const edit_t *e, stream_t *s, const msg_t *m) noexcept nogil:
    return _value(e, s, m)


cdef span_t route_acts_fields(stream_t *s, span_t fields) noexcept nogil:
    return route_acts_lines(&s.route.acts.response, s, wire_head(s), fields)


cdef span_t route_acts_lines(const edits_t *edits, stream_t *s, const msg_t *request, span_t fields) noexcept nogil:
    cdef const edit_t *e
    cdef span_t value
    cdef uint8_t *to
    cdef uint32_t i
    if fields.len > FIELDS_MAX // 2:
        return fields
    if fields.ptr is not <const uint8_t *>fields_room:
        put_span(fields_room, fields)
    to = fields_room + fields.len
    for i in range(edits.n):
        e = &edits.edits[i]
        if e.op == EDIT_REMOVE or _is_written_anyway(e.name):
            continue
        value = _value(e, s, request)
        if to - fields_room + e.name.len + value.len + 4 > FIELDS_MAX:
            break
        if value.len != 0 and (memchr(value.ptr, 13, value.len) is not NULL or
                               memchr(value.ptr, 10, value.len) is not NULL):
            continue
        to = put_span(to, e.name)
        to = put_bytes(to, b": ", 2)
        to = put_span(to, value)
        to = put_bytes(to, b"\r\n", 2)
    return span_of(fields_room, <uint32_t>(to - fields_room))


cdef span_t _without_port(span_t authority) noexcept nogil:
    cdef const uint8_t *end
    if authority.len > 0 and authority.ptr[0] == c'[':
        end = <const uint8_t *>memchr(authority.ptr, c']', authority.len)
        return span_of(authority.ptr, <uint32_t>(end - authority.ptr) + 1) if end is not NULL else authority
    end = <const uint8_t *>memchr(authority.ptr, c':', authority.len) if authority.len > 0 else NULL
    return span_of(authority.ptr, <uint32_t>(end - authority.ptr)) if end is not NULL else authority


cdef span_t route_acts_location(stream_t *s, const msg_t *m, span_t path) noexcept nogil:
    cdef const acts_t *a = s.route.acts
    cdef span_t host = a.place
    cdef span_t scheme = a.scheme
    cdef span_t query = _query_of(m)
    cdef uint8_t *to = put_bytes(fields_room, b"location: ", 10)
    path = _changed(&a.change, s.route, _path_of(m, path))
    if host.len == 0:
        host = msg_span(m, m.authority_off, m.authority_len)
        if a.scheme.len != 0 or a.port != 0:
            host = _without_port(host)
    if scheme.len == 0:
        scheme = span_of(b"http", 4)
        if s.down.is_trusted and m.at[HEADER_X_FORWARDED_PROTO] >= 0 and span_ieq(
                msg_value(m, m.at[HEADER_X_FORWARDED_PROTO]), span_of(b"https", 5)):
            scheme = span_of(b"https", 5)
    if LOCATION_LEAST + host.len + path.len + query.len > FIELDS_MAX // 2:
        return span_of(NULL, 0)
    # Without a host only the path can be told (HTTP/1.0).
    if host.len != 0:
        to = put_span(to, scheme)
        to = put_bytes(to, b"://", 3)
        to = put_span(to, host)
        if a.port != 0:
            to = put_bytes(to, b":", 1)
            to = put_number(to, a.port)
    to = put_span(to, path)
    if query.ptr is not NULL and not a.strips_query:
        to = put_bytes(to, b"?", 1)
        to = put_span(to, query)
    to = put_bytes(to, b"\r\n", 2)
    return span_of(fields_room, <uint32_t>(to - fields_room))
