"""The part of a cluster in a snapshot that says which endpoints are outliers."""
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.snapshot.take cimport take_t

# Fills c.outlier from the item `outlier`; nil means that nobody is watched. False after a refusal.
cdef bint take_outlier(take_t *t, cluster_t *c) noexcept nogil
