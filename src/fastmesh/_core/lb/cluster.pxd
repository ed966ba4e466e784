"""A cluster in the snapshot, and the pick of one of its endpoints.

`now` and `rng` are arguments: a pick has no hidden input, so tests and simulations drive it.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.counter cimport balance_row_t, endpoint_row_t
from fastmesh._core.mem.health cimport cluster_health_t, health_t
from fastmesh._core.mem.slab cimport slab_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.mem.tally cimport seats_t, tally_t
from fastmesh._core.mem.window cimport window_t
from fastmesh._core.lb.endpoint cimport endpoint_live_t, endpoint_note_t, endpoint_t
from fastmesh._core.lb.settings cimport lb_settings_t, outlier_t

cdef enum lb_kind_t:
    LB_ROUND_ROBIN = 0
    LB_RANDOM = 1
    LB_LEAST_REQUEST = 2
    LB_PEAK_EWMA = 3
    LB_FAILURE_AWARE_EWMA = 4
    LB_RING_HASH = 5
    LB_MAGLEV = 6
    LB_LAST = 6

# How a request ended at an endpoint.
cdef enum:
    OUTCOME_ANSWERED = 0      # with a status that says nothing about the endpoint
    OUTCOME_FAILED = 1        # 429, 5xx, a broken connection, no answer in time
    OUTCOME_LEFT = 2          # the client did not wait: it took at least so long

ctypedef struct cluster_t

# What an algorithm implements. `state` is built once per snapshot, in its arena or by its own allocation.
ctypedef struct lb_ops_t:
    const char *name
    int (*build)(cluster_t *c) noexcept nogil                     # FM_OK, or FM_ELIMIT when memory is refused
    # An endpoint that is neither in `tried` nor avoided at `now`, or NULL.
    endpoint_t *(*pick)(cluster_t *c, uint64_t now_ns, uint64_t *rng,
                        endpoint_t **tried, uint32_t n_tried) noexcept nogil
    # The weights are others now, and so is their sum: what picks go by follows, in place where that can be. NULL when
    # it goes by a table that is too dear to be made again: weights are never given to such a cluster.
    void (*weigh)(cluster_t *c) noexcept nogil
    void (*drop)(cluster_t *c) noexcept nogil
    # The same for a key: equal ones go to the same endpoint, as far as that can be. NULL when keys say nothing to it.
    endpoint_t *(*pick_key)(cluster_t *c, uint64_t key, uint64_t now_ns, uint64_t *rng,
                            endpoint_t **tried, uint32_t n_tried) noexcept nogil
    # NULL when it does not learn. `took_ns`: from the request's last byte to the answer's first, or until it was given
    # up; `wait_ns`: how long the endpoint asked to be left alone, 0 = it did not say.
    void (*observe)(const cluster_t *c, endpoint_t *e, uint64_t took_ns, int outcome, uint64_t wait_ns,
                    uint64_t now_ns) noexcept nogil

# State of a cluster that outlives snapshots, in this worker: counted, carried over by name.
ctypedef struct cluster_live_t:
    uint32_t active           # requests in flight
    uint32_t pending          # streams waiting for a connection
    uint32_t connections
    uint32_t refs
    uint32_t id
    uint32_t name_len
    char name[128]
    window_t retries          # resil/budget
    uint64_t ramp_until_ns    # one that was ejected may still be warming up
    cluster_live_t *next      # in its registry
    uint8_t is_known          # a snapshot that was taken had it
    void *hedging             # hedging_t of resil/hedge_rule, owned, of mem/raw; NULL = none of its requests was hedged
    # Of resil/breaker: what this worker and all others have in use.
    uint32_t retrying         # requests at a further attempt
    int seat                  # this worker's, in `seats`
    uint32_t row              # of the cluster
    seats_t *seats            # borrowed; NULL = this worker counts by itself
    tally_t *tally            # its own line there; NULL likewise
    uint64_t joined           # version of the last snapshot that had it
    uint64_t others_ns        # when `others` was added up
    uint32_t others[4]        # USED_*
    void *adaptive            # of resil/adaptive, owned; NULL = no limit is found by itself
    void *admission           # of resil/admission, owned; NULL = nobody is turned away for the failures of others
    # For its endpoints that come into use: see lb/use.
    slab_t *uses              # of endpoint_use_t, borrowed from the registry
    endpoint_row_t *rows      # shared, borrowed; n_rows of them, the last for all that have none of their own
    uint32_t n_rows
    uint8_t is_watched        # rows of `shared` are claimed for them, with keys of `health_key`
    uint8_t tells_endpoints   # they have a place in `seats`
    health_t *shared          # borrowed; NULL = it was never watched
    uint64_t health_key

ctypedef struct cluster_t:
    uint32_t id               # row in the shared cluster rows
    span_t name
    uint32_t index            # in snapshot_t.clusters
    int32_t chain             # index into snapshot_t.chains, or -1
    uint8_t lb                # lb_kind_t
    const lb_ops_t *ops
    void *lb_state            # owned by ops.build / ops.drop
    void *levels              # of lb/levels, owned; NULL = the algorithm has all endpoints at once
    void *names               # of lb/sticky, owned; NULL = there are no sessions
    lb_settings_t settings
    endpoint_t *endpoints     # n of them, contiguous
    const endpoint_note_t **notes     # n of them, where any endpoint has one: see endpoint_note; NULL = none has
    uint32_t n
    uint32_t *given           # weights that count in place of those of endpoints, n of them, owned; NULL = none do
    int32_t balancer_slot     # index into snapshot_t.rules of the policy that is asked, or -1
    bint is_picked_for        # it is asked about each request
    uint64_t balancer_interval_ns
    void *balancer            # of the filters (floor 9), borrowed; NULL = nobody is asked
    uint64_t connect_timeout_ns
    uint64_t idle_timeout_ns      # of pooled connections
    uint32_t max_connections      # to one endpoint, over all workers, each with its part; 0 = no limit
    uint32_t max_pending          # streams waiting, over all workers, as the three that follow
    uint64_t pending_timeout_ns   # how long one waits in the line of a full endpoint; 0 = no limit
    uint32_t max_requests         # in flight
    uint32_t max_requests_per_connection  # 0 = no limit
    uint32_t max_connect_attempts # endpoints tried for one request, the first included
    uint32_t budget_share         # of further attempts: what resil/budget takes
    uint32_t budget_rate
    uint64_t avoid_base_ns        # back-off of an endpoint that could not be connected to
    uint64_t avoid_max_ns
    uint8_t send_proxy_host       # reserved for Host rewriting: 0 = pass the client's Host
    cluster_live_t *live          # counted
    outlier_t outlier
    health_t *shared              # borrowed; NULL = nothing is known of others
    cluster_health_t *health      # its row there, or NULL
    uint64_t epoch                # of that row, when its endpoints were looked at last
    uint64_t probe_at_ns          # when one of those that are out may be asked again
    uint32_t n_out
    uint8_t is_checked            # control checks its endpoints: who does not pass gets nothing
    uint8_t closes_idle           # connections that wait are closed when an endpoint's checks fail
    uint8_t is_watched            # is_checked, or its outliers are ejected: `health` is not NULL
    uint32_t max_cluster_connections  # 0 = no limit
    uint32_t max_retries          # requests at a further attempt; 0 = no limit
    uint32_t max_endpoint_requests    # in flight to one endpoint; 0 = no limit
    uint32_t plain_requests       # `max_requests` and `max_pending` for those who are not of high priority
    uint32_t plain_pending
    void *adaptive                # settings of resil/adaptive, in the snapshot's arena; NULL = off
    void *admission               # of resil/admission, likewise
    void *subsets                 # of lb/subset, in the snapshot's arena; NULL = requests have all endpoints
    cluster_t *whole              # of a subset: what it is a part of; else NULL
    balance_row_t *told           # borrowed; NULL = nobody counts what becomes of picks
    uint64_t load                 # of a subset with a bound on load: requests in flight at its endpoints
    uint64_t load_until_ns        # when they are counted again

# Sets c.ops from c.lb and builds c.lb_state. FM_OK, or FM_EPROTO for an unknown lb.
cdef int cluster_build(cluster_t *c) noexcept nogil
cdef void cluster_drop(cluster_t *c) noexcept nogil      # legal on a cluster that was never built
# Other weights from now on: n of them, copied; one of 0 gets no request. NULL, and all of them 0: as configured.
# True when they are others than before. O(n). Not for a cluster whose ops.weigh is NULL.
cdef bint cluster_weigh(cluster_t *c, const uint32_t *weights) noexcept nogil
# Where what becomes of picks is counted from now on.
cdef void cluster_tell(cluster_t *c, balance_row_t *row) noexcept nogil
# Chooses an endpoint: ops.pick first; when every untried endpoint is avoided, the untried one whose avoidance ends
# first (better a doubtful endpoint than none). NULL when the cluster is empty, or all that have a weight were tried or
# do not pass their checks.
cdef endpoint_t *cluster_pick(cluster_t *c, uint64_t now_ns, uint64_t *rng,
                              endpoint_t **tried, uint32_t n_tried) noexcept nogil
# The same for a request with a key: the hash of what requests are told apart by.
cdef endpoint_t *cluster_pick_key(cluster_t *c, uint64_t key, uint64_t now_ns, uint64_t *rng,
                                  endpoint_t **tried, uint32_t n_tried) noexcept nogil
# After a connect failed: counts it and sets live.avoid_until_ns (exponential from avoid_base_ns to avoid_max_ns,
# +-20 % jitter from rng). After a connect succeeded: forgets it.
cdef void endpoint_connect_failed(cluster_t *c, endpoint_t *e, uint64_t now_ns, uint64_t *rng) noexcept nogil
cdef void endpoint_connect_ok(endpoint_t *e) noexcept nogil


cdef inline bint endpoint_is_usable(const endpoint_t *e, uint64_t now_ns, endpoint_t **tried,
                                    uint32_t n_tried) noexcept nogil:
    """Neither avoided at `now_ns` nor in `tried`."""
    cdef uint32_t i
    if e.live.avoid_until_ns > now_ns:
        return False
    for i in range(n_tried):
        if tried[i] is e:
            return False
    return True


cdef inline const endpoint_note_t *endpoint_note(const cluster_t *c, const endpoint_t *e) noexcept nogil:
    """What was said of one of a whole cluster, not of a level; NULL: nothing was."""
    return c.notes[e - c.endpoints] if c.notes is not NULL else NULL


cdef inline bint cluster_is_warming(const cluster_t *c, uint64_t now_ns) noexcept nogil:
    """Some of its endpoints may not have their whole share."""
    return c.settings.slow_start_ns != 0 or now_ns < c.live.ramp_until_ns


cdef inline uint32_t cluster_weight(const cluster_t *c, uint32_t i) noexcept nogil:
    """What counts: up to 2**31, and 0 only where it was given."""
    return c.endpoints[i].weight if c.given is NULL else c.given[i]


cdef inline endpoint_t *algorithm_pick(cluster_t *c, const uint64_t *key, uint64_t now_ns, uint64_t *rng,
                                       endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    """What the algorithm says by itself; NULL when it finds none. `key`: NULL = the request has none."""
    if key is not NULL and c.ops.pick_key is not NULL:
        return c.ops.pick_key(c, key[0], now_ns, rng, tried, n_tried)
    return c.ops.pick(c, now_ns, rng, tried, n_tried)


cdef inline cluster_t *cluster_whole(cluster_t *c) noexcept nogil:
    """What limits and windows are about."""
    return c if c.whole is NULL else c.whole


cdef inline bint weights_are_equal(const cluster_t *c) noexcept nogil:
    cdef uint32_t i
    for i in range(1, c.n):
        if cluster_weight(c, i) != cluster_weight(c, 0):
            return False
    return True
