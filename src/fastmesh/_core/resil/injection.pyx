"""See injection.pxd."""
from libc.stdint cimport uint8_t
from libc.string cimport memset
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport msg_value
from fastmesh._core.mem.rng cimport rng_below
from fastmesh._core.route.route_table cimport asker_t, route_find

cdef enum:
    MILLISECOND = 1000000
    KIB = 1024
    DELAY_MOST_MS = 300000        # as long as a configuration may have it
    KIB_MOST = 1048576            # likewise, a second

# The HTTP status that says the same as one of gRPC, by Envoy's table.
cdef uint16_t[17] HTTP_OF_GRPC = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401]


cdef uint32_t _said(const msg_t *m, const char *name, uint32_t n, uint32_t least, uint32_t most) noexcept nogil:
    """The number in a field; 0 where it does not stand there, or is none in these bounds."""
    cdef int at = head_find(m, <const uint8_t *>name, n, 0)
    cdef uint64_t number = 0
    cdef span_t value
    cdef uint32_t i
    if at < 0:
        return 0
    value = msg_value(m, at)
    if value.len == 0 or value.len > 9:
        return 0
    for i in range(value.len):
        if not c'0' <= value.ptr[i] <= c'9':
            return 0
        number = number * 10 + (value.ptr[i] - c'0')
    return <uint32_t>number if least <= number <= most else 0


cdef bint _ask(const msg_t *m, injection_t *one) noexcept nogil:
    """Fills in what the request asks for, by Envoy's names. False: for nothing."""
    one.delay_ns = <uint64_t>_said(m, b"x-envoy-fault-delay-request", 27, 1, DELAY_MOST_MS) * MILLISECOND
    one.status = <uint16_t>_said(m, b"x-envoy-fault-abort-request", 27, 200, 599)
    one.grpc = <uint8_t>_said(m, b"x-envoy-fault-abort-grpc-request", 32, 1, 16) if one.status == 0 else 0
    one.bandwidth = _said(m, b"x-envoy-fault-throughput-response", 33, 1, KIB_MOST) * KIB
    return one.delay_ns != 0 or one.status != 0 or one.grpc != 0 or one.bandwidth != 0


cdef inline uint32_t _smaller(uint32_t a, uint32_t b) noexcept nogil:
    """Of two bandwidths, of which each may be absent."""
    return b if a == 0 or 0 < b < a else a


cdef void injection_draw(injection_list_t *k, const msg_t *m, span_t path, const addr_t *peer, bint is_trusted,
                         uint64_t *rng, injected_t *drawn) noexcept nogil:
    cdef injection_t *one
    cdef injection_t asked
    cdef asker_t who
    cdef uint32_t i
    who.addr = peer
    who.draw = 0              # the share of an injection is its own
    memset(drawn, 0, sizeof(injected_t))
    for i in range(k.n):
        one = &k.injections[i]
        if one.is_asked and not is_trusted:
            continue
        if one.match is not NULL and route_find(one.match, m, path, &who) is NULL:
            continue
        if one.share < INJECTION_SHARE_ALL and rng_below(rng, INJECTION_SHARE_ALL) >= one.share:
            continue
        if one.is_asked:
            asked = one[0]
            if not _ask(m, &asked):
                continue
        if one.most != 0:
            if one.active >= one.most:
                drawn.overflow += 1
                continue
            one.active += 1
            drawn.held |= <uint8_t>(1 << i)
        if one.is_asked:
            one = &asked
        if one.delay_ns > drawn.delay_ns:
            drawn.delay_ns = one.delay_ns
        if drawn.status == 0:
            drawn.details = one.details
            drawn.grpc = one.grpc
            drawn.status = HTTP_OF_GRPC[one.grpc] if one.grpc != 0 else one.status
        drawn.bandwidth = _smaller(drawn.bandwidth, one.bandwidth)
        drawn.bandwidth_up = _smaller(drawn.bandwidth_up, one.bandwidth_up)


cdef void injection_release(injection_list_t *k, uint32_t held) noexcept nogil:
    cdef uint32_t i
    for i in range(k.n):
        if held >> i & 1:
            k.injections[i].active -= 1
