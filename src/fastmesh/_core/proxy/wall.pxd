"""The time of day as text, made once a second."""
from libc.stdint cimport uint8_t, uint64_t
from fastmesh._core.proxy.mux cimport proxy_t

# "date: Mon, 23 Nov 2026 01:02:03 GMT\r\n", 37 bytes (RFC 9110 section 5.6.7).
cdef const char *proxy_date(proxy_t *p) noexcept nogil
# Writes "2026-11-23T01:02:03.456Z" for an instant in monotonic time; returns 24.
cdef int proxy_stamp(proxy_t *p, uint64_t at_ns, uint8_t *to) noexcept nogil
