"""See limit_fields.pxd."""
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.proxy.emit cimport put_bytes, put_number, put_span
from fastmesh._core.proxy.mux cimport LIMITED_LISTENER, LIMITED_ROUTE
from fastmesh._core.resil.rate_limit cimport drawn_t, limit_list_t, rate_limit_t

cdef enum:
    SECOND = 1000000000
    NAMES = 160               # the names of the fields, Retry-After, and what gRPC is told
    ITEM = 64                 # what an item has besides its policy and its name: two numbers and marks


cdef inline bint _is_told(const stream_t *s, const drawn_t *d) noexcept nogil:
    return d.limit.is_shown or s.retry_after_s != 0


cdef uint32_t limit_fields_room(const stream_t *s) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t i
    for i in range(s.n_drawn):
        if _is_told(s, &s.drawn[i]):
            n += s.drawn[i].limit.policy.len + s.drawn[i].limit.name.len + ITEM
    return n + NAMES if n != 0 else 0


cdef uint8_t *limit_fields_put(const stream_t *s, uint8_t *to) noexcept nogil:
    cdef const drawn_t *d
    cdef uint32_t told = 0
    cdef uint32_t i
    for i in range(s.n_drawn):
        d = &s.drawn[i]
        if not _is_told(s, d):
            continue
        to = put_bytes(to, b"ratelimit-policy: ", 18) if told == 0 else put_bytes(to, b", ", 2)
        to = put_span(to, d.limit.policy)
        told += 1
    if told == 0:
        return to
    to = put_bytes(to, b"\r\n", 2)
    told = 0
    for i in range(s.n_drawn):
        d = &s.drawn[i]
        if not _is_told(s, d):
            continue
        to = put_bytes(to, b"ratelimit: \"", 12) if told == 0 else put_bytes(to, b", \"", 3)
        to = put_span(to, d.limit.name)
        to = put_bytes(to, b"\";r=", 4)
        to = put_number(to, d.left)
        to = put_bytes(to, b";t=", 3)
        # Up: who waits for so long finds what was promised.
        to = put_number(to, (d.wait_ns + SECOND - 1) // SECOND)
        told += 1
    to = put_bytes(to, b"\r\n", 2)
    if s.retry_after_s != 0 and s.status >= 300:
        to = put_bytes(to, b"retry-after: ", 13)
        to = put_number(to, s.retry_after_s)
        to = put_bytes(to, b"\r\n", 2)
    if s.grpc_status != 0:
        to = put_bytes(to, b"grpc-status: ", 13)
        to = put_number(to, s.grpc_status)
        to = put_bytes(to, b"\r\ngrpc-message: rate limited\r\n", 30)
    return to


cdef uint8_t *_put_names(const limit_list_t *k, uint32_t bits, uint8_t *to, bint *is_first) noexcept nogil:
    cdef const rate_limit_t *l
    cdef uint32_t i
    for i in range(k.n):
        if not bits >> i & 1:
            continue
        l = k.limits[i]
        if not is_first[0]:
            to = put_bytes(to, b",", 1)
        is_first[0] = False
        to = put_span(to, l.name)
        if l.is_dry_run:
            to = put_bytes(to, b"=dry_run", 8)
    return to


cdef span_t limit_names(const stream_t *s, uint8_t *room) noexcept nogil:
    cdef uint8_t *to = room
    cdef bint is_first = True
    if s.listener.limit_list != 0:
        to = _put_names(&s.snap.limit_lists[s.listener.limit_list - 1], s.limited >> LIMITED_LISTENER & 0xFF, to,
                        &is_first)
    if s.route is not NULL and s.route.limit_list != 0:
        to = _put_names(&s.snap.limit_lists[s.route.limit_list - 1], s.limited >> LIMITED_ROUTE & 0xFF, to, &is_first)
    return span_of(room, <uint32_t>(to - room))
