"""Routes of one listener: first match in listed order wins."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.http.msg cimport msg_t

cdef enum route_path_t:
    ROUTE_PREFIX = 0          # a prefix of the path on a segment border: /api matches /api and /api/x, not /apix;
                              # a prefix that ends in "/" matches what begins with it; "/" matches everything
    ROUTE_EXACT = 1

ctypedef struct route_header_t:
    span_t name               # lower case
    span_t value              # equal, case matters
    uint8_t id                # header_id_t when the name has one, else 0

ctypedef struct route_t:
    uint8_t path_kind
    uint8_t has_methods
    uint16_t n_hosts
    uint16_t n_headers
    uint16_t n_methods_other
    uint32_t methods          # bit per METHOD_*; method names without an id are in methods_other
    span_t *methods_other
    span_t path               # in normal form
    span_t *hosts             # lower case, without port; empty list = any
    route_header_t *headers
    int32_t cluster           # index into snapshot_t.clusters, or -1: a fixed response
    uint16_t status           # of the fixed response
    span_t body               # of the fixed response
    span_t content_type
    span_t name
    uint64_t timeout_ns       # request timeout; 0 = none
    uint32_t index

ctypedef struct route_table_t:
    route_t *routes
    uint32_t n
    void *state               # the index that route_build made

# `path` is the normal form; `authority` as received (port and case are dealt with here). NULL when nothing matches.
cdef const route_t *route_find(const route_table_t *t, const msg_t *m, span_t path) noexcept nogil
