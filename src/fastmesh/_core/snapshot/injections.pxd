"""Injected faults in a snapshot: the lists of them that routes have."""
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# After listeners: lists name their routes.
cdef bint injections_decode(take_t *t, snapshot_t *s) noexcept nogil
