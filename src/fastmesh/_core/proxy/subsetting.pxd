"""The subset of its cluster that a request is for."""
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.proxy.mux cimport stream_t
from fastmesh._core.route.subset_rule cimport subset_rule_t

# Puts the subset in place of the stream's cluster, which has some. `m`: what was asked for; NULL = it is in s.wire, if
# anywhere.
cdef void subsetting_enter(stream_t *s, const msg_t *m) noexcept nogil
# Where requests go that a rule sends to a cluster which has subsets; NULL = each says that itself.
cdef cluster_t *subsetting_goal(cluster_t *c, const subset_rule_t *rule) noexcept nogil
