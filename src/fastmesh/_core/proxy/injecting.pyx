"""See injecting.pxd."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdio cimport snprintf
from fastmesh._core.http.msg cimport FRAME_NONE, msg_span, msg_value
from fastmesh._core.http.token cimport HEADER_CONTENT_TYPE
from fastmesh._core.io.timer cimport timer_arm
from fastmesh._core.mem.counter cimport (
    FLAG_DI, FLAG_FI, G_FAULT_ABORTED, G_FAULT_DELAYED, G_FAULT_OVERFLOW, G_FAULT_SLOWED, G_FAULT_SLOWED_REQUESTS)
from fastmesh._core.mem.span cimport span_ieq, span_of
from fastmesh._core.proxy.hedge cimport hedge_drop
from fastmesh._core.proxy.local cimport local_answer, local_refuse_with
from fastmesh._core.proxy.mux cimport S_PAUSED, STEP_DELAYED, STEP_SLOWED, proxy_t
from fastmesh._core.proxy.pacing cimport pacing_begin
from fastmesh._core.proxy.pacing_up cimport pacing_up_begin
from fastmesh._core.resil.injection cimport injected_t, injection_draw, injection_release

cdef enum:
    GRPC_TYPE = 16            # bytes of "application/grpc"
    GRPC_LINES = 96
    SLOWED_TEXT = 64

cdef const char *WHY = b"the route answers so on purpose: it has a fault"


cdef inline bint _is_grpc(const msg_t *m) noexcept nogil:
    cdef span_t kind = msg_value(m, m.at[HEADER_CONTENT_TYPE])
    return kind.len >= GRPC_TYPE and span_ieq(span_of(kind.ptr, GRPC_TYPE), span_of(b"application/grpc", GRPC_TYPE))


cdef void _tell_slowed(stream_t *s, const char *body, uint32_t bandwidth) noexcept nogil:
    cdef char text[SLOWED_TEXT]
    if s.account is not NULL:
        snprintf(text, SLOWED_TEXT, b"the body of %s has %u bytes a second", body, bandwidth)
        s.proxy.watch_ops.beside(s, STEP_SLOWED, NULL, 0, text)


cdef bint injecting_holds(stream_t *s, const msg_t *m, span_t path) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef injected_t drawn
    if path.ptr is NULL:
        path = msg_span(m, m.path_off, m.path_len) if m.path_len != 0 else span_of(b"/", 1)
    injection_draw(&s.snap.injection_lists[s.route.injection_list - 1], m, path, &s.down.addr, s.down.is_trusted,
                   &p.rng, &drawn)
    s.faults_held = drawn.held
    p.stats.globals[G_FAULT_OVERFLOW] += drawn.overflow
    s.injected = drawn.status
    s.injected_by = drawn.details
    if drawn.grpc != 0 and _is_grpc(m):
        s.injected_grpc = drawn.grpc
    if drawn.bandwidth != 0 and drawn.status == 0:
        p.stats.globals[G_FAULT_SLOWED] += 1
        s.flags |= FLAG_DI
        pacing_begin(s, drawn.bandwidth)
        _tell_slowed(s, b"the answer", drawn.bandwidth)
    if drawn.bandwidth_up != 0 and drawn.status == 0 and s.framing != FRAME_NONE:
        p.stats.globals[G_FAULT_SLOWED_REQUESTS] += 1
        s.flags |= FLAG_DI
        # An attempt beside it would have the whole body at once.
        if s.hedge is not NULL:
            hedge_drop(s)
        pacing_up_begin(s, drawn.bandwidth_up)
        _tell_slowed(s, b"the request", drawn.bandwidth_up)
    if drawn.delay_ns == 0:
        return False
    p.stats.globals[G_FAULT_DELAYED] += 1
    s.flags |= FLAG_DI
    if s.account is not NULL:
        p.watch_ops.beside(s, STEP_DELAYED, NULL, drawn.delay_ns, NULL)
    # As before an attempt that waits: the pause ends by try_timer.
    s.bits |= S_PAUSED
    timer_arm(&p.reactor.wheel, &s.try_timer, p.reactor.now_ns + drawn.delay_ns)
    return True


cdef inline void _answer_grpc(stream_t *s) noexcept nogil:
    # A gRPC caller looks for a status of its own, which a proxy puts into the head of a good answer.
    cdef char lines[GRPC_LINES]
    cdef int n = snprintf(lines, GRPC_LINES, b"grpc-status: %u\r\ngrpc-message: fault injected\r\n",
                          <uint32_t>s.injected_grpc)
    local_refuse_with(s, 200, FLAG_FI, s.injected_by, span_of(b"application/grpc", GRPC_TYPE),
                      span_of(<const uint8_t *>lines, <uint32_t>n), span_of(b"", 0), WHY)


cdef void injecting_answers(stream_t *s) noexcept nogil:
    cdef int status = s.injected
    s.injected = 0
    s.proxy.stats.globals[G_FAULT_ABORTED] += 1
    if s.injected_grpc != 0:
        _answer_grpc(s)
    else:
        local_answer(s, status, FLAG_FI, s.injected_by, WHY)


cdef void injecting_release(stream_t *s) noexcept nogil:
    injection_release(&s.snap.injection_lists[s.route.injection_list - 1], s.faults_held)
    s.faults_held = 0
