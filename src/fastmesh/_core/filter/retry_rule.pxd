"""What an author says about further attempts of a request, as authors write it and as the core reads it."""
from libc.stdint cimport uint32_t
from fastmesh._core.resil.retry cimport retry_t


cdef class Retry:
    cdef retry_t c            # streams point here: whoever sets it for one keeps the Retry
    cdef readonly int attempts
    cdef readonly frozenset on
    cdef readonly double backoff
    cdef readonly double backoff_max
    cdef readonly object per_try_timeout
    cdef readonly bint non_idempotent
    cdef readonly double retry_after_max
    cdef frozenset _conditions(self, on)
    cdef tuple _told(self)


# For requests that are tried once.
cdef const retry_t *retry_never() noexcept
# That of a route, as an author would write it; what answers it names by their fields is left out.
cdef Retry retry_of_route(const retry_t *r)
# As the settings of a cluster say by themselves: so many endpoints, no pause.
cdef Retry retry_by_settings(uint32_t connect_attempts)
