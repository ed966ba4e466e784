"""Reading the routes of a snapshot, and what they refer to. All return False after a refusal."""
from libc.stdint cimport int64_t, uint32_t
from fastmesh._core.mem.arena cimport arena_t
from fastmesh._core.net.addr cimport cidr_t
from fastmesh._core.route.pattern cimport pattern_t
from fastmesh._core.route.route_table cimport route_t
from fastmesh._core.snapshot.take cimport take_t

# Tables are made in the arena; spans point to where `t` reads.
cdef bint take_pattern(take_t *t, arena_t *arena, pattern_t *p) noexcept nogil
cdef bint take_networks(take_t *t, arena_t *arena, const char *name, cidr_t **list_, uint32_t *count) noexcept nogil
# `p` becomes the pattern at `place`; `name` is for the refusal, when there is none.
cdef bint pattern_at(take_t *t, const char *name, const pattern_t *patterns, uint32_t n_patterns, int64_t place,
                     const pattern_t **p) noexcept nogil
# Clusters and chains are compared with their tables once those are known.
cdef bint take_route(take_t *t, arena_t *arena, const pattern_t *patterns, uint32_t n_patterns,
                     route_t *r) noexcept nogil
