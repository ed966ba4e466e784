"""The part of a cluster in a snapshot that says how its endpoints are chosen."""
from fastmesh._core.mem.arena cimport arena_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.snapshot.take cimport take_t

# Fills c.settings from the item `balancing`; nil means what lb_settings_init says. False after a refusal.
cdef bint decode_balancing(take_t *t, arena_t *arena, cluster_t *c) noexcept nogil
