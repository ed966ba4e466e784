"""The request as upstreams get it, read again by who needs a part of it late."""
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport stream_t

# In s.proxy.logged, until that is next used; NULL = it has not been encoded.
cdef msg_t *wire_head(const stream_t *s) noexcept nogil
# The same of another head of the stream.
cdef msg_t *wire_head_of(const stream_t *s, span_t head) noexcept nogil
