"""Which connections hold most of this worker's memory, and their end when it runs out.

Counted is what waits in the connection and its exchange: bytes that the client or the upstream does not take, and
what is kept to be sent again. What filters have collected is theirs, and not known here.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.proxy.mux cimport down_t, proxy_t

cdef enum:
    LARGEST_MOST = 16         # connections reset at a look
    LARGEST_LEAST = 65536     # bytes that one holds at least: who holds less would give nothing back

cdef uint64_t largest_held(const down_t *d) noexcept nogil
# Resets the largest, one after another, until `bytes` are free. How many; exchanges may be gone afterwards.
cdef uint32_t largest_reset(proxy_t *p, uint64_t bytes) noexcept nogil
