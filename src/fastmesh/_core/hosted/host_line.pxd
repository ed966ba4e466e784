"""A filter host's end of the line to its worker."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef class Taker:
    """Who gets each message, as it came."""
    # Raises whatever it likes when that is none of the protocol.
    cdef int obey(self, const uint8_t *p, uint32_t n) except -1


cdef class Line:
    cdef readonly object is_over      # an asyncio.Event
    cdef readonly str why
    cdef object socket
    cdef int fd
    cdef object loop
    cdef object take          # called with each message, unpacked; None: `taker` has them
    cdef Taker taker
    cdef uint8_t *room        # what has come
    cdef uint32_t at          # and was obeyed so far
    cdef uint32_t used
    cdef list out
    cdef bytes rest           # that the worker has not taken
    cdef object readable, writable, flush, work      # bound once: the loop is told of them often
    cdef uint32_t turns
    cdef uint32_t misses
    cdef bint is_closed
    cdef bint is_reading
    cdef bint is_working
    cdef bint is_flush_due
    cdef bint _read(self) except -1
    cdef int _obey(self, const uint8_t *p, uint32_t n) except -1
    cdef int _pause(self, bint is_paused) except -1
