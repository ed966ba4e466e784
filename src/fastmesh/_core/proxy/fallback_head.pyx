"""See fallback_head.pxd."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy
from fastmesh._core.http.h1 cimport h1_limits_t, h1_parse_request
from fastmesh._core.http.msg cimport MSG_FIELDS_ROOM, field_t, msg_span, msg_t
from fastmesh._core.http.token cimport HEADER_HOST
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new
from fastmesh._core.mem.span cimport span_ieq, span_of
from fastmesh._core.proxy.emit cimport put_bytes, put_span
from fastmesh._core.proxy.route_acts cimport route_acts_value
from fastmesh._core.route.acts cimport EDIT_REMOVE, EDIT_SET, edit_t

cdef enum:
    HEAD_MAX = 65535
    SCRATCH = 2 * 65536       # what is copied is a head; what is added is looked at before
    PATH_MAX = 65536

# The first head, and the places in it that are written anew for each attempt.
ctypedef struct first_t:
    uint32_t len
    uint32_t mark_at
    uint32_t deadline_at[3]

# One at a time: a worker has one thread.
cdef uint8_t scratch[SCRATCH + PATH_MAX]

cdef h1_limits_t ANY
ANY.head_bytes = 65535
ANY.line_bytes = 65535
ANY.fields = MSG_FIELDS_ROOM


cdef span_t fallback_head_first(const stream_t *s) noexcept nogil:
    cdef const first_t *first
    if s.fall_wire is NULL:
        return span_of(s.wire, s.wire_len)
    first = <const first_t *>s.fall_wire.bytes
    return span_of(<const uint8_t *>(first + 1), first.len)


cdef void _remember(stream_t *s) noexcept nogil:
    cdef uint32_t n = <uint32_t>sizeof(first_t) + s.wire_len
    cdef first_t *first
    cdef int i
    s.fall_wire = block_new(&s.proxy.reactor.blocks,
                            BLOCK_SMALL if n <= BLOCK_SMALL else (BLOCK_LARGE if n <= BLOCK_LARGE else n))
    first = <first_t *>s.fall_wire.bytes
    first.len = s.wire_len
    first.mark_at = s.mark_at
    for i in range(3):
        first.deadline_at[i] = s.deadline_at[i]
    memcpy(first + 1, s.wire, s.wire_len)


cdef bint _goes(const step_t *step, span_t name) noexcept nogil:
    cdef uint32_t i
    for i in range(step.request.n):
        if step.request.edits[i].op <= EDIT_SET and span_ieq(step.request.edits[i].name, name):
            return True
    return False


cdef uint8_t *_target(uint8_t *to, const step_t *step, const msg_t *m) noexcept nogil:
    cdef span_t path = msg_span(m, m.path_off, m.path_len)
    if step.path.len != 0:
        path = step.path
    elif (step.has_prefix and path.len >= step.cut.len and
          (step.cut.len == 0 or memcmp(path.ptr, step.cut.ptr, step.cut.len) == 0) and
          (path.len == step.cut.len or path.ptr[step.cut.len] == c'/')):
        to = put_span(to, step.put)
        path = span_of(path.ptr + step.cut.len, path.len - step.cut.len)
        if step.put.len == 0 and path.len == 0:
            path = span_of(<const uint8_t *>b"/", 1)
    to = put_span(to, path)
    if m.query_has:
        to = put_bytes(to, b"?", 1)
        to = put_span(to, msg_span(m, m.query_off, m.query_len))
    return to


cdef bint _is_same(const step_t *step) noexcept nogil:
    return step.host.len == 0 and step.path.len == 0 and not step.has_prefix and step.request.n == 0


cdef uint32_t _write(stream_t *s, const step_t *step, const first_t *first, const msg_t *m, uint32_t *mark_at,
                     uint32_t *deadline_at) noexcept nogil:
    """Into scratch; how much it is, 0 when it is too much."""
    cdef uint8_t *to = scratch
    cdef const field_t *f
    cdef const edit_t *e
    cdef span_t value
    cdef uint32_t begin = m.fields_off
    cdef uint32_t i, k
    to = put_span(to, msg_span(m, m.method_off, m.method_len))
    to = put_bytes(to, b" ", 1)
    to = _target(to, step, m)
    to = put_bytes(to, b" HTTP/1.1\r\n", 11)
    for i in range(m.n_fields):
        f = &m.fields[i]
        if step.host.len != 0 and f.id == HEADER_HOST:
            to = put_bytes(to, b"host: ", 6)
            to = put_span(to, step.host)
            to = put_bytes(to, b"\r\n", 2)
        elif not _goes(step, msg_span(m, f.name_off, f.name_len)):
            for k in range(3):
                if begin <= first.deadline_at[k] < f.end_off:
                    deadline_at[k] = <uint32_t>(to - scratch) + first.deadline_at[k] - begin
            if begin <= first.mark_at < f.end_off:
                mark_at[0] = <uint32_t>(to - scratch) + first.mark_at - begin
            to = put_bytes(to, <const char *>m.base + begin, f.end_off - begin)
        begin = f.end_off
    for i in range(step.request.n):
        e = &step.request.edits[i]
        if e.op == EDIT_REMOVE:
            continue
        value = route_acts_value(e, s, m)
        if <uint32_t>(to - scratch) + e.name.len + value.len + 6 > HEAD_MAX:
            return 0
        to = put_span(to, e.name)
        to = put_bytes(to, b": ", 2)
        to = put_span(to, value)
        to = put_bytes(to, b"\r\n", 2)
    to = put_bytes(to, b"\r\n", 2)
    return <uint32_t>(to - scratch) if to - scratch <= HEAD_MAX else 0


cdef void _put(stream_t *s, uint32_t n, span_t told) noexcept nogil:
    """scratch[0:n) becomes the head; `told`, behind it, is the path that the log tells."""
    cdef uint8_t *to = fallback_head_room(s, n + told.len)
    memcpy(to, scratch, n)
    s.wire_len = n
    if told.len != 0:
        memcpy(to + n, told.ptr, told.len)
    s.path_off = n
    s.path_len = told.len


cdef bint fallback_head_make(stream_t *s, const step_t *step) noexcept nogil:
    cdef msg_t *m = &s.proxy.logged
    cdef first_t *first
    cdef span_t head, told
    cdef uint32_t mark_at = 0
    cdef uint32_t deadline_at[3]
    cdef uint32_t n
    cdef int i
    if _is_same(step) and s.fall_wire is NULL:
        return s.wire_len != 0
    if s.fall_wire is NULL:
        if s.wire_len == 0:
            return False
        _remember(s)
    first = <first_t *>s.fall_wire.bytes
    head = fallback_head_first(s)
    if h1_parse_request(m, head.ptr, head.len, 0, &ANY) <= 0:
        return False
    for i in range(3):
        deadline_at[i] = 0
    if _is_same(step):
        memcpy(scratch, head.ptr, head.len)
        n = head.len
        mark_at = first.mark_at
        for i in range(3):
            deadline_at[i] = first.deadline_at[i]
    else:
        n = _write(s, step, first, m, &mark_at, deadline_at)
    if n == 0:
        return False
    told = msg_span(m, m.target_off, m.target_len)
    if s.path_len != 0:
        told = span_of(s.wire + s.path_off, s.path_len)
    if told.len > PATH_MAX:
        told.len = PATH_MAX
    # The memory of the present head may be given back for that of the next.
    memcpy(scratch + SCRATCH, told.ptr, told.len)
    _put(s, n, span_of(scratch + SCRATCH, told.len))
    s.mark_at = mark_at
    for i in range(3):
        s.deadline_at[i] = deadline_at[i]
    return True
