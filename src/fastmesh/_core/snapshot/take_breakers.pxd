"""The part of a cluster in a snapshot that says how much of it may be in use, beside the limits that are older."""
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.mem.arena cimport arena_t
from fastmesh._core.snapshot.take cimport take_t

# Fills what c has of resil/breaker, adaptive and admission from the item `breakers`. False after a refusal.
cdef bint take_breakers(take_t *t, arena_t *arena, cluster_t *c) noexcept nogil
