"""See routing.pxd."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.msg cimport FRAME_NONE, msg_span
from fastmesh._core.http.token cimport METHOD_CONNECT, METHOD_OPTIONS, METHOD_OTHER
from fastmesh._core.http.uri cimport URI_AMBIGUOUS, URI_READINGS, URI_SAME, uri_normalize, uri_read_again
from fastmesh._core.mem.counter cimport (
    FLAG_DPE, FLAG_NR, G_AMBIGUOUS_FIELD, G_AMBIGUOUS_PATH, G_BAD_REQUEST, G_NO_ROUTE, G_REQUESTS)
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.proxy.deadline cimport deadline_read
from fastmesh._core.proxy.limiting cimport limiting_at_listener, limiting_at_route
from fastmesh._core.proxy.mux cimport FILTER_GO, S_REQUEST_DONE, proxy_t
from fastmesh._core.proxy.stream cimport stream_answer, stream_go
from fastmesh._core.route.route_table cimport method_in_capitals, route_find, route_is_torn, route_t


cdef void routing_begin(stream_t *s, msg_t *m) noexcept nogil:
    cdef proxy_t *p = s.proxy
    s.method = m.method
    s.framing = m.framing
    s.received += m.len
    s.head_bytes = m.len
    if m.framing == FRAME_NONE:
        s.bits |= S_REQUEST_DONE
    p.stats.globals[G_REQUESTS] += 1
    s.down.row.requests += 1
    if m.method == METHOD_CONNECT:
        _remember(s, m)
        stream_answer(s, 405, FLAG_DPE, b"connect_not_supported",
                      b"CONNECT is not served here: this is not a forward proxy")
        return
    if s.listener.limit_list != 0 and not limiting_at_listener(s, m):
        return
    if p.filters is not NULL and s.listener.chain >= 0 and p.filters.request(s, &m) != FILTER_GO:
        return
    routing_go_on(s, m)


cdef void routing_go_on(stream_t *s, msg_t *m) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef span_t path
    cdef uint32_t n = 0
    cdef int rc, i
    cdef const route_t *route
    path = msg_span(m, m.path_off, m.path_len)
    rc = URI_SAME
    if path.len == 0:
        # An absolute form without a path: RFC 9112 section 3.2.4 for OPTIONS.
        path = span_of(b"*" if m.method == METHOD_OPTIONS and not m.query_has else b"/", 1)
    elif path.len == 1 and path.ptr[0] == 42:
        pass                         # "*", about the server as a whole: "/" as a prefix takes it, and "*" does
    else:
        rc = uri_normalize(path.ptr, path.len, p.path, &n)
        if rc < 0:
            p.stats.globals[G_BAD_REQUEST] += 1
            _remember(s, m)
            stream_answer(s, 400, FLAG_DPE, b"path_normalization_failed",
                          b"the path has a broken percent escape or an encoded NUL")
            return
        if rc != URI_SAME:
            path = span_of(p.path, n)
    route = route_find(&s.listener.routes, m, path)
    if rc == URI_AMBIGUOUS:
        # Servers disagree about %2F, "\" and ";": a rule must hold in all readings, or the request is refused.
        for i in range(1, URI_READINGS):
            n = uri_read_again(path.ptr, path.len, i, p.path + 65536)
            if n == 0 or route_find(&s.listener.routes, m, span_of(p.path + 65536, n)) is route:
                continue
            p.stats.globals[G_AMBIGUOUS_PATH] += 1
            _remember(s, m)
            stream_answer(s, 400, FLAG_DPE, b"path_ambiguous",
                          b"the path can be read in two ways (an encoded slash, a backslash, a parameter after ;) and "
                          b"another rule would hold in the other one")
            return
    if m.method == METHOD_OTHER and _is_torn_by_case(s, m, path, route):
        p.stats.globals[G_AMBIGUOUS_FIELD] += 1
        _remember(s, m)
        stream_answer(s, 400, FLAG_DPE, b"method_ambiguous",
                      b"the method is not in capitals, and another rule would hold if it were")
        return
    if route is NULL:
        p.stats.globals[G_NO_ROUTE] += 1
        _remember(s, m)
        stream_answer(s, 404, FLAG_NR, b"route_not_found", b"no route of this listener matches the request")
        return
    if route.n_headers != 0 and route_is_torn(route, m):
        p.stats.globals[G_AMBIGUOUS_FIELD] += 1
        _remember(s, m)
        stream_answer(s, 400, FLAG_DPE, b"field_ambiguous",
                      b"a header field that a rule asks for stands there with different values, or with _ for - in "
                      b"its name")
        return
    s.route = route
    s.timeout_ns = route.timeout_ns
    if s.listener.deadline_reads:
        deadline_read(s, m)
    if route.cluster >= 0:
        s.cluster = &s.snap.clusters[route.cluster]
    if route.limit_list != 0 and not limiting_at_route(s, m, path, rc == URI_AMBIGUOUS):
        return
    if rc == URI_SAME:
        path = span_of(NULL, 0)
    if p.filters is not NULL and (s.run is not NULL or route.chain >= 0 or
                                  (s.cluster is not NULL and s.cluster.chain >= 0)):
        if p.filters.routed(s, &m, &path) != FILTER_GO:
            return
    stream_go(s, m, path)


cdef void _remember(stream_t *s, msg_t *m) noexcept nogil:
    # What goes nowhere is not encoded, unless the log wants to tell of it.
    if s.snap.n_log_ops != 0:
        s.up_ops.prepare(s, m, span_of(NULL, 0))


cdef bint _is_torn_by_case(stream_t *s, msg_t *m, span_t path, const route_t *route) noexcept nogil:
    """Methods are case-sensitive (RFC 9110 section 9.1), and frameworks that forgive "delete" are many."""
    cdef int meant = method_in_capitals(msg_span(m, m.method_off, m.method_len))
    cdef bint is_torn
    if meant == METHOD_OTHER:
        return False
    m.method = <uint8_t>meant
    is_torn = route_find(&s.listener.routes, m, path) is not route
    m.method = METHOD_OTHER
    return is_torn
