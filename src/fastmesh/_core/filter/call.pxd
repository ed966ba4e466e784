"""Requests that filters make through the mesh's clusters."""
from fastmesh._core.proxy.mux cimport proxy_t

cdef void calls_begin(proxy_t *p) noexcept
