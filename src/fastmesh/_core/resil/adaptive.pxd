"""How many requests a cluster may have in flight, found out by how long it takes to answer: each worker for itself.

A gradient: while the mean time of a window is near the shortest mean of the last minutes, the limit grows by its
square root; as far as it is longer, the limit shrinks in proportion. It never grows beyond what is used. The limit is
not pinned down to measure what an idle service would take: where nobody is refused, that is seen all the time; where
somebody is, half of the limit is enough to see it, which keeps the service as busy as it can be. Workers of one
machine do that at the same moments, for each sees the queue of all of them.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.lb.cluster cimport cluster_live_t, cluster_t

cdef enum:
    ADAPTIVE_SLOTS = 10           # of ADAPTIVE_SLOT_NS each: how long the shortest mean is remembered
    ADAPTIVE_SHOWN = 0            # of tally_t.reserved: the limit
    ADAPTIVE_SHOWN_BASE = 1       # the shortest mean in microseconds

# Of a snapshot.
ctypedef struct adaptive_t:
    uint32_t least
    uint32_t most
    uint32_t first
    double tolerance              # times the shortest mean that is no sign of too much

# Of a worker.
ctypedef struct gradient_t:
    double limit
    double base_ns                # the shortest mean
    double slots[10]              # of each slot of time; 0 = nothing was seen
    uint64_t slot                 # number of the newest
    uint64_t began_ns             # the present window
    double sum_ns
    uint32_t n                    # samples in it
    uint32_t late                 # of those, requests that were given up
    uint32_t peak                 # most in flight in it
    uint32_t refused              # in it
    uint32_t floored              # windows in a row that the limit has been at its least
    uint64_t tight_ns             # since when somebody is refused in each window; 0 = nobody was in the last
    uint8_t phase                 # of a measurement: see adaptive.pyx

# May one more be in flight? `own`: those that are.
cdef bint adaptive_admits(cluster_t *c, uint32_t own, uint64_t now_ns) noexcept nogil
# A request was answered after that time, or (`is_late`) had not been when it was given up.
cdef void adaptive_observe(cluster_t *c, uint32_t own, uint64_t took_ns, bint is_late, uint64_t now_ns) noexcept nogil
