"""See decision.pxd."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.msg cimport msg_span, msg_t
from fastmesh._core.http.token cimport METHOD_OPTIONS, METHOD_OTHER
from fastmesh._core.http.uri cimport URI_AMBIGUOUS, URI_READINGS, URI_SAME, uri_normalize, uri_read_again
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.route.route_table cimport method_in_capitals, route_find, route_is_torn

# For those who tell people.
DECISIONS = {DECIDED_ROUTE: "route", DECIDED_NONE: "none", DECIDED_BAD_PATH: "bad path", DECIDED_TORN_PATH: "torn path",
             DECIDED_TORN_METHOD: "torn method", DECIDED_TORN_FIELD: "torn field"}


cdef bint is_torn_by_case(const route_table_t *t, msg_t *m, const asker_t *who, const decision_t *d) noexcept nogil:
    """Methods are case-sensitive (RFC 9110 section 9.1), and frameworks that forgive "delete" are many."""
    cdef int meant = method_in_capitals(msg_span(m, m.method_off, m.method_len))
    cdef bint is_torn
    if meant == METHOD_OTHER:
        return False
    m.method = <uint8_t>meant
    is_torn = route_find(t, m, d.path, who) is not d.route
    m.method = METHOD_OTHER
    return is_torn


cdef void decide(const route_table_t *t, msg_t *m, const asker_t *who, uint8_t *room, decision_t *d) noexcept nogil:
    cdef uint8_t *other = room + DECIDE_ROOM // 2
    cdef uint32_t n = 0
    cdef int form = URI_SAME
    cdef int i
    d.route = NULL
    d.is_ambiguous = False
    d.path = msg_span(m, m.path_off, m.path_len)
    if d.path.len == 0:
        # An absolute form without a path: RFC 9112 section 3.2.4 for OPTIONS.
        d.path = span_of(b"*" if m.method == METHOD_OPTIONS and not m.query_has else b"/", 1)
    elif d.path.len == 1 and d.path.ptr[0] == 42:
        pass                         # "*", about the server as a whole: "/" as a prefix takes it, and "*" does
    else:
        form = uri_normalize(d.path.ptr, d.path.len, room, &n)
        if form < 0:
            d.is_changed = False
            d.how = DECIDED_BAD_PATH
            return
        if form != URI_SAME:
            d.path = span_of(room, n)
    d.is_changed = form != URI_SAME
    d.is_ambiguous = form == URI_AMBIGUOUS
    d.route = route_find(t, m, d.path, who)
    if form == URI_AMBIGUOUS:
        # Servers disagree about %2F, "\" and ";": a rule must hold in all readings, or the request is refused.
        for i in range(1, URI_READINGS):
            n = uri_read_again(d.path.ptr, d.path.len, i, other)
            if n != 0 and route_find(t, m, span_of(other, n), who) is not d.route:
                d.how = DECIDED_TORN_PATH
                return
    if m.method == METHOD_OTHER and is_torn_by_case(t, m, who, d):
        d.how = DECIDED_TORN_METHOD
    elif d.route is NULL:
        d.how = DECIDED_NONE
    elif route_is_torn(d.route, m):
        d.how = DECIDED_TORN_FIELD
    else:
        d.how = DECIDED_ROUTE
