"""See take_pressure.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf
from fastmesh._core.snapshot.take cimport (
    take_duration, take_enter, take_leave, take_record, take_refuse, take_text, take_u32, take_uint)
from fastmesh._core.snapshot.unpack cimport unpack_nil

cdef enum:
    NAME_MAX = 256
    MILLION = 1000000


cdef bint take_pressure(take_t *t, pressure_settings_t *p) noexcept nogil:
    cdef uint32_t retry_after_s = 0
    cdef uint32_t reset_at = 0
    cdef uint32_t i
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"overload", 5):
        return False
    take_enter(t, b"overload")
    if not (take_uint(t, b"memory", 0, <uint64_t>1 << 50, &p.memory) and take_duration(t, b"lag", &p.lag_ns) and
            take_u32(t, b"retry_after", 0, 86400, &retry_after_s) and
            take_text(t, b"header", 0, NAME_MAX, &p.header) and
            take_u32(t, b"reset_at", 0, MILLION, &reset_at)):
        return False
    for i in range(p.header.len):
        if 65 <= p.header.ptr[i] <= 90:
            return take_refuse(t, b"header", b"must be in lower case")
    # The field that callers of Envoy look for.
    p.fields_len = <uint32_t>snprintf(p.fields, sizeof(p.fields), b"x-envoy-overloaded: true\r\n")
    if retry_after_s != 0:
        p.fields_len += <uint32_t>snprintf(p.fields + p.fields_len, sizeof(p.fields) - p.fields_len,
                                           b"retry-after: %u\r\n", retry_after_s)
    p.reset_at = <double>reset_at / MILLION
    p.is_on = 1
    take_leave(t)
    return True
