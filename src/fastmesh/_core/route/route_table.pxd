"""Routes of one listener: first match in listed order wins, however specific a later one is.

A host is an exact name, "*.example.com" (any name that ends in ".example.com", not the domain
itself), "shop.*" (any name that begins with "shop."), or "*" for any. The request's port, one
trailing dot and the case of letters do not matter, nor do the brackets of an IPv6 literal. What a
request says of headers, parameters and cookies holds when it does in one reading of it
(predicate.pxd); when it does not in all, the route is torn, and the request is to be refused.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.arena cimport arena_t
from fastmesh._core.net.addr cimport addr_t, cidr_t
from fastmesh._core.route.acts cimport acts_t
from fastmesh._core.route.pattern cimport pattern_t
from fastmesh._core.route.predicate cimport predicate_t
from fastmesh._core.route.route_split cimport split_t

cdef enum:
    ROUTE_PLACES_MAX = 1 << 20    # pairs of route and host, and nodes of the index
    ROUTE_HOST_MAX = 255      # RFC 1035: longer names cannot be asked for
    ROUTE_SHARE_ALL = 1000000

cdef enum route_path_t:
    # A prefix on a segment border: /api matches /api and /api/x, not /apix. One that ends in "/" matches what begins
    # with it, "/" everything.
    ROUTE_PREFIX = 0
    ROUTE_EXACT = 1
    ROUTE_STARTS = 2          # a prefix wherever it ends
    ROUTE_PATTERN = 3         # `pattern` takes the whole path; all such paths have the prefix `path`

# Who asks. NULL for nobody: no source matches then.
ctypedef struct asker_t:
    const addr_t *addr
    uint64_t draw             # drawn for this request: decides about shares

ctypedef struct route_t:
    uint8_t path_kind
    uint8_t has_methods
    uint16_t n_hosts
    uint16_t n_headers
    uint16_t n_query
    uint16_t n_cookies
    uint16_t n_methods_other
    uint32_t methods          # bit per METHOD_*; method names without an id are in methods_other
    span_t *methods_other
    span_t path               # in normal form
    span_t *hosts             # lower case, without port and brackets; empty list = any
    const pattern_t *pattern
    predicate_t *headers
    predicate_t *query
    predicate_t *cookies
    cidr_t *sources           # empty list = any
    uint32_t n_sources
    uint32_t share            # of the requests that match the rest, in parts of ROUTE_SHARE_ALL
    int32_t cluster           # index into snapshot_t.clusters, or -1: a fixed response
    uint16_t status           # of the fixed response
    span_t body               # of the fixed response
    span_t content_type
    const acts_t *acts        # NULL = none
    const split_t *split      # in place of `cluster`; NULL = none
    span_t name
    uint64_t timeout_ns       # request timeout; 0 = none
    uint32_t index
    int32_t chain             # index into snapshot_t.chains, or -1
    uint32_t limit_list       # index + 1 into snapshot_t.limit_lists; 0 = no rate limits
    uint32_t mirror_list      # index + 1 into snapshot_t.mirror_lists; 0 = no mirrors
    uint32_t injection_list   # index + 1 into snapshot_t.injection_lists; 0 = no faults
    uint32_t retry            # index + 1 into snapshot_t.retries; 0 = the cluster's settings say what is tried again
    uint32_t hedge            # index + 1 into snapshot_t.hedges; 0 = no attempt beside the first
    uint8_t priority          # PRIORITY_* of resil/pressure; 0 = not said
    uint32_t fallback         # index + 1 into snapshot_t.fallbacks; 0 = a failure is the answer
    uint8_t has_timeout       # timeout_ns is its own, not its listener's
    uint32_t cors             # index + 1 into snapshot_t.cors_rules; 0 = what the upstream says of origins is passed on
    uint64_t stream_idle_ns   # of an exchange in which nothing moves; 0 = no limit
    uint32_t subset           # of `cluster`: index + 1 into snapshot_t.subset_rules; 0 = none is asked for
    uint32_t counted          # its row in shared memory, + 1; 0 = its requests are not counted

# What a route and a request differ in, in the order in which it is looked at.
cdef enum miss_t:
    MISS_NOTHING = 0
    MISS_HOST = 1
    MISS_PATH = 2
    MISS_METHOD = 3
    MISS_SOURCE = 4
    MISS_HEADER = 5
    MISS_COOKIE = 6
    MISS_QUERY = 7
    MISS_PATTERN = 8
    MISS_SHARE = 9

ctypedef struct route_table_t:
    route_t *routes
    uint32_t n
    bint has_shares           # who asks must have drawn
    void *state               # the index that route_build made

# Makes `state` in the arena, after `routes` and `n` are filled in; sets the index of each. FM_OK, or FM_ELIMIT when
# ROUTE_PLACES_MAX is exceeded. Hosts have 1 to ROUTE_HOST_MAX bytes and do not begin with a dot, none is "*"; paths
# begin with "/" (an exact one may also be "*").
cdef int route_build(route_table_t *t, arena_t *arena) noexcept nogil
# Adds a method to `r.methods`; False when the name has no id and belongs into methods_other.
cdef bint route_add_method(route_t *r, span_t method) noexcept nogil
# `path` is the normal form; `authority` as received (port and case are dealt with here). NULL when nothing matches.
cdef const route_t *route_find(const route_table_t *t, const msg_t *m, span_t path,
                               const asker_t *who) noexcept nogil
# The authority's host in lower case, without port, brackets and trailing dot; absent when longer than ROUTE_HOST_MAX,
# which is what `room` has to have.
cdef span_t route_host(const msg_t *m, uint8_t *room) noexcept nogil
# For tests: how many places of the index are looked at for a host.
cdef uint32_t route_host_steps(const route_table_t *t, span_t host) noexcept nogil
# METHOD_* of a name.
cdef uint32_t method_id(span_t s) noexcept nogil
# The same when letters are made capitals, as many a framework does; METHOD_OTHER when it has none.
cdef int method_in_capitals(span_t s) noexcept nogil
# A route that matches does not in another reading of the request.
cdef bint route_is_torn(const route_t *r, const msg_t *m) noexcept nogil
# The same answer by looking at every route in turn: what the index is checked against.
cdef const route_t *route_scan(const route_table_t *t, const msg_t *m, span_t path,
                               const asker_t *who) noexcept nogil
# The first thing that keeps a request from a route; MISS_NOTHING when it takes it. `name`: of which header, cookie or
# parameter.
cdef int route_miss(const route_t *r, const msg_t *m, span_t path, const asker_t *who, span_t *name) noexcept nogil
