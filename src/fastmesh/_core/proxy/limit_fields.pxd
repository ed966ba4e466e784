"""What a client and the log are told of rate limits: header lines of an answer, and names.

The lines are those of draft-ietf-httpapi-ratelimit-headers, the same that the filter RateLimitKey sends, and
Retry-After (RFC 9110 section 10.2.3).
"""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport stream_t

cdef enum:
    LIMIT_NAMES = 1024        # LIMITS_MAX names with what stands between them

# Bytes that limit_fields_put writes at most.
cdef uint32_t limit_fields_room(const stream_t *s) noexcept nogil
cdef uint8_t *limit_fields_put(const stream_t *s, uint8_t *to) noexcept nogil
# The limits that refused the request, or would have: "a,b=dry_run". `room` has LIMIT_NAMES bytes.
cdef span_t limit_names(const stream_t *s, uint8_t *room) noexcept nogil
