"""Further attempts in a snapshot: the rules, the routes that have one, and the budgets that are not as by default."""
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# After everything else: it names listeners, routes and clusters.
cdef bint retries_decode(take_t *t, snapshot_t *s) noexcept nogil
