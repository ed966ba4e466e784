"""When a request is sent a second time while it waits for its answer, and what that may cost.

Plain and constant, part of a snapshot; what a cluster has seen of it (hedging_t) is the worker's, and outlives
snapshots.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.recent cimport recent_quantile, recent_t
from fastmesh._core.mem.window cimport window_t

cdef enum:
    HEDGE_ATTEMPTS_MOST = 4   # under way at a time, the first one counted
    HEDGE_PART_ALL = 1000000

ctypedef struct hedge_rule_t:
    uint64_t delay_ns         # without a head of an answer for so long; 0 = as `part` says
    uint64_t least_ns         # with `part`: never sooner
    uint32_t part             # of the cluster's recent times, in millionths: the delay is what so many took at most
    uint32_t share            # budget: what resil/budget takes
    uint32_t rate
    uint8_t attempts          # in all, the first one counted: 2 to HEDGE_ATTEMPTS_MOST
    uint8_t on_try_timeout    # in place of a delay: when an attempt has taken as long as one may
    uint8_t non_idempotent    # whatever the method is
    uint8_t is_told           # upstreams are told which attempt it is: proxy/attempt_mark

ctypedef struct hedging_t:
    window_t budget
    recent_t times            # from the choice of an endpoint to the head of its answer, at least


cdef inline uint64_t hedge_delay(const hedge_rule_t *r, hedging_t *seen, uint64_t now_ns) noexcept nogil:
    """Nanoseconds until the next attempt beside the first; 0 = it is not known yet."""
    cdef uint64_t delay
    if r.part == 0:
        return r.delay_ns
    delay = recent_quantile(&seen.times, r.part, now_ns)
    if delay == 0:
        return 0
    return delay if delay > r.least_ns else r.least_ns
