"""Which failures of an attempt are answered by another one, how often, and after which pause.

A rule is made by a filter, or stands at a route: then failed connects are in any case answered as the settings of the
cluster say, and the rule has the rest.

A retry_t is plain and constant. Whoever makes one keeps it as long as streams point to it.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.hash cimport fm_mul_high
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.mem.span cimport span_t

cdef enum:
    RETRY_ATTEMPTS_MOST = 8
    RETRY_STATUS_FIRST = 400
    RETRY_STATUS_LAST = 599
    RETRY_HEADERS_MAX = 16
    RETRY_GRPC_COUNT = 17     # statuses of gRPC, 0 (ok) counted

    # Why an attempt failed.
    FAULT_CONNECT = 1
    FAULT_CONNECT_TIMEOUT = 2
    FAULT_RESET = 3
    FAULT_PROTOCOL = 4
    FAULT_STATUS = 5
    FAULT_TIMEOUT = 6         # the attempt took longer than retry_t.try_ns

ctypedef struct retry_t:
    uint64_t statuses[4]      # a bit for each from RETRY_STATUS_FIRST on
    uint64_t backoff_ns       # the first pause is at most this
    uint64_t backoff_most_ns  # every pause is at most this
    uint64_t wait_most_ns     # that an answer may ask for in Retry-After; 0 = it is not listened to
    uint64_t try_ns           # that an attempt may take until its answer begins; 0 = no limit
    uint8_t faults            # a bit for each FAULT_* but FAULT_STATUS
    uint8_t attempts          # in all, the first one counted: 1 to RETRY_ATTEMPTS_MOST
    uint8_t non_idempotent    # whatever the method is (RFC 9110 section 9.2.2)
    uint8_t is_route          # it stands at a route
    uint8_t is_told           # upstreams are told which attempt it is: proxy/attempt_mark
    uint8_t of_retries        # also of requests that another proxy has tried before
    uint8_t n_headers
    const span_t *headers     # an answer with one of these fields is tried again, whatever its status; lower case
    uint32_t grpc             # likewise with one of these in `grpc-status`: a bit for each, below RETRY_GRPC_COUNT


cdef inline bint retry_names(const retry_t *r, int fault, uint32_t status) noexcept nogil:
    """Whether it is about such a failure. `status` counts with FAULT_STATUS only."""
    if fault != FAULT_STATUS:
        return r.faults >> fault & 1
    if not RETRY_STATUS_FIRST <= status <= RETRY_STATUS_LAST:
        return False
    status -= RETRY_STATUS_FIRST
    return r.statuses[status >> 6] >> (status & 63) & 1


cdef inline uint64_t retry_pause(const retry_t *r, uint32_t n, uint64_t *rng) noexcept nogil:
    """Nanoseconds before the n-th further attempt, n from 1 on: full jitter, below (2**n - 1) times the base.

    Clients that failed together do not come back together (Brooker, "Exponential Backoff And Jitter", 2015).
    """
    cdef uint64_t most = r.backoff_ns * ((<uint64_t>1 << (n if n < 16 else 16)) - 1)
    if most > r.backoff_most_ns:
        most = r.backoff_most_ns
    return fm_mul_high(rng_next(rng), most)


cdef inline uint64_t retry_spread(uint64_t wait_ns, uint64_t left_ns, uint64_t *rng) noexcept nogil:
    """What is added to a wait that an upstream asked for, up to half of it: all who were told the same would come back
    at once. `left_ns` is what is left of the request's time after the wait: half of it is kept for the attempt."""
    return fm_mul_high(rng_next(rng), (wait_ns if wait_ns < left_ns else left_ns) // 2)
