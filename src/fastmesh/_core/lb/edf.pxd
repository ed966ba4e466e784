"""Weighted turns: an earliest-deadline-first schedule over the endpoints of a cluster.

Each endpoint comes up every 1/weight of virtual time, so that turns interleave instead of
bursting: weights 3 and 1 give a a b a, not a a a b. First deadlines are spread by the golden
ratio, which also spaces the light endpoints between the turns of a heavy one.

Turns are kept in a calendar (Brown 1988): virtual time is cut into days of about one turn each,
and a day has a list of the turns that are due. So the next one is found, and put down for
another day, in a time that does not grow with their number, where a heap has its depth. A year
has as many days as there are endpoints; those that are due in a later one wait in the same lists.

Endpoints that are avoided leave the calendar and are parked, so that an outage costs a pick
nothing; one of them is looked at per pick, which finds those whose avoidance has ended.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.lb.endpoint cimport endpoint_t, endpoint_live_t
from fastmesh._core.lb.cluster cimport cluster_t

ctypedef struct turn_t:
    uint64_t deadline
    uint64_t stride           # virtual time between two turns; 0 = its weight is 0, it has none
    uint32_t next             # slot + 1 of another turn in the same list; 0 = the last
    uint32_t is_parked        # it is not in the calendar

ctypedef struct edf_t:
    turn_t *turns             # by slot, the index into the endpoints; owned
    uint32_t *days            # lists: slot + 1 of the first turn, 0 = none; owned
    uint64_t *filled          # a bit for each list that is not empty; owned
    uint32_t *parked          # slots; owned
    uint32_t slots            # endpoints
    uint32_t n                # of those, that have turns
    uint32_t n_in             # in the calendar
    uint32_t n_parked
    uint32_t cursor           # which parked one is looked at next
    uint32_t is_started       # the first pick sets the phase, from its rng
    uint32_t mask             # days of a year, less one
    uint32_t shift            # of a deadline to its day
    uint64_t day              # nothing is due before
    uint64_t unit             # virtual time of one turn at weight 1
    uint64_t now              # deadline of the turn taken last
    # Whether days have the right length: since the last look at that.
    uint32_t picks
    uint64_t crowd            # turns that were passed by because an earlier one was due on the same day,
    uint64_t later            # and those that are due another time, and days without any


# `active_max`: a turn may be stretched by 1 + the requests in flight, up to this factor; 1 = never.
cdef edf_t *edf_new(const cluster_t *c, uint32_t active_max) noexcept nogil
cdef void edf_free(edf_t *q) noexcept nogil
# The weights are others now. Who was next stays next where that is fair: what is left until a turn is stretched or
# shrunk as its stride is.
cdef void edf_weigh(edf_t *q, const cluster_t *c) noexcept nogil
# The usable endpoint with the earliest deadline, or NULL. Its next turn is set to one stride later, times
# (live.active + 1) when `by_load`.
cdef endpoint_t *edf_pick(edf_t *q, cluster_t *c, bint by_load, uint64_t now_ns, uint64_t *rng,
                          endpoint_t **tried, uint32_t n_tried) noexcept nogil
