"""Faults that a route puts into its requests on purpose: delays, answers in place of its cluster's, and bandwidths.

Part of a snapshot, and immutable but for how many are under way. Each one is drawn by itself for each request.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.net.addr cimport addr_t
from fastmesh._core.route.route_table cimport route_table_t

cdef enum:
    INJECTIONS_MAX = 8        # of one route
    INJECTION_SHARE_ALL = 1000000

ctypedef struct injection_t:
    route_table_t *match      # a table of one route; NULL = every request
    uint32_t share            # of the requests that match, in parts of INJECTION_SHARE_ALL
    uint16_t status           # of the answer; 0 = the request goes on
    uint64_t delay_ns         # before that
    uint32_t bandwidth        # of the answer's body, in bytes a second; 0 = as fast as it comes
    const char *details       # which one it is, for the log
    uint32_t bandwidth_up     # of the request's
    uint32_t most             # requests that it is under way with at the same time in this worker; 0 = any
    uint32_t active           # with `most`: how many there are. The worker's own
    uint8_t grpc              # of the answer to callers of gRPC, 1 to 16, others get the HTTP status for it; 0 = none
    uint8_t is_asked          # what it does is said by the request, if its client is trusted

ctypedef struct injection_list_t:
    uint32_t n
    injection_t *injections

# What falls on one request: of several delays the longest, of several answers the first, of several bandwidths the
# smallest; 0 = none.
ctypedef struct injected_t:
    uint64_t delay_ns
    uint32_t bandwidth
    uint32_t bandwidth_up
    uint32_t overflow         # faults that did not fall on it because enough were under way
    uint16_t status           # HTTP's
    uint8_t grpc
    const char *details       # of whose answer it is
    uint8_t held              # a bit for each that counts it, until injection_release

# `path`: the normal form.
cdef void injection_draw(injection_list_t *k, const msg_t *m, span_t path, const addr_t *peer, bint is_trusted,
                         uint64_t *rng, injected_t *drawn) noexcept nogil
cdef void injection_release(injection_list_t *k, uint32_t held) noexcept nogil
