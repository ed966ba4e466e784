"""Which endpoints are outliers: they are ejected for a while, and come back by way of one request that ends well.

What is counted for one endpoint in a row decides at once, by whoever counts the last of it. What needs the others to
compare with is decided at the end of a window, by whichever worker notices first that it is over. Both write what they
find into the shared rows (mem/health); how workers go by that is lb/ejection's.

`now_ns` and `rng` are arguments: there is no hidden input.
"""
from libc.stdint cimport uint64_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.lb.endpoint cimport endpoint_t

# How a request ended, as far as its endpoint had to do with it.
cdef enum:
    SEEN_GOOD = 0
    SEEN_ERROR = 1            # 5xx, but for the next ones
    SEEN_GATEWAY = 2          # 502, 503, 504; the connection broke; what came was not HTTP
    SEEN_CONNECT = 3          # no connection came about
    SEEN_TIMEOUT = 4          # no answer within the time that the operator allows

# Only for clusters whose outlier.is_on. `took_ns`: until the answer began, 0 = there was none. `is_probe`: the request
# was picked with live.is_claimed.
cdef void outlier_observe(cluster_t *c, endpoint_t *e, int seen, uint64_t took_ns, uint64_t now_ns, uint64_t *rng,
                          bint is_probe) noexcept nogil
