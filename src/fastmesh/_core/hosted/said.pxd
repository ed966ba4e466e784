"""What a filter host says to its worker: msgpack, into memory that grows."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    SAID_ROOM = 512           # bytes that most messages are content with


cdef struct said_t:
    uint8_t *p                # `room`, or more, from Python's allocator
    uint32_t used
    uint32_t size
    uint8_t room[SAID_ROOM]


cdef inline void said_begin(said_t *s) noexcept nogil:
    s.p = s.room
    s.used = 0
    s.size = SAID_ROOM


cdef void said_end(said_t *s) noexcept
cdef int said_array(said_t *s, uint32_t n) except -1
cdef int said_uint(said_t *s, uint64_t value) except -1
# Raises what msgpack raises for what cannot travel.
cdef int said_value(said_t *s, object value) except -1
