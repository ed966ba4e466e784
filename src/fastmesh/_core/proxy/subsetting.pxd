"""The subset of its cluster that a request is for."""
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.proxy.mux cimport stream_t

# Puts the subset in place of the stream's cluster, which has some. `m`: what was asked for; NULL = its headers are not
# here.
cdef void subsetting_enter(stream_t *s, const msg_t *m) noexcept nogil
