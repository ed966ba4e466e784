"""What a route does when its cluster gives no useful answer: steps, tried in order until one answers.

Plain and constant: of a snapshot.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.route.acts cimport edits_t, piece_t
from fastmesh._core.route.subset_rule cimport subset_rule_t

cdef enum:
    FALLBACK_STEPS_MAX = 8
    FALLBACK_STATUS_FIRST = 400
    FALLBACK_STATUS_LAST = 599
    FALLBACK_KEYS_MAX = 8     # headers that tell copies apart

    # Why there is no useful answer. The names are in mem/counter.pyx, in this order.
    REASON_NO_ENDPOINT = 0
    REASON_OVERFLOW = 1       # a limit of the cluster
    REASON_CONNECT = 2
    REASON_RESET = 3
    REASON_PROTOCOL = 4
    REASON_TIMEOUT = 5
    REASON_OVERLOAD = 6       # a limit of this process
    REASON_RATE_LIMIT = 7
    REASON_DEADLINE = 8
    REASON_STATUS = 9         # it is an answer, with a status that says so
    REASON_COUNT = 10

    # step_t.kind
    STEP_CLUSTER = 1          # another cluster gets the request
    STEP_STALE = 2            # a copy of an earlier answer
    STEP_RESPONSE = 3         # an answer of the configuration's
    STEP_USE = 4              # what a policy in Python answers

    # step_t.ignores: rules of HTTP that are not kept
    IGNORE_CACHE_CONTROL = 1
    IGNORE_AUTHORIZATION = 2
    IGNORE_COOKIE = 4
    IGNORE_SET_COOKIE = 8
    IGNORE_VARY = 16

    # step_t.escape: how values stand in the body
    ESCAPE_NONE = 0
    ESCAPE_JSON = 1
    ESCAPE_HTML = 2

ctypedef struct step_t:
    uint64_t statuses[4]      # a bit for each from FALLBACK_STATUS_FIRST on
    uint16_t reasons          # a bit for each REASON_* but REASON_STATUS
    uint8_t kind
    # --- STEP_CLUSTER
    uint8_t non_idempotent    # it gets what may do twice what it does
    uint32_t cluster          # index into snapshot_t.clusters
    subset_rule_t *subset     # which one of it; NULL = none is asked for
    uint64_t timeout_ns       # 0 = what is left of the request's
    span_t host               # empty = as it was
    span_t path               # empty = as it was; without its query
    span_t cut                # a path that begins with this …
    span_t put                # … begins with this; both without a slash at the end
    edits_t request
    uint8_t has_prefix
    # --- STEP_STALE
    uint8_t ignores
    uint8_t n_keys
    uint32_t max_body         # bytes of one copy's body
    uint32_t max_entries
    uint64_t max_bytes        # of all copies
    uint64_t max_age_ns
    span_t *keys              # headers, in lower case
    span_t store              # name of the place where copies are: what has the same name over snapshots is the same
    # --- STEP_RESPONSE
    uint8_t escape
    uint16_t status
    uint32_t n_pieces
    span_t content_type
    edits_t headers
    piece_t *pieces           # of the body
    # --- STEP_USE
    uint8_t before_filters    # it may answer who no filter has been asked about
    uint32_t slot             # a place in the list of rules
    span_t name

ctypedef struct fallback_t:
    step_t *steps
    const step_t *stale       # of these; NULL = no copies are kept
    uint8_t n
    uint8_t has_cluster       # the request may have to be sent again
    uint8_t non_idempotent    # to one that gets any method


cdef inline bint step_names(const step_t *step, int reason, uint32_t status) noexcept nogil:
    """Whether it is about such a failure. A status counts whoever has given it."""
    if reason != REASON_STATUS and step.reasons >> reason & 1:
        return True
    if not FALLBACK_STATUS_FIRST <= status <= FALLBACK_STATUS_LAST:
        return False
    status -= FALLBACK_STATUS_FIRST
    return step.statuses[status >> 6] >> (status & 63) & 1
