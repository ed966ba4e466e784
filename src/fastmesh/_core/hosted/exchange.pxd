"""An exchange in a filter host: what of it has come, and the phases that run."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from fastmesh._core.hosted.fields cimport Headers, Owner
from fastmesh._core.hosted.heard cimport heard_t

cdef enum:
    # Numbers of phases, as in fastmesh.filters.protocol.
    ON_CONNECTION = 0
    ON_REQUEST = 1
    ON_ROUTE = 2
    ON_REQUEST_CHUNK = 3
    ON_REQUEST_BODY = 4
    ON_REQUEST_STREAM = 5
    ON_REQUEST_TRAILERS = 6
    ON_UPSTREAM_ERROR = 7
    ON_RETRY = 8
    ON_RESPONSE = 9
    ON_RESPONSE_CHUNK = 10
    ON_RESPONSE_BODY = 11
    ON_RESPONSE_STREAM = 12
    ON_RESPONSE_TRAILERS = 13
    ON_COMPLETE = 14
    ANSWER = 15
    N_PHASES = 16


cdef class Hosted:
    """A filter and its phases."""
    cdef readonly object instance
    cdef readonly dict calls
    cdef readonly double timeout      # seconds of a call
    cdef list by_number       # bound methods; None


cdef class Call:
    """One phase of one filter for one exchange."""
    cdef readonly uint64_t number
    cdef readonly Request request
    cdef readonly Hosted filter
    cdef readonly int place           # of its filter, from 1 on
    cdef int phase_number
    cdef public object argument
    cdef public list edits            # (which, on what, name, value); None
    cdef public int64_t cpu_ns
    cdef public double due            # when its task should have come to its end
    cdef public bint has_begun        # the task
    cdef bint is_open         # the views are
    cdef bint is_measured     # its processor time is taken
    cdef public object task
    cdef public object coroutine      # of the task
    cdef public object turn           # of a stream: a future of what the worker says next
    cdef public list pieces           # of a whole body that comes in pieces
    cdef public object outbox         # what was made and is taken piece by piece
    cdef public object last           # what is told behind them
    cdef Call below           # that was begun before this one, and runs still
    cdef int edit(self, int which, int target, object name, object value) except -1


cdef class Request(Owner):
    cdef object __weakref__
    cdef Call top             # of the phases that run, the one begun last
    cdef readonly Response response
    cdef bint is_kept         # until the worker says that it is over; else it has one call
    cdef bint is_over
    # As they came last, and what was made of them so far.
    cdef bytes head_message
    cdef heard_t head_came
    cdef bint has_head
    cdef list head_made
    cdef Headers headers_made
    cdef object connection_made
    cdef bytes facts_message
    cdef heard_t facts_came
    cdef uint64_t facts_at_ns
    cdef object route_name, cluster_name, limit, rule, endpoint_name, asked_subset
    cdef uint64_t n_attempts
    cdef double since
    cdef object words         # Labels
    cdef dict kept            # `state`
    cdef int heard(self, bytes message, heard_t *h, uint64_t now_ns) except -1
    cdef int open(self, Call call) except -1
    cdef int shut(self, Call call) except -1
    cdef int end(self) except -1
    cdef int part(self) except -1
    cdef Call alive(self)
    cdef list head(self)
    cdef int learn(self) except -1
    cdef Call phase_of(self, uint32_t phases, str why_not)
    cdef Call _edited(self)
    cdef Call _steered(self, str what)
    cdef int _moved(self, object cluster) except -1


cdef class Response(Owner):
    cdef Request request
    cdef bint own
    cdef object content
    cdef int code
    cdef Headers fields
    cdef int parted(self) except -1


cdef class Trailers(Owner):
    cdef Call call


cdef Response response_heard(Request request, bytes message, heard_t *h)
