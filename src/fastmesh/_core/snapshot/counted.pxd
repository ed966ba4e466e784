"""The routes of a snapshot whose requests are counted, and their rows in shared memory."""
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# After the listeners: it names their routes.
cdef bint counted_decode(take_t *t, snapshot_t *s) noexcept nogil
