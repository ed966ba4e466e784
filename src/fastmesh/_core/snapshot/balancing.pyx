"""See balancing.pxd."""
from libc.stdint cimport uint64_t
from fastmesh._core.lb.settings cimport lb_settings_init, lb_settings_t
from fastmesh._core.snapshot.take cimport take_duration, take_enter, take_leave, take_record
from fastmesh._core.snapshot.unpack cimport unpack_nil


cdef bint decode_ewma(take_t *t, lb_settings_t *s) noexcept nogil:
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"ewma", 4):
        return False
    take_enter(t, b"ewma")
    if not (take_duration(t, b"decay", &s.decay_ns) and take_duration(t, b"initial", &s.initial_ns) and
            take_duration(t, b"penalty", &s.penalty_ns) and take_duration(t, b"wait_max", &s.wait_max_ns)):
        return False
    take_leave(t)
    return True


cdef bint decode_balancing(take_t *t, cluster_t *c) noexcept nogil:
    lb_settings_init(&c.settings)
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"balancing", 1):
        return False
    take_enter(t, b"balancing")
    if not decode_ewma(t, &c.settings):
        return False
    take_leave(t)
    return True
