"""See enlist.pxd."""
from cpython.ref cimport Py_INCREF
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.filter.chain cimport ON_ERROR_CLOSED, STAGES_MAX, Table, slot_is_bypassed, slot_t
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport FRAME_NONE, msg_span
from fastmesh._core.http.uri cimport URI_SAME, uri_normalize
from fastmesh._core.mem.counter cimport (
    PHASE_COMPLETE, PHASE_REQUEST_BODY, PHASE_REQUEST_TRAILERS, PHASE_RESPONSE, PHASE_RESPONSE_BODY,
    PHASE_RESPONSE_TRAILERS, PHASE_RETRY, PHASE_UPSTREAM_ERROR)
from fastmesh._core.mem.rng cimport rng_below
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.proxy.mux cimport (
    TAP_ERROR, TAP_REQUEST_BODY, TAP_REQUEST_TRAILERS, TAP_RESPONSE, TAP_RESPONSE_BODY, TAP_RESPONSE_TRAILERS,
    TAP_RETRY)
from fastmesh._core.route.route_table cimport asker_t, route_find
from fastmesh._core.snapshot.snapshot cimport filter_chain_t, filter_rule_t

# A trusted client that sends this field is told what each filter took, in Server-Timing.
cdef const char *ASKS = b"x-fastmesh-timing"


cdef inline bint _matches(const filter_rule_t *rule, stream_t *s, msg_t *m, span_t path) noexcept nogil:
    cdef asker_t who
    if rule.share < 1000000 and rng_below(&s.proxy.rng, 1000000) >= rule.share:
        return False
    if rule.match is NULL:
        return True
    who.addr = &s.down.addr
    who.draw = 0
    return m is not NULL and route_find(rule.match, m, path, &who) is not NULL


cdef uint64_t chain_wanted(stream_t *s, int chain, msg_t *m, span_t path) noexcept nogil:
    """A bit per filter of the chain that takes the request: decided before Python is entered."""
    cdef const filter_chain_t *k
    cdef uint64_t wanted = 0
    cdef uint32_t i
    if chain < 0:
        return 0
    k = &s.snap.chains[chain]
    for i in range(k.n):
        if _matches(&s.snap.rules[k.slots[i]], s, m, path):
            wanted |= <uint64_t>1 << i
    return wanted


cdef Request request_of(stream_t *s, msg_t *m):
    cdef Request r
    if s.run is not NULL:
        r = <Request>s.run
    else:
        r = Request.__new__(Request)
        r.table = <Table>s.snap.filters
        r.s = s
        Py_INCREF(r)
        s.run = <void *>r
        if m is not NULL and s.down.is_trusted and head_find(m, <const uint8_t *>ASKS, 17, 0) >= 0:
            r.count_time()
    if r.h is NULL:
        r.m = m
    return r


cdef int enlist(Request r, int chain, uint64_t wanted) noexcept:
    """Adds the filters of a chain. A quarantined one that fails closed is returned: its place, else -1."""
    cdef const filter_chain_t *k
    cdef uint64_t now = r.s.proxy.reactor.now_ns
    cdef slot_t *c
    cdef uint32_t i
    cdef int refused = -1
    if chain < 0:
        return -1
    k = &r.s.snap.chains[chain]
    for i in range(k.n):
        if r.n_stages >= STAGES_MAX:
            break
        c = r.table.c[k.slots[i]]
        if not wanted >> i & 1:
            if c.row is not NULL:
                c.row.skipped += 1
            continue
        if c.bypassed_until_ns and slot_is_bypassed(c, now):
            if c.on_error == ON_ERROR_CLOSED and refused < 0 and not c.is_shadow:
                refused = r.n_stages
            else:
                continue
        r.stages[r.n_stages] = k.slots[i]
        r.live |= <uint64_t>1 << r.n_stages
        r.n_stages += 1
        if c.phases >> PHASE_COMPLETE & 1:
            r.s.taps |= TAP_COMPLETE
    return refused


cdef void tap(Request r) noexcept:
    """What floor 8 is to ask about from now on."""
    cdef uint32_t phases = 0
    cdef uint32_t taps = r.s.taps & <uint32_t>TAP_COMPLETE
    cdef int i
    for i in range(r.n_stages):
        if (r.live & ~r.skipped) >> i & 1:
            phases |= r.slot(i).phases
    if phases >> PHASE_REQUEST_TRAILERS & 1:
        taps |= TAP_REQUEST_TRAILERS
    if phases >> PHASE_UPSTREAM_ERROR & 1:
        taps |= TAP_ERROR
    if phases >> PHASE_RETRY & 1:
        taps |= TAP_RETRY
    if phases >> PHASE_RESPONSE & 1 or r.spent is not NULL:
        taps |= TAP_RESPONSE
    if phases >> PHASE_RESPONSE_BODY & 1:
        taps |= TAP_RESPONSE_BODY
    if phases >> PHASE_RESPONSE_TRAILERS & 1:
        taps |= TAP_RESPONSE_TRAILERS
    if phases >> PHASE_REQUEST_BODY & 1 and r.m is not NULL and r.m.framing != FRAME_NONE:
        taps |= TAP_REQUEST_BODY
    r.s.taps = taps


cdef span_t path_of(stream_t *s, msg_t *m) noexcept nogil:
    """The path that rules are compared with; a broken one is compared as it is, and refused afterwards."""
    cdef uint32_t n = 0
    cdef span_t path = msg_span(m, m.path_off, m.path_len)
    cdef int rc
    if path.len == 0:
        return span_of(b"/", 1)
    rc = uri_normalize(path.ptr, path.len, s.proxy.path, &n)
    return path if rc < 0 or rc == URI_SAME else span_of(s.proxy.path, n)
