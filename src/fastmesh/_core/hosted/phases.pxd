"""The calls that a worker makes to the filters of a host: what each of them passes, from its begin to its reply."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from fastmesh._core.hosted.exchange cimport Call
from fastmesh._core.hosted.heard cimport heard_t
from fastmesh._core.hosted.host_line cimport Taker


cdef class PhaseCalls(Taker):
    """All calls that are under way. What few of them do is a subclass' (fastmesh.host.calls): streams, bodies and
    results in pieces, what is cancelled."""
    cdef public list filters          # Hosted
    cdef public object write          # puts bytes into the queue towards the worker
    cdef readonly dict running        # Call by its number, of those that have not been answered at once
    cdef readonly dict exchanges      # Request by its number
    cdef public object spares         # a Reserve
    cdef public object idle           # an asyncio.Event that was asked for: nothing is under way
    cdef uint64_t *pulse              # in which stands which filter runs
    cdef object pulse_view
    cdef uint64_t entries
    cdef int _begin(self, const uint8_t *p, uint32_t n, heard_t *h) except -1
    cdef object _called(self, Call call)
    cdef int enter(self, Call call) except -1
    cdef int finish(self, Call call, object result) except -1
    cdef int fail(self, Call call, BaseException error) except -1
    cdef int forget(self, Call call) except -1
    cdef int shut(self, Call call) except -1
    cdef int say(self, tuple message) except -1
    cdef int done(self, Call call, object told) except -1
