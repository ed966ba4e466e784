"""See limiting.pxd."""
from libc.stdint cimport uint32_t
from libc.string cimport memset
from fastmesh._core.http.msg cimport FIELD_DROP, msg_span, msg_value
from fastmesh._core.http.token cimport HEADER_CONTENT_TYPE, HEADER_X_FORWARDED_FOR, METHOD_OPTIONS
from fastmesh._core.http.uri cimport URI_AMBIGUOUS, URI_SAME, uri_normalize
from fastmesh._core.mem.counter cimport FLAG_RL
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.span cimport span_ieq, span_of, span_t
from fastmesh._core.net.addr cimport addr_parse_ip, addr_t
from fastmesh._core.proxy.fallback cimport fallback_begin_early
from fastmesh._core.proxy.local cimport local_answer, local_refuse
from fastmesh._core.proxy.mux cimport LIMITED_LISTENER, LIMITED_ROUTE, proxy_t
from fastmesh._core.resil.limit_key cimport caller_t
from fastmesh._core.resil.rate_limit cimport (
    LIMIT_PASSED, LIMIT_REFUSED, LIMITS_MAX, drawn_t, limit_list_t, rate_limit_ask, rate_limit_t)

cdef enum:
    SECOND = 1000000000
    GRPC_RESOURCE_EXHAUSTED = 8
    GRPC_TYPE = 16            # bytes of "application/grpc"


cdef bint _forwarded_for(const msg_t *m, addr_t *client) noexcept nogil:
    """The last address of the list, which is the one that the neighbour has added."""
    cdef span_t list_ = span_of(NULL, 0)
    cdef uint32_t at
    cdef int i
    if m.at[HEADER_X_FORWARDED_FOR] < 0:
        return False
    for i in range(m.n_fields):
        if m.fields[i].id == HEADER_X_FORWARDED_FOR and not m.fields[i].bits & FIELD_DROP:
            list_ = msg_value(m, i)
    if list_.len == 0:
        return False
    at = list_.len
    while at > 0 and list_.ptr[at - 1] != c',' and list_.ptr[at - 1] != c' ' and list_.ptr[at - 1] != c'\t':
        at -= 1
    return addr_parse_ip(client, list_.ptr + at, list_.len - at) == FM_OK


cdef void _begin(caller_t *a, stream_t *s, msg_t *m, addr_t *client) noexcept nogil:
    memset(a, 0, sizeof(caller_t))
    a.m = m
    a.client = &s.down.addr
    a.peer = &s.down.addr
    if s.down.is_trusted and _forwarded_for(m, client):
        a.client = client
    a.listener = s.listener.name
    a.labels = s.labels
    a.labels_len = s.labels_len


cdef inline bint _is_grpc(const msg_t *m) noexcept nogil:
    cdef span_t kind = msg_value(m, m.at[HEADER_CONTENT_TYPE])
    return kind.len >= GRPC_TYPE and span_ieq(span_of(kind.ptr, GRPC_TYPE), span_of(b"application/grpc", GRPC_TYPE))


cdef void _refuse(stream_t *s, msg_t *m, span_t path, const drawn_t *refusal) noexcept nogil:
    cdef const rate_limit_t *l = refusal.limit
    cdef uint32_t i
    for i in range(s.n_drawn):
        s.drawn[i].limit.ops.give_back(s.drawn[i].limit, s.drawn[i].key)
    s.drawn[0] = refusal[0]
    s.n_drawn = 1
    s.retry_after_s = <uint32_t>((refusal.wait_ns + SECOND - 1) // SECOND)
    # What goes nowhere is not encoded, unless the log wants to tell of it.
    if s.route is not NULL and s.route.fallback != 0 and s.cluster is not NULL:
        fallback_begin_early(s, m, path)
    elif s.snap.n_log_ops != 0:
        s.up_ops.prepare(s, m, span_of(NULL, 0))
    if _is_grpc(m):
        # A gRPC caller looks for a status of its own, which a proxy puts into the head of a good answer.
        s.grpc_status = GRPC_RESOURCE_EXHAUSTED
        local_refuse(s, 200, FLAG_RL, l.details, msg_value(m, m.at[HEADER_CONTENT_TYPE]), span_of(b"", 0), l.why)
    else:
        local_answer(s, l.status, FLAG_RL, l.details, l.why)


cdef bint _ask(stream_t *s, msg_t *m, const limit_list_t *k, const caller_t *a, uint32_t first_bit) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef const rate_limit_t *l
    cdef drawn_t d
    cdef uint32_t i
    cdef int how
    for i in range(k.n):
        l = k.limits[i]
        how = rate_limit_ask(l, a, &p.stats.limits[l.row], &p.rng, &d)
        if how == LIMIT_PASSED and s.n_drawn < LIMITS_MAX:
            s.drawn[s.n_drawn] = d
            s.n_drawn += 1
        elif how == LIMIT_REFUSED:
            s.limited |= <uint32_t>1 << (first_bit + i)
            if not l.is_dry_run:
                _refuse(s, m, a.path, &d)
                return False
    return True


cdef bint limiting_at_listener(stream_t *s, msg_t *m) noexcept nogil:
    cdef const limit_list_t *k = &s.snap.limit_lists[s.listener.limit_list - 1]
    cdef caller_t a
    cdef addr_t client
    cdef uint32_t n = 0
    cdef int rc
    _begin(&a, s, m, &client)
    if k.needs_path:
        a.path = msg_span(m, m.path_off, m.path_len)
        if a.path.len == 0:
            a.path = span_of(b"*" if m.method == METHOD_OPTIONS and not m.query_has else b"/", 1)
        elif a.path.ptr[0] == c'/':
            rc = uri_normalize(a.path.ptr, a.path.len, s.proxy.path, &n)
            a.is_path_odd = rc < 0 or rc == URI_AMBIGUOUS
            if rc < 0:
                # It is refused by routing.
                a.path = span_of(b"/", 1)
            elif rc != URI_SAME:
                a.path = span_of(s.proxy.path, n)
    return _ask(s, m, k, &a, LIMITED_LISTENER)


cdef bint limiting_at_route(stream_t *s, msg_t *m, span_t path, bint is_odd) noexcept nogil:
    cdef caller_t a
    cdef addr_t client
    _begin(&a, s, m, &client)
    a.path = path
    a.is_path_odd = is_odd
    a.route = s.route.name
    return _ask(s, m, &s.snap.limit_lists[s.route.limit_list - 1], &a, LIMITED_ROUTE)
