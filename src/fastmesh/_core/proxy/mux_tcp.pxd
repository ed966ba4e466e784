"""TCP listeners: no codec; a connection is one stream of opaque bytes."""
from fastmesh._core.net.xprt cimport xprt_up_t
from fastmesh._core.proxy.mux cimport down_t

cdef const xprt_up_t *mux_tcp_events() noexcept nogil
cdef void mux_tcp_start(down_t *d) noexcept nogil
