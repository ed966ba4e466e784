"""Deadlines that cross hops: how long the client still waits, as it says, and what of that is left for the upstream."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.proxy.mux cimport stream_t

cdef enum:
    DEADLINE_ROOM = 128       # bytes of head besides the length of the configured name

cdef extern from *:
    """
    #define FM_DEADLINE_NONE UINT64_MAX
    """
    const uint64_t DEADLINE_NONE "FM_DEADLINE_NONE"

# Sets deadline_ns from the smallest of what the head says.
cdef void deadline_read(stream_t *s, const msg_t *m) noexcept nogil
# Before the fields are copied: those that are written anew are dropped. Of a listener that sends one, or a request that
# has one.
cdef void deadline_take_fields(stream_t *s, msg_t *m) noexcept nogil
# Writes the fields with room for their values; the end of what was written.
cdef uint8_t *deadline_put(stream_t *s, uint8_t *to) noexcept nogil
# The head is about to leave, with some of the fields: the values, as of now.
cdef void deadline_tell(stream_t *s) noexcept nogil
# Nanoseconds that are left of the request's time, by whatever limit; DEADLINE_NONE when there is none.
cdef uint64_t deadline_left(const stream_t *s) noexcept nogil


cdef inline bint deadline_is_over(const stream_t *s) noexcept nogil:
    """Nobody waits for an answer any more."""
    return s.deadline_ns != 0 and s.proxy.reactor.now_ns >= s.deadline_ns
