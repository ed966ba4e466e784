"""Bodies between floor 8 and the pipes: pieces in, pieces out, room, ends, and whole bodies with their heads."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.filter.pipe cimport Pipe
from fastmesh._core.filter.view cimport Request, Response
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.proxy.mux cimport stream_t

# What the driver does for a body; set once.
ctypedef struct flow_up_t:
    int (*trailers)(Request r, bint is_out) noexcept       # asks the filters about its trailers: FILTER_*
    void (*refuse)(Request r, int stage) noexcept          # that filter has failed
    int (*answer)(Request r, Response given, int stage) noexcept

cdef flow_up_t flow_up
cdef void flow_begin() noexcept

# --- for filter_ops_t
cdef int flow_request_body(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil
cdef int flow_request_end(stream_t *s, msg_t *trailers) noexcept nogil
cdef void flow_request_room(stream_t *s) noexcept nogil
cdef int flow_answer_body(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil
cdef int flow_answer_end(stream_t *s, msg_t *trailers) noexcept nogil
cdef void flow_answer_room(stream_t *s) noexcept nogil
# --- for the driver
# The request's body begins to be read before its head is sent.
cdef void flow_say_continue(stream_t *s) noexcept
cdef bint flow_changes(Pipe pipe)
# Moves the path out of the worker's scratch into the head.
cdef void flow_keep_path(Request r) noexcept
# FILTER_GO: the answer's head may be put; FILTER_COLLECT: it waits for the body.
cdef int flow_begin_answer(Request r) noexcept
cdef void flow_put_head(Request r) noexcept
# What was on its way is nobody's any more, and whoever waits is cancelled.
cdef void flow_forget(Request r) noexcept
