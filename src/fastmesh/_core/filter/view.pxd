"""An exchange as filters see it: one Request for all of its phases, open within them only.

The Request is also the filters' record of the exchange: which of them take part, where they stand, what they wait for
(drive.pyx). It holds the stream from its first filter to `release`, by a borrowed pointer that is NULL afterwards.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.filter.chain cimport Table, slot_t
from fastmesh._core.filter.facts cimport Connection, UpstreamError
from fastmesh._core.filter.headers cimport Headers, OwnHead, View
from fastmesh._core.filter.retry_rule cimport Retry
from fastmesh._core.filter.subset_asked cimport SubsetAsked
from fastmesh._core.filter.wait cimport Task
from fastmesh._core.http.edit cimport head_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport down_t, stream_t
from fastmesh._core.snapshot.snapshot cimport snapshot_t

cdef enum:
    # Request.steered
    STEERED_CLUSTER = 1
    STEERED_SUBSET = 2
    STEERED_TIMEOUT = 4
    STEERED_RETRY = 8


cdef class Request(View):
    cdef stream_t *s
    cdef head_t *h            # its own copy, made when somebody looks at it or it must be kept
    cdef msg_t *m             # the head now: in the worker's scratch, or of `h`; NULL for TCP
    cdef Table table
    cdef uint8_t n_stages
    cdef uint8_t n_listener   # of them, those of the listener stand first, then those of the route
    cdef uint8_t n_route
    cdef uint8_t depth        # phases that run now
    cdef uint8_t phase        # PHASE_*, for messages
    cdef bint is_sent         # the head is on its way
    cdef bint is_answer_sent
    cdef bint is_local        # the answer that filters see is the proxy's own
    cdef uint16_t stages[64]  # places in the table
    cdef uint64_t live        # a bit per stage that takes part
    cdef uint64_t entered     # and has seen the request
    cdef uint64_t skipped     # and is not asked any more
    cdef Response response
    cdef object _state
    cdef Labels _labels
    cdef Connection _connection
    cdef Task task_in         # of the request's direction
    cdef Task task_out
    cdef Task task_retry          # asked about another attempt, while `task_in` may wait in trailers of the request
    cdef uint64_t *spent      # ns per stage, owned; NULL unless the client has asked for Server-Timing
    cdef object pipe_in       # Pipe
    cdef object pipe_out
    cdef span_t path_normal   # while `routed` runs
    cdef uint64_t cluster_wanted  # of the filters of `cluster_of`, decided beforehand
    cdef void *cluster_of
    cdef UpstreamError _error     # while filters are asked about it
    cdef OwnHead _trailers_in     # of the request, until they go on; its filters may see them while the answer's
    cdef OwnHead _trailers_out    # come
    cdef object late              # of the ending: labels may come after it
    cdef Retry _retry             # that a filter has set: the stream points into it
    cdef Task task_degraded       # the policy of a fallback, which thinks about an answer
    cdef Response degraded        # what it has answered
    cdef const char *answered_by  # details of an answer that a filter has given; its slot's
    cdef SubsetAsked _subset      # that a filter has set: the stream points into it
    cdef uint8_t steered      # what a filter has set, and was not told of to who watches
    cdef stream_t *alive(self) except NULL
    cdef stream_t *goes(self, str what) except NULL
    cdef void touch(self) noexcept
    cdef str sent_id(self)
    cdef int read_again(self) except -1
    cdef slot_t *slot(self, int stage) noexcept
    cdef void count_time(self) noexcept
    cdef void spend(self, int stage, uint64_t ns) noexcept
    # Adds Server-Timing to an answer's head, if it was asked for.
    cdef void put_timing(self, head_t *h) noexcept


cdef class Response(View):
    cdef Request request      # whose answer it is on; None while it is a filter's own
    cdef head_t *h
    cdef msg_t *m
    cdef uint16_t code
    cdef bytes content        # None of the upstream's
    cdef bint is_own          # the proxy's, or a filter's
    cdef void touch(self) noexcept


cdef class Labels:
    cdef Request request
    cdef dict words
    cdef uint8_t *packed      # as the log reads it
    cdef uint32_t size
    cdef int put(self, name, value) except -1
    cdef int drop(self, name) except -1
    cdef int pack(self) except -1


cdef Response response_of(Request r, msg_t *m)
