"""Rate limits in a snapshot: the limits themselves, and the lists of them that listeners and routes have."""
from fastmesh._core.route.route_table cimport route_table_t
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# After everything else: lists name listeners and routes. `take_match` decodes the match of one limit.
cdef bint limits_decode(take_t *t, snapshot_t *s, bint (*take_match)(void *, route_table_t **) noexcept nogil,
                        void *decoder) noexcept nogil
