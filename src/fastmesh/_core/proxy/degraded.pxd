"""How an answer says that it is not what was asked for: in a header, in the log, in the figures."""
from libc.stdint cimport uint8_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport stream_t

cdef enum:
    DEGRADED_TEXT = 384       # room for degraded_text
    DEGRADED_ROOM = DEGRADED_TEXT + 24      # for degraded_put: also the header's name and the line's end

# What answered and why: "stale; reason=timeout; age=12". Absent when it is what was asked for.
cdef span_t degraded_text(const stream_t *s, char *room) noexcept nogil
# The header line.
cdef uint8_t *degraded_put(const stream_t *s, uint8_t *to) noexcept nogil
# Counts and flags the answer, whose head is about to be put.
cdef void degraded_count(stream_t *s) noexcept nogil
