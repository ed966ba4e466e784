"""Where a route stands: the place of its listener, and its own there."""
from fastmesh._core.route.route_table cimport route_t
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# Reads both; False after a refusal.
cdef bint take_route_place(take_t *t, const snapshot_t *s, route_t **route) noexcept nogil
