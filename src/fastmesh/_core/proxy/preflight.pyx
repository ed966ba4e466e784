"""See preflight.pxd. By the Fetch standard ("CORS-preflight request")."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport msg_value
from fastmesh._core.mem.counter cimport G_CORS_PREFLIGHT, G_CORS_REFUSED
from fastmesh._core.mem.span cimport span_eq, span_of, span_t
from fastmesh._core.proxy.cors cimport cors_knows, cors_line
from fastmesh._core.proxy.emit cimport put_bytes, put_number
from fastmesh._core.proxy.local cimport local_answer, local_give
from fastmesh._core.proxy.mux cimport STEP_LOCAL, proxy_t
from fastmesh._core.route.asked_for cimport (
    asked_begin, asked_end, asked_is_list, asked_method, asked_origin, own_method_t)
from fastmesh._core.route.cors_rule cimport CORS_LIST_MAX, cors_rule_t
from fastmesh._core.route.decision cimport DECIDED_ROUTE, decide, decision_t

cdef enum:
    ASKED_MAX = 4096          # bytes of a list of headers that is given back as it was asked for
    OWN = 256                 # room for names and line ends

# One at a time: a worker has one thread.
cdef uint8_t lines[2 * CORS_LIST_MAX + OWN]


cdef bint _is_from_outside(const msg_t *m) noexcept nogil:
    """A page of the open network asks for what the browser found in a private one (Private Network Access)."""
    cdef int at = head_find(m, <const uint8_t *>b"access-control-request-private-network", 38, 0)
    return at >= 0 and span_eq(msg_value(m, at), span_of(<const uint8_t *>b"true", 4))


cdef span_t _granted(const cors_rule_t *r, const msg_t *m) noexcept nogil:
    cdef int at = head_find(m, <const uint8_t *>b"access-control-request-headers", 30, 0)
    cdef span_t headers = r.headers
    cdef uint8_t *to = lines
    if r.any_header:
        headers = msg_value(m, at) if at >= 0 else span_of(NULL, 0)
        if headers.len > ASKED_MAX or not asked_is_list(headers):
            headers = span_of(NULL, 0)
    to = cors_line(to, b"access-control-allow-methods", 28, asked_method(m) if r.any_method else r.methods)
    to = cors_line(to, b"access-control-allow-headers", 28, headers)
    to = put_bytes(to, b"access-control-max-age: ", 24)
    to = put_number(to, r.max_age_s)
    to = put_bytes(to, b"\r\n", 2)
    if r.allows_private and _is_from_outside(m):
        to = put_bytes(to, b"access-control-allow-private-network: true\r\n", 44)
    return span_of(lines, <uint32_t>(to - lines))


cdef void _answer(stream_t *s, msg_t *m) noexcept nogil:
    cdef proxy_t *p = s.proxy
    # What goes nowhere is not encoded, unless the log wants to tell of it.
    if s.snap.n_log_ops != 0:
        s.up_ops.prepare(s, m, span_of(NULL, 0))
    if not cors_knows(s, asked_origin(m)):
        p.stats.globals[G_CORS_REFUSED] += 1
        local_answer(s, 403, 0, b"cors_origin_refused", b"pages of this origin may not read the answers of the route")
        return
    p.stats.globals[G_CORS_PREFLIGHT] += 1
    s.details = b"cors_preflight"
    s.is_preflight = 1
    if s.account is not NULL:
        p.watch_ops.step(s, STEP_LOCAL, b"it is a preflight, of an origin that the route knows")
    local_give(s, 204, span_of(NULL, 0), _granted(&s.snap.cors_rules[s.route.cors - 1], m), span_of(NULL, 0))


cdef bint preflight_takes(stream_t *s, msg_t *m, const asker_t *who) noexcept nogil:
    cdef own_method_t own
    cdef decision_t d
    cdef bint is_taken
    if not asked_begin(m, &own):
        return False
    # It goes where the request would go that it asks about.
    decide(&s.listener.routes, m, who, s.proxy.path, &d)
    is_taken = d.how == DECIDED_ROUTE and d.route.cors != 0
    if is_taken and s.account is not NULL:
        s.proxy.watch_ops.routed(s, m, who, &d)
    asked_end(m, &own)
    if is_taken:
        s.route = d.route
        _answer(s, m)
    return is_taken
