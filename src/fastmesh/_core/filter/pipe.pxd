"""A body on its way through the filters that see it.

Each filter is a stage with an inbox; what one gives goes into the next one's, and what the last one gives onto the
wire. A stage that waits for something stops those before it, and the sender. At most a piece of the body and what
filters made of it is held, or as much as `body_limit` where a filter wants the whole.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.filter.chain cimport slot_t
from fastmesh._core.filter.view cimport Request, Response
from fastmesh._core.filter.wait cimport Task, Wait

cdef enum:
    PIPE_MOVED = 0            # all that could be done is done
    PIPE_HELD = 1             # a filter waits
    PIPE_FAILED = 2           # `fault` is the stage of the request whose filter failed; its policy is "closed"
    PIPE_ANSWERED = 3         # `given` is an answer in place of the request; `fault` the stage that gave it
    PIPE_TOO_LARGE = 4        # more than `fault` collects


cdef class Stage(Task):
    cdef Pipe pipe
    cdef slot_t *c
    cdef int stage            # of the request
    cdef int kind
    cdef int place            # in the pipe
    cdef object inbox         # deque of bytes
    cdef object body          # async generator
    cdef Next hungry          # its generator waits for this
    cdef list kept            # pieces of a whole body
    cdef uint64_t kept_bytes
    cdef uint64_t begun_ns
    cdef bint is_calling      # what runs next is a call of the phase, not a coroutine that goes on
    cdef bint input_ended
    cdef bint has_ended
    cdef bint is_held
    cdef bint is_passing      # its filter is asked no more: what comes in goes out
    cdef bint has_taken       # its generator has taken something
    cdef object piece         # that is being worked on
    cdef bint is_last
    cdef bytes owed           # taken by a generator that changes no body, and not given yet; None is nothing
    cdef bint ready(self)
    cdef int advance(self) except -1
    cdef int _drive(self) except -1
    cdef int _stream(self) except -1
    cdef object taken(self)
    cdef int _yielded(self, object result) except -1
    cdef int _returned(self) except -1
    cdef object _call(self)
    cdef object _start(self)
    cdef int _take(self, object result) except -1
    cdef int _failed(self, BaseException error) except -1
    cdef int _end(self) except -1
    cdef int _give(self, object data) except -1
    cdef int go_on(self) noexcept


cdef class Next(Wait):
    cdef Stage stage


cdef class Pipe:
    cdef Request r
    cdef bint is_out          # of the answer
    cdef bint collects        # the head waits for the whole body
    cdef bint is_full         # the wire takes no more
    cdef bint is_running
    cdef bint has_ended       # the end was given to the wire
    cdef bint is_done         # or to the filters that see trailers: no stage that moves later gives it again
    cdef bint input_ended
    cdef list stages
    cdef list collected       # bytes, while `collects`
    cdef uint64_t collected_bytes
    cdef int fault
    cdef Response given
    cdef int run(self) except -1
    cdef push(self, int place, object data)
    cdef push_end(self, int place)
    cdef feed(self, bytes data)
    cdef finish(self)
    cdef void cancel(self) noexcept


# A pipe over those stages of a request that have the phase, in order of the direction; None when there is none.
cdef Pipe pipe_new(Request r, bint is_out)
# Set by the driver: bytes onto the wire (True: it takes no more), the end, and what to do when a stage has moved by
# itself.
cdef bint (*pipe_put)(Pipe pipe, bytes data) noexcept
cdef void (*pipe_moved)(Pipe pipe, int how) noexcept
