"""The rate limits on a request's way: those of its listener before everything else, those of its route once there is
one, and both before any filter that stands behind them in line.

A refused request takes nothing from any limit: what it has taken from those before is given back. A limit that only
runs dry is counted and logged, and refuses nobody.
"""
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport stream_t

# Both return False when the request was refused: it is answered, and the stream may be gone.
cdef bint limiting_at_listener(stream_t *s, msg_t *m) noexcept nogil
# `path`: the normal form; `is_odd`: servers read it in several ways.
cdef bint limiting_at_route(stream_t *s, msg_t *m, span_t path, bint is_odd) noexcept nogil
