"""Fallbacks in a snapshot: the chains, and the routes that have one."""
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# After everything else: it names listeners, routes and clusters.
cdef bint fallbacks_decode(take_t *t, snapshot_t *s) noexcept nogil
