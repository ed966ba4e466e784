"""See injecting.pxd."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from fastmesh._core.http.msg cimport msg_span
from fastmesh._core.io.timer cimport timer_arm
from fastmesh._core.mem.counter cimport FLAG_DI, G_FAULT_DELAYED, G_FAULT_SLOWED
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.proxy.mux cimport S_PAUSED, proxy_t
from fastmesh._core.proxy.pacing cimport pacing_begin
from fastmesh._core.resil.injection cimport injection_draw


cdef bint injecting_holds(stream_t *s, const msg_t *m, span_t path) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef uint64_t delay_ns = 0
    cdef uint16_t status = 0
    cdef uint32_t bandwidth = 0
    if path.ptr is NULL:
        path = msg_span(m, m.path_off, m.path_len) if m.path_len != 0 else span_of(b"/", 1)
    injection_draw(&s.snap.injection_lists[s.route.injection_list - 1], m, path, &s.down.addr, &p.rng, &delay_ns,
                   &status, &bandwidth, &s.injected_by)
    s.injected = status
    if bandwidth != 0 and status == 0:
        p.stats.globals[G_FAULT_SLOWED] += 1
        s.flags |= FLAG_DI
        pacing_begin(s, bandwidth)
    if delay_ns == 0:
        return False
    p.stats.globals[G_FAULT_DELAYED] += 1
    s.flags |= FLAG_DI
    # As before an attempt that waits: the pause ends by try_timer.
    s.bits |= S_PAUSED
    timer_arm(&p.reactor.wheel, &s.try_timer, p.reactor.now_ns + delay_ns)
    return True
