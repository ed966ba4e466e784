"""Reading what a route of a snapshot does to requests and answers."""
from libc.stdint cimport uint32_t
from fastmesh._core.mem.arena cimport arena_t
from fastmesh._core.route.acts cimport acts_t, edits_t
from fastmesh._core.route.pattern cimport pattern_t
from fastmesh._core.snapshot.take cimport take_t

# `acts` becomes NULL where there are none. False after a refusal.
cdef bint take_acts(take_t *t, arena_t *arena, const pattern_t *patterns, uint32_t n_patterns,
                    const acts_t **acts) noexcept nogil
# A list of edits, which `name` says.
cdef bint take_edits(take_t *t, arena_t *arena, const char *name, edits_t *list_) noexcept nogil
