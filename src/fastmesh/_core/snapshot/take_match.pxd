"""Which requests a filter, a limit, a fault or a mirror is for, as a snapshot says it."""
from fastmesh._core.route.route_table cimport route_table_t
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# A table of one route that leads nowhere; stays NULL for every request. After the patterns. False after a refusal.
cdef bint take_match(take_t *t, const snapshot_t *s, route_table_t **table) noexcept nogil
