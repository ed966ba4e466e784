"""Which filters take part in an exchange: decided in compiled code, before Python is entered."""
from libc.stdint cimport uint64_t
from fastmesh._core.filter.view cimport Request
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport stream_t

cdef enum:
    # stream_t.taps, above those of floor 8: an on_complete is to be called, or something waits that must be ended. Set
    # until the end, so that an exchange without either enters Python once less.
    TAP_COMPLETE = 1 << 16

# A bit per filter of the chain whose match and share take the request; `m` is NULL for TCP.
cdef uint64_t chain_wanted(stream_t *s, int chain, msg_t *m, span_t path) noexcept nogil
# The path that rules are compared with, perhaps in the worker's scratch.
cdef span_t path_of(stream_t *s, msg_t *m) noexcept nogil
# The exchange's Request, made when there is none.
cdef Request request_of(stream_t *s, msg_t *m)
# Adds the filters of a chain. The place of a quarantined one that fails closed, else -1.
cdef int enlist(Request r, int chain, uint64_t wanted) noexcept
# Says to floor 8 what it is to ask about from now on.
cdef void tap(Request r) noexcept
