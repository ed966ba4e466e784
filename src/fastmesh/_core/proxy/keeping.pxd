"""Copies of good answers, made while these pass: which of them, and which request may get one.

What is kept is what the client got: behind filters and what the route does to answers. By HTTP's rules (RFC 9111, RFC
5861), as far as the step does not say otherwise.
"""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport proxy_t, stream_t
from fastmesh._core.resil.fallback_rule cimport step_t
from fastmesh._core.resil.stale cimport copy_t

# The head of the answer is about to be put: begins a copy, if it is to be one; the chain has a step for copies.
cdef void keeping_begin(stream_t *s, const msg_t *m) noexcept nogil
# s.keeping is there.
cdef void keeping_body(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil
cdef void keeping_end(stream_t *s) noexcept nogil              # the answer was complete
cdef void keeping_drop(stream_t *s) noexcept nogil             # it was not
# The copy that may answer, and sets s.degraded_age_s; NULL when there is none.
cdef copy_t *keeping_find(stream_t *s, const step_t *step) noexcept nogil
# The parts of that answer, in memory that the next call uses again.
cdef void keeping_parts(const stream_t *s, const copy_t *c, span_t *content_type, span_t *fields,
                        span_t *body) noexcept nogil
# A snapshot is live: places of copies that it does not name are given up.
cdef void keeping_applied(proxy_t *p) noexcept nogil
cdef void keeping_close(proxy_t *p) noexcept nogil
