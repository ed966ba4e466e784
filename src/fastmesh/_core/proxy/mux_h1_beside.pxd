"""HTTP/1.1 towards the upstream, of attempts beside a stream's own one (hedge.pxd).

Only as far as the head of the answer: whether it is good is all that matters. A good one is read once more, by the
codec of the stream, whose connection it is then. Interim answers of such attempts go to nobody.
"""
from fastmesh._core.upstream.pool cimport pool_user_ops_t

cdef const pool_user_ops_t *mux_h1_beside_ops() noexcept nogil
