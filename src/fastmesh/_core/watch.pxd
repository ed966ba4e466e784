"""Somebody waits for the next request of a kind, and is told all that becomes of it."""
from fastmesh._core.proxy.mux cimport proxy_t

# Who is waited for, beside a proxy: the accounts of its requests.
cdef class Watches:
    cdef proxy_t *p           # borrowed; NULL once the worker is closed
    cdef list waiting         # of Wanted
    cdef list told            # finished ones, for Python to take

cdef object watches_of(proxy_t *p)
