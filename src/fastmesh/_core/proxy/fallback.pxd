"""What becomes of a request that its cluster did not answer: the steps of its route's chain, one after the other.

A chain begins when all attempts are over, and never once an answer has begun. The failure that began it is kept: when
no step can answer, it is the answer. A cluster that a step names is given the request as any other: with its own
endpoints, budget and limits, and as many attempts as the route's rule says.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.http.token cimport method_is_idempotent
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport stream_t

# What the chain asks of the stream, which installs it: stream.pyx is above.
ctypedef struct fallback_up_t:
    void (*go)(stream_t *s) noexcept nogil                     # tries the cluster that is set; `s` may be gone
    void (*enter)(stream_t *s) noexcept nogil                  # counts it into its cluster
    void (*wait)(stream_t *s) noexcept nogil                   # its time-out begins anew
    bint (*refuses)(stream_t *s) noexcept nogil                # its cluster has too many: it has been dealt with
    void (*leave)(stream_t *s) noexcept nogil                  # stream_leave_endpoint
    void (*leave_cluster)(stream_t *s, int status, uint64_t now_ns) noexcept nogil
    # An answer of the proxy's own; `s` may be gone.
    void (*say)(stream_t *s, int status, const char *why) noexcept nogil
    void (*answer)(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil

cdef fallback_up_t fallback_up

# In place of a failure's answer; the upstream is given up already. True: it is dealt with, and `s` may be gone.
cdef bint fallback_takes(stream_t *s, int status, uint32_t flags, const char *details, const char *why) noexcept nogil
# In place of an upstream's answer, whose head this is. True: likewise, and its connection is dropped.
cdef bint fallback_replaces(stream_t *s, const msg_t *m) noexcept nogil
# The policy of a step, which was thinking, has an answer, or none. `s` may be gone afterwards.
cdef void fallback_on_answer(stream_t *s, bint has_answer) noexcept nogil
# The head of an answer is about to be put.
cdef void fallback_on_head(stream_t *s, const msg_t *m) noexcept nogil
# A rate limit of the route refuses the request before filters were asked: its chain may answer all the same. `path`:
# the normal form.
cdef void fallback_begin_early(stream_t *s, msg_t *m, span_t path) noexcept nogil


cdef inline bint fallback_keeps_body(const stream_t *s) noexcept nogil:
    """The request's body may be needed once more."""
    return s.fallback is not NULL and s.fallback.has_cluster and (
        s.fallback.non_idempotent or method_is_idempotent(s.method))
