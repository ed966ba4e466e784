"""The head of a request as another cluster is to get it, made of the one that the route's cluster got."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport stream_t
from fastmesh._core.resil.fallback_rule cimport step_t

# stream_wire_room, which the stream installs.
cdef uint8_t *(*fallback_head_room)(stream_t *s, uint32_t n) noexcept nogil
# The request as the route's cluster got it, within memory of the stream; empty when it is nowhere.
cdef span_t fallback_head_first(const stream_t *s) noexcept nogil
# Makes s.wire what the step says. False when that is larger than a head may be: then it is as it was.
cdef bint fallback_head_make(stream_t *s, const step_t *step) noexcept nogil
