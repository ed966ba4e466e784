"""The end of an exchange, as its filters see it."""
from fastmesh._core.proxy.mux cimport stream_t

# on_complete of all that have seen the request. Nothing of the exchange waits any more.
cdef void ending_complete(stream_t *s) noexcept nogil
# The exchange is gone: views of it are closed for good.
cdef void ending_release(stream_t *s) noexcept nogil
# The worker ends: on_complete phases that still wait are cancelled.
cdef void ending_close() noexcept
