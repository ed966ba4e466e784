"""What filters are told of a connection, of a failed attempt, and of an end: values that stay as they are."""
from libc.stdint cimport uint64_t
from fastmesh._core.proxy.mux cimport down_t, stream_t


cdef class Connection:
    cdef down_t *d            # NULL once closed
    cdef str _peer
    cdef int _port
    cdef str _listener
    cdef uint64_t _id


cdef class UpstreamError:
    cdef str _reason
    cdef str _message
    cdef str _endpoint
    cdef int _attempt
    cdef bint _may_repeat


cdef class Failure:
    cdef str _reason
    cdef int _status
    cdef str _flags
    cdef str _details
    cdef str _message
    cdef str _cluster
    cdef str _endpoint
    cdef int _attempts


cdef class Outcome:
    cdef int _status
    cdef str _flags
    cdef str _details
    cdef double _duration
    cdef object _upstream_time
    cdef uint64_t _received
    cdef uint64_t _sent
    cdef object _endpoint


cdef Connection connection_of(down_t *d)
cdef UpstreamError error_of(stream_t *s, int fault, str endpoint)
# Of the failure that began the fallback of its route.
cdef Failure failure_of(stream_t *s)
cdef Outcome outcome_of(stream_t *s, uint64_t now_ns)
