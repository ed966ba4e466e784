"""How much of the machine this worker uses is looked at ten times a second, and what the level asks for is done."""
from libc.stdint cimport uint64_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.proxy.mux cimport proxy_t, stream_t
from fastmesh._core.resil.pressure cimport (
    LEVEL_BUSY, LEVEL_SHED_LOW, PRESSURE_LAG, PRIORITY_DEFAULT, PRIORITY_LOW, pressure_refuses)

cdef void overload_look(proxy_t *p) noexcept nogil
# A route and its cluster are chosen. False: the request is refused.
cdef bint overload_admits(stream_t *s, msg_t *m) noexcept nogil
# By its route, or by what a trusted client says in the header for that.
cdef void overload_rank(stream_t *s, const msg_t *m) noexcept nogil


cdef inline bint overload_refuses(const stream_t *s) noexcept nogil:
    """Of its priority, now."""
    return pressure_refuses(&s.proxy.pressure, s.priority)


cdef inline void overload_turn(proxy_t *p) noexcept nogil:
    """After each turn of the loop: whatever became ready since its beginning has waited for so long."""
    cdef uint64_t late
    if p.snap is NULL or not p.snap.pressure.is_on:
        return
    late = reactor_clock(p.reactor) - p.reactor.now_ns
    if late > p.pressure.lag_ns:
        p.pressure.lag_ns = late
    if p.reactor.now_ns >= p.pressure.look_ns:
        overload_look(p)


cdef inline bint overload_ends_connections(const proxy_t *p) noexcept nogil:
    """New connections make a loop that is late later still: it keeps those that it has."""
    return p.pressure.level >= LEVEL_BUSY and p.pressure.reason != PRESSURE_LAG
