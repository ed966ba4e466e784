"""Connections of clients, before the first byte."""
from fastmesh._core.proxy.mux cimport down_t

# Asks the filters of the listener. FILTER_GO, FILTER_HELD (door_admit follows), FILTER_OVER: closed.
cdef int entry_accept(down_t *d) noexcept nogil
# The client left while a filter waited.
cdef void entry_left(down_t *d) noexcept nogil
