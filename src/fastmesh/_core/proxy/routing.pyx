"""See routing.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.http.msg cimport FRAME_NONE
from fastmesh._core.http.token cimport METHOD_CONNECT, METHOD_OPTIONS
from fastmesh._core.mem.counter cimport (
    FLAG_DPE, FLAG_NR, G_AMBIGUOUS_FIELD, G_AMBIGUOUS_PATH, G_BAD_REQUEST, G_NO_ROUTE, G_REQUESTS)
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.proxy.cors cimport cors_meets
from fastmesh._core.proxy.deadline cimport deadline_read
from fastmesh._core.proxy.hedge cimport hedge_plan
from fastmesh._core.proxy.limiting cimport limiting_at_listener, limiting_at_route
from fastmesh._core.proxy.local cimport local_answer
from fastmesh._core.proxy.mux cimport FILTER_GO, S_REQUEST_DONE, proxy_t
from fastmesh._core.proxy.overload cimport (
    LEVEL_SHED_LOW, PRIORITY_DEFAULT, overload_admits, overload_rank, overload_refuses)
from fastmesh._core.proxy.preflight cimport preflight_takes
from fastmesh._core.proxy.stream cimport stream_go
from fastmesh._core.route.decision cimport (
    DECIDED_BAD_PATH, DECIDED_NONE, DECIDED_ROUTE, DECIDED_TORN_METHOD, DECIDED_TORN_PATH, decide, decision_t)
from fastmesh._core.route.route_table cimport asker_t, route_t
from fastmesh._core.route.route_split cimport split_part_t, split_pick


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
    if p.n_watches != 0:
        p.watch_ops.begun(s, m)
    if m.method == METHOD_CONNECT:
        _remember(s, m)
        local_answer(s, 405, FLAG_DPE, b"connect_not_supported",
                      b"CONNECT is not served here: this is not a forward proxy")
        return
    if s.listener.limit_list != 0 and not limiting_at_listener(s, m):
        return
    if p.filters is not NULL and s.listener.chain >= 0:
        if p.pressure.level >= LEVEL_SHED_LOW and _is_shed(s, m):
            return
        if p.filters.request(s, &m) != FILTER_GO:
            return
    routing_go_on(s, m)


cdef inline void _ask_as(stream_t *s, asker_t *who) noexcept nogil:
    """The draw is one for the whole request: whoever decides twice comes to the same."""
    if s.draw == 0 and s.listener.routes.has_shares:
        s.draw = rng_next(&s.proxy.rng) | 1
    who.addr = &s.down.addr
    who.draw = s.draw


cdef inline void _take_cluster(stream_t *s, const msg_t *m, const route_t *route) noexcept nogil:
    cdef const split_part_t *part
    cdef uint32_t subset = route.subset
    if route.split is not NULL:
        part = &route.split.parts[split_pick(route.split, m, rng_next(&s.proxy.rng))]
        s.cluster = &s.snap.clusters[part.cluster]
        subset = part.subset
    elif route.cluster >= 0:
        s.cluster = &s.snap.clusters[route.cluster]
    if subset != 0:
        s.subset = &s.snap.subset_rules[subset - 1]


cdef bint _is_shed(stream_t *s, msg_t *m) noexcept nogil:
    """Before filters of the listener work for it, by the route that takes it as it came. True: it is refused."""
    cdef proxy_t *p = s.proxy
    cdef decision_t d
    cdef asker_t who
    if s.listener.has_cors and m.method == METHOD_OPTIONS:
        # It may be a preflight, which goes by another route and costs no more than the refusal would.
        return False
    _ask_as(s, &who)
    decide(&s.listener.routes, m, &who, p.path, &d)
    if d.how != DECIDED_ROUTE or (d.route.split is NULL and d.route.cluster < 0):
        return False
    s.route = d.route
    overload_rank(s, m)
    if not overload_refuses(s):
        s.route = NULL
        s.priority = PRIORITY_DEFAULT
        return False
    if s.account is not NULL:
        p.watch_ops.routed(s, m, &who, &d)
    _take_cluster(s, m, d.route)
    return not overload_admits(s, m)


cdef void routing_go_on(stream_t *s, msg_t *m) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef decision_t d
    cdef asker_t who
    cdef span_t path
    _ask_as(s, &who)
    if s.listener.has_cors and m.method == METHOD_OPTIONS and preflight_takes(s, m, &who):
        return
    decide(&s.listener.routes, m, &who, p.path, &d)
    if s.account is not NULL:
        p.watch_ops.routed(s, m, &who, &d)
    if d.how != DECIDED_ROUTE:
        _refuse(s, m, d.how)
        return
    s.route = d.route
    s.timeout_ns = d.route.timeout_ns
    s.timeout_by = b"response_timeout{route}" if d.route.has_timeout else b"response_timeout{listener}"
    if d.route.cors != 0:
        cors_meets(s, m)
    if d.route.retry != 0:
        s.retry = &s.snap.retries[d.route.retry - 1]
    if d.route.hedge != 0:
        hedge_plan(s, &s.snap.hedges[d.route.hedge - 1])
    if s.listener.deadline_reads:
        deadline_read(s, m)
    _take_cluster(s, m, d.route)
    if s.cluster is not NULL:
        overload_rank(s, m)
        if p.pressure.level >= LEVEL_SHED_LOW and not overload_admits(s, m):
            return
    if d.route.limit_list != 0 and not limiting_at_route(s, m, d.path, d.is_ambiguous):
        return
    path = d.path if d.is_changed else span_of(NULL, 0)
    if p.filters is not NULL and (s.run is not NULL or d.route.chain >= 0 or
                                  (s.cluster is not NULL and s.cluster.chain >= 0)):
        if p.filters.routed(s, &m, &path) != FILTER_GO:
            return
    stream_go(s, m, path)


cdef void _refuse(stream_t *s, msg_t *m, int how) noexcept nogil:
    cdef uint64_t *counters = s.proxy.stats.globals
    _remember(s, m)
    if how == DECIDED_NONE:
        counters[G_NO_ROUTE] += 1
        local_answer(s, 404, FLAG_NR, b"route_not_found", b"no route of this listener matches the request")
    elif how == DECIDED_BAD_PATH:
        counters[G_BAD_REQUEST] += 1
        local_answer(s, 400, FLAG_DPE, b"path_normalization_failed",
                      b"the path has a broken percent escape or an encoded NUL")
    elif how == DECIDED_TORN_PATH:
        counters[G_AMBIGUOUS_PATH] += 1
        local_answer(s, 400, FLAG_DPE, b"path_ambiguous",
                      b"the path can be read in two ways (an encoded slash, a backslash, a parameter after ;) and "
                      b"another rule would hold in the other one")
    elif how == DECIDED_TORN_METHOD:
        counters[G_AMBIGUOUS_FIELD] += 1
        local_answer(s, 400, FLAG_DPE, b"method_ambiguous",
                      b"the method is not in capitals, and another rule would hold if it were")
    else:
        counters[G_AMBIGUOUS_FIELD] += 1
        local_answer(s, 400, FLAG_DPE, b"field_ambiguous",
                      b"a header field, parameter or cookie that a rule asks for stands there with different values, "
                      b"or can be read in two ways (_ for - in a name, ; for & in the query, quotes around a cookie)")


cdef void _remember(stream_t *s, msg_t *m) noexcept nogil:
    # What goes nowhere is not encoded, unless the log wants to tell of it.
    if s.snap.n_log_ops != 0:
        s.up_ops.prepare(s, m, span_of(NULL, 0))
