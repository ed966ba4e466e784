"""What the balancer of a cluster learns from an exchange.

Only called while `s.is_unheard`, and once for each time that the request was sent.
"""
from libc.stdint cimport uint64_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.proxy.mux cimport stream_t

# The head of an answer, `took_ns` after the request was sent.
cdef void outcome_of_answer(stream_t *s, const msg_t *m, uint64_t took_ns) noexcept nogil
# The upstream broke off, or said something that is not HTTP, before it answered; or an attempt took too long.
cdef void outcome_of_fault(stream_t *s) noexcept nogil
# The exchange ends without an answer: the time is over, or the client has left.
cdef void outcome_of_silence(stream_t *s, uint64_t now_ns) noexcept nogil
