"""HTTP/1.x towards clients: requests in, in order; answers out, in the same order (RFC 9112)."""
from fastmesh._core.net.xprt cimport xprt_up_t
from fastmesh._core.proxy.mux cimport down_t

cdef const xprt_up_t *mux_h1_down_events() noexcept nogil
# A connection was accepted: begins to read.
cdef void mux_h1_down_start(down_t *d) noexcept nogil
# The worker drains: closes the connection if it is idle for longer than it may.
cdef void mux_h1_down_drain(down_t *d) noexcept nogil
