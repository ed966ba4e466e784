"""What a cluster's choice of endpoints goes by beside the algorithm: the operator's numbers, part of a snapshot."""
from libc.stdint cimport uint64_t

ctypedef struct lb_settings_t:
    # --- peak_ewma, failure_aware_ewma
    uint64_t decay_ns         # after so long without news a cost has faded to 37 %
    uint64_t initial_ns       # cost of an endpoint that is being asked for the first time
    uint64_t penalty_ns       # what a failure counts as, at least
    uint64_t wait_max_ns      # the most of a Retry-After that is believed


cdef inline void lb_settings_init(lb_settings_t *s) noexcept nogil:
    """What holds where a configuration is silent; fastmesh/config/balancing.py says the same."""
    s.decay_ns = 10000000000
    s.initial_ns = 30000000
    s.penalty_ns = 5000000000
    s.wait_max_ns = 300000000000
