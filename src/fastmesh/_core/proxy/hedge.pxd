"""Attempts beside the first: a request whose answer does not come goes to another endpoint as well, and the first good
answer of all is the client's (docs/decisions/a-hedge-changes-places.md).

A stream has one attempt of its own, as ever, and with that its endpoint, its connection and its time-out. The others
are `sides` of its hedge. When the stream's own attempt fails, or a side has the answer, the side changes places with
it: from then on it is the stream's own, and everything else goes as without hedging. So a stream with a side under way
never answers a failure; only the last of its attempts comes to attempt.pyx.

Ownership: a stream owns its hedge until its answer is settled or it ends; a side owns its connection as a stream does.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.timer cimport timer_t
from fastmesh._core.lb.endpoint cimport endpoint_t
from fastmesh._core.proxy.mux cimport stream_t
from fastmesh._core.resil.hedge_rule cimport hedge_rule_t
from fastmesh._core.upstream.pool cimport pool_wait_t, up_t

cdef enum:
    SIDES_MOST = 3            # HEDGE_ATTEMPTS_MOST, but for the first

ctypedef struct hedge_t

ctypedef struct side_t:
    pool_wait_t wait          # first: the pool knows the side by it
    hedge_t *hedge
    up_t *up
    endpoint_t *endpoint      # NULL = it is not under way
    uint64_t began_ns
    uint64_t sent_ns
    timer_t timer             # time-out of this attempt
    uint8_t number            # as upstreams are told
    uint8_t is_waiting        # asked the pool for a connection
    uint8_t is_unheard        # these as in stream_t
    uint8_t is_probe

ctypedef struct hedge_t:
    stream_t *stream
    const hedge_rule_t *rule  # of the stream's snapshot
    timer_t timer             # the next one is due
    uint64_t began_ns         # of the stream's own attempt
    uint8_t n                 # under way
    uint8_t n_left            # that may still be begun
    uint8_t is_looked_at      # whether the request may be hedged at all is known
    uint8_t is_counted        # it may, and so its times count
    uint8_t own_is_side       # the stream's own attempt was begun as a side
    side_t sides[3]

# --- for streams -------------------------------------------------------------------------------------------------
# A route that hedges was chosen.
cdef void hedge_plan(stream_t *s, const hedge_rule_t *rule) noexcept nogil
# --- all others: while s.hedge is there ---
cdef bint hedge_is_told(const stream_t *s) noexcept nogil
# It may be sent twice, and its body is to be kept.
cdef bint hedge_may_repeat(const stream_t *s) noexcept nogil
# An attempt of the stream's own begins, or its request is complete.
cdef void hedge_arm(stream_t *s) noexcept nogil
# The stream is answered or ends: everything is given up.
cdef void hedge_drop(stream_t *s) noexcept nogil
# --- for attempts ------------------------------------------------------------------------------------------------
cdef bint hedge_has_side(const stream_t *s) noexcept nogil
# The stream's own attempt is gone. True: a side is its own now.
cdef bint hedge_goes_on(stream_t *s) noexcept nogil
# The stream's own attempt has taken as long as one may. True: it goes on nevertheless.
cdef bint hedge_keeps_waiting(stream_t *s) noexcept nogil
# The stream's own attempt has brought the answer: the others are given up.
cdef void hedge_settle(stream_t *s) noexcept nogil
# --- for the table of a mux --------------------------------------------------------------------------------------
cdef void hedge_on_pool(pool_wait_t *w, up_t *up, int result, int err) noexcept nogil
# The connection ended or broke, or what came was not HTTP; `is_stale`: most likely it had been idle for too long.
cdef void hedge_on_fault(side_t *k, bint is_protocol, bint is_stale) noexcept nogil
# An answer that is not good enough while others are under way.
cdef void hedge_on_bad_answer(side_t *k, const msg_t *m) noexcept nogil
# A good one: the side is the stream's own from now on, and its connection the stream's.
cdef void hedge_take_over(side_t *k) noexcept nogil
