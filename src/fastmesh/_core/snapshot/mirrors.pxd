"""Mirrors in a snapshot: the lists of them that routes have."""
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# After listeners and clusters: lists name them.
cdef bint mirrors_decode(take_t *t, snapshot_t *s) noexcept nogil
