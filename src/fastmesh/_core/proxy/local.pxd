"""Answers of the proxy's own, in place of an upstream's."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.proxy.mux cimport stream_t

# Each gives the upstream up. Where an answer has begun it is cut. `s` may be gone afterwards.
# `why` is a sentence for people, shown when the listener allows plain answers; `details` goes to the log, has static
# storage, or lives as long as the snapshot.
cdef void local_answer(stream_t *s, int status, uint32_t flags, const char *details, const char *why) noexcept nogil
# Nobody of its cluster can be asked, or not any more.
cdef void local_no_endpoint(stream_t *s) noexcept nogil
# With a body of its own.
cdef void local_refuse(stream_t *s, int status, uint32_t flags, const char *details, span_t content_type,
                       span_t body, const char *why) noexcept nogil
# With header lines, which are read before it returns, unless filters hold the answer: then they are copied.
cdef void local_refuse_with(stream_t *s, int status, uint32_t flags, const char *details, span_t content_type,
                            span_t fields, span_t body, const char *why) noexcept nogil
# 503, with header lines of its own, which live as long as the snapshot.
cdef void local_turn_away(stream_t *s, uint32_t flags, const char *details, span_t fields,
                          const char *why) noexcept nogil
# An answer that a filter has made.
cdef void local_answer_with(stream_t *s, int status, uint32_t flags, const char *details, span_t content_type,
                            span_t fields, span_t body) noexcept nogil
# The upstream is given up already: filters are asked, unless they have seen it.
cdef void local_give(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil
cdef void local_say(stream_t *s, int status, const char *why) noexcept nogil
# What filters go on with.
cdef void local_put(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil


cdef inline span_t local_overloaded() noexcept nogil:
    """The field that callers of Envoy look for: no instance has failed, trying again at once makes it worse."""
    return span_of(<const uint8_t *>b"x-envoy-overloaded: true\r\n", 26)
