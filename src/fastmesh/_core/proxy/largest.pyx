"""See largest.pxd."""
from libc.stdint cimport uint8_t
from fastmesh._core.mem.counter cimport FLAG_OM, G_OVERLOAD_RESET
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.proxy.down cimport down_reset
from fastmesh._core.proxy.local cimport local_turn_away
from fastmesh._core.proxy.mux cimport S_ANSWER_HEAD, S_LOCAL, S_TCP, stream_t
from fastmesh._core.proxy.pacing cimport pacing_held
from fastmesh._core.proxy.pacing_up cimport pacing_up_held
from fastmesh._core.proxy.relay cimport relay_t
from fastmesh._core.proxy.stream cimport stream_end


cdef uint64_t largest_held(const down_t *d) noexcept nogil:
    cdef const stream_t *s = d.stream
    cdef uint64_t n = <uint64_t>d.x.io.out_bytes + d.inbox.len
    if s is NULL:
        return n
    n += s.replay_len
    if s.wire_blk is not NULL:
        n += s.wire_cap
    if s.up is not NULL:
        n += <uint64_t>s.up.x.io.out_bytes + s.up.inbox.len
    if s.relay is not NULL:
        n += (<relay_t *>s.relay).lanes[0].held_len + (<relay_t *>s.relay).lanes[1].held_len
    if s.pace is not NULL:
        n += pacing_held(s)
    if s.pace_up is not NULL:
        n += pacing_up_held(s)
    return n


cdef void _reset(down_t *d) noexcept nogil:
    cdef stream_t *s = d.stream
    d.proxy.stats.globals[G_OVERLOAD_RESET] += 1
    if s is NULL:
        # All of an answer waits to be sent, and its exchange is over.
        down_reset(d)
        return
    if not s.bits & (S_ANSWER_HEAD | S_LOCAL | S_TCP):
        # Another cluster would be sent the same bytes.
        s.fallback = NULL
        local_turn_away(s, FLAG_OM, b"overload_reset",
                        span_of(<const uint8_t *>s.snap.pressure.fields, s.snap.pressure.fields_len),
                        b"this proxy has no memory left, and the request holds much of it")
        return
    s.flags |= FLAG_OM
    s.details = b"overload_reset"
    d.stream = NULL
    down_reset(d)
    stream_end(s)


cdef uint32_t largest_reset(proxy_t *p, uint64_t bytes) noexcept nogil:
    cdef down_t *found[LARGEST_MOST]
    cdef uint64_t held[LARGEST_MOST]
    cdef uint32_t n = 0
    cdef uint32_t reset = 0
    cdef uint64_t freed = 0
    cdef uint64_t size
    cdef uint32_t i
    cdef down_t *d = p.downs
    # Once over all connections, keeping the largest in order.
    while d is not NULL:
        size = largest_held(d) if not d.gone else 0
        if size >= LARGEST_LEAST and (n < LARGEST_MOST or size > held[n - 1]):
            if n < LARGEST_MOST:
                n += 1
            i = n - 1
            while i > 0 and held[i - 1] < size:
                held[i] = held[i - 1]
                found[i] = found[i - 1]
                i -= 1
            held[i] = size
            found[i] = d
        d = d.next
    for i in range(n):
        if freed >= bytes:
            break
        # What a filter does at the end of one may have ended another.
        if found[i].gone:
            continue
        freed += held[i]
        reset += 1
        _reset(found[i])
    return reset
