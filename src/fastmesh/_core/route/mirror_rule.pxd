"""Which requests of a route another cluster gets a copy of."""
from libc.stdint cimport uint32_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.route.route_table cimport route_table_t
from fastmesh._core.route.subset_rule cimport subset_rule_t

cdef enum:
    MIRRORS_MAX = 4           # of one route

ctypedef struct mirror_rule_t:
    route_table_t *match      # a table of one route; NULL = every request
    uint32_t share            # of the requests that match, in parts of ROUTE_SHARE_ALL
    uint32_t cluster          # its place in the snapshot
    span_t suffix             # what the host gets behind its name; may be empty
    subset_rule_t *subset     # which one of the cluster; NULL = none is asked for

ctypedef struct mirror_list_t:
    uint32_t n
    mirror_rule_t *rules
