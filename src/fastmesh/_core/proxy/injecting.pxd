"""The faults that a route puts into its requests, on the way to the first attempt."""
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport stream_t

# Draws what falls on this request, whose route has faults. True: it is delayed, and tried later. `path`: the normal
# form, absent when the head's own path is.
cdef bint injecting_holds(stream_t *s, const msg_t *m, span_t path) noexcept nogil
# Gives the answer in `injected`, in place of an attempt. `s` may be gone afterwards.
cdef void injecting_answers(stream_t *s) noexcept nogil
# It is over: those that count it as under way do so no more.
cdef void injecting_release(stream_t *s) noexcept nogil
