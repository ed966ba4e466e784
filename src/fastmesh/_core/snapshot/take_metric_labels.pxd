"""The part of a snapshot that says by which labels of filters requests are counted."""
from fastmesh._core.snapshot.snapshot cimport metric_labels_t
from fastmesh._core.snapshot.take cimport take_t

# From the item `metric_labels`; nil means by none. False after a refusal.
cdef bint take_metric_labels(take_t *t, metric_labels_t *m) noexcept nogil
