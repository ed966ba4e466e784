"""What all workers know of the health of endpoints: pages that every worker writes and control reads.

One memfd for the whole proxy, mostly holes, that control makes and keeps: what is known outlives every worker. Rows are
those of mem/counter, with the same numbers. Words are changed atomically and nobody waits for anybody. Where several
words change together, the one that others go by is written last.
"""
from libc.stdint cimport uint64_t
from fastmesh._core.mem.segment cimport word_get
from fastmesh._core.mem.tally cimport seats_t

cdef enum:
    HEALTH_LAYOUT = 3
    HEALTH_CLUSTERS = 16384
    HEALTH_ENDPOINTS = 131072
    HEALTH_EVENTS = 4096          # a power of two
    HEALTH_SEED = 0x6865616C      # of keys

# Why an endpoint is ejected; the names are in health.pyx, in this order.
cdef enum:
    BY_SERVER_ERRORS
    BY_GATEWAY_ERRORS
    BY_CONNECT_FAILURES
    BY_TIMEOUTS
    BY_SUCCESS_RATE
    BY_FAILURE_PERCENTAGE
    BY_LATENCY
    BY_PROBE                      # the one request of its probation failed
    BY_COUNT

# endpoint_health_t.checked, of clusters whose endpoints are checked.
cdef enum:
    CHECKED_NOT_YET = 0           # as good as failed, until it has passed
    CHECKED_GOOD = 1
    CHECKED_BAD = 2

# What an event tells.
cdef enum:
    EVENT_EJECTED = 1
    EVENT_RECOVERED = 2
    EVENT_REFUSED = 3             # it would be ejected, but for the most that may be
    EVENT_WATCHED = 4             # it would be ejected, but for `enforce` or `dry_run`

# Each group of eight words is a cache line.
ctypedef struct endpoint_health_t:
    uint64_t key                  # whose row it is: hash of cluster and address
    uint64_t until_ns             # CLOCK_MONOTONIC; 0 = not ejected. Past = waits for its probe
    uint64_t probe_ns             # until when a probe is believed to be under way; 0 = none is
    uint64_t since_ns             # when it was ejected
    uint64_t times                # ejections in a row
    uint64_t reason               # BY_*
    uint64_t healthy_ns           # since when it is in again
    uint64_t watched_ns           # until when it would be out, but for `enforce` or `dry_run`
    # failures in a row
    uint64_t server_errors
    uint64_t gateway_errors
    uint64_t connect_failures
    uint64_t timeouts
    # for all time
    uint64_t total
    uint64_t failed
    uint64_t answered
    uint64_t waited_us            # for those that were answered
    # of who judges: the four above as they were at the beginning of this window, and what came in the last one
    uint64_t was[4]
    uint64_t window[4]
    # of active checks; control alone writes it
    uint64_t checked              # CHECKED_*
    uint64_t checked_ns           # since when
    uint64_t checked_reserved[6]

ctypedef struct cluster_health_t:
    uint64_t key                  # hash of its name
    uint64_t epoch                # counts changes: workers look at the endpoints when it is another
    uint64_t judge_ns             # since when a worker is judging; 0 = nobody is
    uint64_t sweep_ns             # when the present window ends
    uint64_t full_until_ns        # until when nobody asks again for what would be more than the most
    uint64_t out                  # gauge: endpoints that are ejected
    uint64_t reserved[2]
    uint64_t ejections[8]         # by reason
    uint64_t recovered
    uint64_t refused
    uint64_t watched
    uint64_t probes
    uint64_t reserved2[4]

ctypedef struct health_event_t:
    uint64_t number               # of the event, from 1 on; written last
    uint64_t at_ns                # CLOCK_MONOTONIC
    uint64_t endpoint             # row
    uint64_t cluster              # row
    uint64_t kind                 # EVENT_*
    uint64_t reason               # BY_*
    uint64_t for_ns               # how long it will be out, or (EVENT_RECOVERED) was
    uint64_t times
    uint64_t seen                 # what it was judged by: failures in a row; or requests in the window …
    uint64_t figure               # … and its share of successes or failures in millionths, or its mean time in ns
    uint64_t bound                # what that was compared with
    uint64_t reserved[5]

ctypedef struct health_header_t:
    uint64_t magic                # written last
    uint64_t layout
    uint64_t n_events             # events ever told
    uint64_t reserved[509]

ctypedef struct health_t:
    health_header_t header
    health_event_t events[4096]
    cluster_health_t clusters[16384]
    endpoint_health_t endpoints[131072]
    seats_t seats                 # of mem/tally; begins with a page, as all of these do
    uint64_t claimed[2048]        # a bit for each of `endpoints`: somebody has had the row; else it is a hole

cdef extern from *:
    """
    static inline int fm_word_cas(uint64_t *p, uint64_t was, uint64_t v) {
        return __atomic_compare_exchange_n(p, &was, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    static inline void fm_word_or(uint64_t *p, uint64_t bits) { __atomic_fetch_or(p, bits, __ATOMIC_RELEASE); }
    """
    bint word_cas "fm_word_cas"(uint64_t *p, uint64_t was, uint64_t v) noexcept nogil
    void word_or "fm_word_or"(uint64_t *p, uint64_t bits) noexcept nogil

# Maps control's memfd; -1 is memory that only this process and its children have. NULL on failure, and when it
# has another layout.
cdef health_t *health_map(int fd) noexcept nogil
cdef void health_unmap(health_t *h) noexcept nogil
# The row of that number for whom `key` stands for: it is emptied when it was another's. NULL: there is none.
cdef endpoint_health_t *health_endpoint(health_t *h, uint64_t row, uint64_t key) noexcept nogil
cdef cluster_health_t *health_cluster(health_t *h, uint64_t row, uint64_t key) noexcept nogil
# An ejection ends, and all that led to it is forgotten. `c` and `e` are the rows of those numbers.
cdef void health_come_back(health_t *h, cluster_health_t *c, uint64_t cluster_row, endpoint_health_t *e,
                           uint64_t endpoint_row, uint64_t now_ns) noexcept nogil
# Tells control. `e` has all but its number; the oldest makes room.
cdef void health_tell(health_t *h, health_event_t *e) noexcept nogil


cdef inline bint health_is_claimed(const health_t *h, uint64_t row) noexcept nogil:
    """Somebody has had that row. Looking at one that nobody had would make a page of it, and of those beside it."""
    return (h is not NULL and row < HEALTH_ENDPOINTS - 1 and
            (word_get(&h.claimed[row >> 6]) >> (row & 63)) & 1 != 0)
