"""What becomes of a request at its endpoint: connected or not, answered or not; and whether there is another attempt.

Who decides: a filter (TAP_ERROR) that says something; else the request's own rule (stream_t.retry), which a filter has
set, or its route; else the settings of the cluster, which a route's rule leaves failed connects to. A further attempt
takes from the cluster's budget (resil/budget), but for those that the settings give after a failed connect: nothing was
sent, and the endpoint is left alone for a while. A connection that the endpoint had
closed while it was idle is replaced in any case, and is no attempt (docs/decisions/the-keep-alive-race.md).
"""
from libc.stdint cimport uint32_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.timer cimport timer_t
from fastmesh._core.proxy.mux cimport stream_t
from fastmesh._core.upstream.pool cimport pool_wait_t, up_t

# --- for the tables of a mux -------------------------------------------------------------------------------------
cdef void attempt_on_pool(pool_wait_t *w, up_t *up, int result, int err) noexcept nogil
cdef void attempt_on_timer(timer_t *t, void *owner) noexcept nogil
# The answer's head. FILTER_GO; FILTER_HELD: nothing more is to be read before up_ops.resume; FILTER_OVER: the
# connection is no longer this stream's, and the stream may be gone.
cdef int attempt_on_answer(stream_t *s, msg_t *m) noexcept nogil
# What came on a reused connection is most likely what the upstream tells a connection that was idle for too long. True:
# the request is on its way again, on another connection. False: it may not be repeated.
cdef bint attempt_on_stale(stream_t *s) noexcept nogil
# The upstream connection ended or broke before the answer was complete. `is_protocol`: what came was not HTTP.
cdef void attempt_on_fault(stream_t *s, bint is_protocol, const char *why) noexcept nogil
# Whether an answer ends the request while other attempts are under way: it is none that is tried again, nor an error of
# the upstream's.
cdef bint attempt_is_good(const stream_t *s, const msg_t *m) noexcept nogil
# --- for filters, who were asked --------------------------------------------------------------------------------
# Goes on after an attempt that brought no answer. `how`: FILTER_DEFAULT, FILTER_AGAIN, FILTER_GIVE_UP.
cdef void attempt_after_fault(stream_t *s, int how) noexcept nogil
# Whether there is another attempt, by what filters have decided; what it costs is taken from the budget. False: what
# there is of an answer is the answer, and why is counted and flagged.
cdef bint attempt_is_granted(stream_t *s, int how) noexcept nogil
# Goes on to the next attempt; what the last one has brought is dropped. `s` may be gone afterwards.
cdef void attempt_again(stream_t *s) noexcept nogil
