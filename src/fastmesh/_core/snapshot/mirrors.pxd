"""Mirrors in a snapshot: the lists of them that routes have."""
from fastmesh._core.route.route_table cimport route_table_t
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# After listeners and clusters: lists name them. `take_match` decodes the match of one mirror.
cdef bint mirrors_decode(take_t *t, snapshot_t *s, bint (*take_match)(void *, route_table_t **) noexcept nogil,
                         void *decoder) noexcept nogil
