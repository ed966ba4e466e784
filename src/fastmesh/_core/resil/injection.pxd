"""Faults that a route puts into its requests on purpose: delays, and answers in place of its cluster's.

Immutable, part of a snapshot. Each one is drawn by itself for each request.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
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

ctypedef struct injection_list_t:
    uint32_t n
    injection_t *injections

# What falls on one request: of several delays the longest, of several answers the first,
# and of several bandwidths the smallest; 0 = none. `details`: of whose answer it is. `path`: the
# normal form.
cdef void injection_draw(const injection_list_t *k, const msg_t *m, span_t path, const addr_t *peer, uint64_t *rng,
                         uint64_t *delay_ns, uint16_t *status, uint32_t *bandwidth,
                         const char **details) noexcept nogil
