"""What the balancer of a cluster learns from an exchange, and those who look for outliers.

Only called while `s.is_unheard`, and once for each time that the request was sent; or for a probe that came to
nothing.
"""
from libc.stdint cimport uint64_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.proxy.mux cimport stream_t
from fastmesh._core.proxy.relay cimport relay_t

# The head of an answer, `took_ns` after the request was sent.
cdef void outcome_of_answer(stream_t *s, const msg_t *m, uint64_t took_ns) noexcept nogil
# The upstream broke off, or said something that is not HTTP, before it answered; or an attempt took too long.
# `seen`: SEEN_* of resil/outlier.
cdef void outcome_of_fault(stream_t *s, int seen) noexcept nogil
# No connection came about.
cdef void outcome_of_connect(stream_t *s) noexcept nogil
# What a TCP connection was good for, once: `how` it ended, RELAY_*; or RELAY_STANDS. Of a client that leaves nothing is
# learned.
cdef void outcome_of_tunnel(stream_t *s, const relay_t *r, int how) noexcept nogil
# Another attempt of the same request was faster: it took at least so long, and that is all that is known.
cdef void outcome_of_cancel(stream_t *s, uint64_t now_ns) noexcept nogil
# The exchange ends without an answer: the time is over, or the client has left.
cdef void outcome_of_silence(stream_t *s, uint64_t now_ns) noexcept nogil
