"""Where a route stands: the place of its listener, and its own there."""
from fastmesh._core.route.route_table cimport route_t
from fastmesh._core.snapshot.snapshot cimport listener_t, snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# A listener that has requests. False after a refusal, as below.
cdef bint take_listener_place(take_t *t, const snapshot_t *s, listener_t **listener) noexcept nogil
# Reads both.
cdef bint take_route_place(take_t *t, const snapshot_t *s, route_t **route) noexcept nogil
