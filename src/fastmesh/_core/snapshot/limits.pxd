"""Rate limits in a snapshot: the limits themselves, and the lists of them that listeners and routes have."""
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# After everything else: lists name listeners and routes.
cdef bint limits_decode(take_t *t, snapshot_t *s) noexcept nogil
