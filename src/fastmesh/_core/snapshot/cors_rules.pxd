"""Rules about pages of other origins in a snapshot, and the routes that have one."""
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# After the listeners: it names their routes.
cdef bint cors_decode(take_t *t, snapshot_t *s) noexcept nogil
