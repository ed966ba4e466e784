"""The registry of what a worker has seen of clusters and endpoints, across snapshots.

Endpoints are found by (cluster name, address), clusters by name. Both are counted: each
snapshot holds one reference per mention, an endpoint holds one on its cluster. Whoever keeps
an endpoint_live_t longer than the snapshot it came from takes a reference of his own.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.mem.health cimport health_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.net.addr cimport addr_t
from fastmesh._core.lb.cluster cimport cluster_live_t
from fastmesh._core.lb.endpoint cimport endpoint_live_t

cdef enum:
    LIVE_NAME_MAX = 128       # of a cluster: what the structs have room for

cdef void *live_new() noexcept nogil
cdef void live_free(void *live) noexcept nogil            # all snapshots and references must be gone
# Called with an endpoint whose last reference went, just before it is freed: closes what hangs on it. It may not
# look anything up in the registry.
cdef void live_on_last(void *live, void (*fn)(endpoint_live_t *) noexcept nogil) noexcept nogil
cdef uint32_t live_clusters(const void *live) noexcept nogil
cdef uint32_t live_endpoints(const void *live) noexcept nogil

# What workers share of the health of endpoints, borrowed: for snapshots that are decoded from now on. NULL at first.
cdef void live_share(void *live, health_t *shared) noexcept nogil
cdef health_t *live_shared(const void *live) noexcept nogil

# Room for so many endpoints in all: saves growing step by step.
cdef void live_reserve(void *live, uint32_t n) noexcept nogil
# Each finds or makes, and takes a reference. A new endpoint gets the rows of number `row`; one that exists keeps its
# own.
cdef cluster_live_t *live_cluster_get(void *live, span_t name) noexcept nogil
cdef endpoint_live_t *live_endpoint_get(void *live, cluster_live_t *cluster, const addr_t *addr,
                                        uint32_t row) noexcept nogil
cdef void live_cluster_put(void *live, cluster_live_t *c) noexcept nogil
cdef void live_endpoint_put(void *live, endpoint_live_t *e) noexcept nogil
