"""See take_outlier.pxd."""
from libc.stdint cimport uint32_t
from fastmesh._core.lb.settings cimport outlier_t
from fastmesh._core.snapshot.take cimport (
    take_duration, take_enter, take_leave, take_record, take_refuse, take_u32)
from fastmesh._core.snapshot.unpack cimport unpack_nil

cdef enum:
    U32_MAX = 4294967295
    MILLION = 1000000


cdef bint take_outlier(take_t *t, cluster_t *c) noexcept nogil:
    cdef outlier_t *o = &c.outlier
    cdef uint32_t rate = 0
    cdef uint32_t failures = 0
    cdef uint32_t latency = 0
    cdef uint32_t jitter = 0
    cdef uint32_t out = 0
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"outlier", 20):
        return False
    take_enter(t, b"outlier")
    if not (take_u32(t, b"server_errors", 0, U32_MAX, &o.server_errors) and
            take_u32(t, b"gateway_errors", 0, U32_MAX, &o.gateway_errors) and
            take_u32(t, b"connect_failures", 0, U32_MAX, &o.connect_failures) and
            take_u32(t, b"timeouts", 0, U32_MAX, &o.timeouts) and
            take_duration(t, b"interval", &o.interval_ns) and
            take_u32(t, b"rate_factor", 0, U32_MAX, &rate) and
            take_u32(t, b"rate_hosts", 0, U32_MAX, &o.rate_hosts) and
            take_u32(t, b"rate_requests", 0, U32_MAX, &o.rate_requests) and
            take_u32(t, b"failure_part", 0, MILLION, &failures) and
            take_u32(t, b"failure_hosts", 0, U32_MAX, &o.failure_hosts) and
            take_u32(t, b"failure_requests", 0, U32_MAX, &o.failure_requests) and
            take_u32(t, b"latency_factor", 0, U32_MAX, &latency) and
            take_duration(t, b"latency_least", &o.latency_least_ns) and
            take_u32(t, b"latency_requests", 0, U32_MAX, &o.latency_requests) and
            take_duration(t, b"base", &o.base_ns) and
            take_duration(t, b"most", &o.most_ns) and
            take_u32(t, b"jitter", 0, MILLION, &jitter) and
            take_u32(t, b"most_out", 0, MILLION, &out) and
            take_u32(t, b"enforce", 0, MILLION, &o.enforce) and
            take_duration(t, b"ramp", &o.ramp_ns)):
        return False
    if o.interval_ns == 0:
        return take_refuse(t, b"interval", b"found 0, must be at least 1")
    if o.base_ns == 0:
        return take_refuse(t, b"base", b"found 0, must be at least 1")
    o.rate_factor = rate / 1e3
    o.failure_part = failures / 1e6
    o.latency_factor = latency / 1e3
    o.jitter = jitter / 1e6
    o.most_out = out / 1e6
    o.is_on = 1
    take_leave(t)
    return True
