"""Browsers ask before a page sends what could do harm: the proxy answers, by the rule of the route."""
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.proxy.mux cimport stream_t
from fastmesh._core.route.route_table cimport asker_t

# A request with the method OPTIONS. True: it is a preflight, which has been answered by the rule of the route that
# takes the request that it asks about; `s` may be gone.
cdef bint preflight_takes(stream_t *s, msg_t *m, const asker_t *who) noexcept nogil
