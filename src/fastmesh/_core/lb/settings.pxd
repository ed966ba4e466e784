"""What a cluster's choice of endpoints goes by beside the algorithm: the operator's numbers, part of a snapshot."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.span cimport span_t

cdef enum:
    # hash_key_t.kind
    KEY_HEADER = 0
    KEY_COOKIE = 1
    KEY_QUERY = 2
    KEY_SOURCE = 3            # the client's IP address

    TABLE_SIZE_MAX = 1048573

    # lb_settings_t.sticky: where the name of a session's endpoint stands
    STICKY_NONE = 0
    STICKY_COOKIE = 1
    STICKY_HEADER = 2

# One of the things that requests are told apart by.
ctypedef struct hash_key_t:
    span_t name               # of the header (lower case), cookie or query parameter
    span_t path               # of a cookie that is made
    uint64_t ttl_s            # likewise; 0 = as long as the browser is open
    uint8_t kind
    uint8_t is_made           # a cookie is made for who has none

ctypedef struct lb_settings_t:
    # --- peak_ewma, failure_aware_ewma
    uint64_t decay_ns         # after so long without news a cost has faded to 37 %
    uint64_t initial_ns       # cost of an endpoint that is being asked for the first time
    uint64_t penalty_ns       # what a failure counts as, at least
    uint64_t wait_max_ns      # the most of a Retry-After that is believed
    # --- ring_hash, maglev
    hash_key_t *keys          # in the snapshot's arena; the first that a request has counts
    uint32_t n_keys
    uint32_t points           # on the ring, of an endpoint of mean weight
    uint32_t table_size       # places of Maglev's table; a prime
    uint32_t load_bound       # percent of the mean load that an endpoint may have; 0 = no limit
    # --- any algorithm
    uint64_t slow_start_ns    # how long an endpoint warms up; 0 = it has its share at once
    double slow_exponent      # of the part of that time that is over
    double slow_least         # part of its share that it has at first
    double panic              # part of endpoints below which all are asked, usable or not; 0 = never
    double spill_below        # part of a level's endpoints below which the next level gets requests
    uint32_t *levels          # how many endpoints each has, in the snapshot's arena; their sum is that of all
    uint32_t n_levels         # 0 = there is no order among endpoints
    uint8_t sticky            # STICKY_*
    span_t sticky_field       # name of the cookie or (lower case) header
    span_t sticky_path        # of the cookie
    uint64_t sticky_ttl_s     # likewise; 0 = as long as the browser is open
    uint64_t secret[2]


cdef inline void lb_settings_init(lb_settings_t *s) noexcept nogil:
    """What holds where a configuration is silent; fastmesh/config/balancing.py says the same."""
    s.decay_ns = 10000000000
    s.initial_ns = 30000000
    s.penalty_ns = 5000000000
    s.wait_max_ns = 300000000000
    s.points = 160
    s.table_size = 65537
    s.slow_exponent = 1
    s.slow_least = 0.1
    s.spill_below = 0.7
