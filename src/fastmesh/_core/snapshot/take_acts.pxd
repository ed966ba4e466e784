"""Reading what a route of a snapshot does to requests and answers."""
from libc.stdint cimport uint32_t
from fastmesh._core.mem.arena cimport arena_t
from fastmesh._core.route.acts cimport acts_t, edits_t, piece_t
from fastmesh._core.route.pattern cimport pattern_t
from fastmesh._core.snapshot.take cimport take_t

# `acts` becomes NULL where there are none. False after a refusal.
cdef bint take_acts(take_t *t, arena_t *arena, const pattern_t *patterns, uint32_t n_patterns,
                    const acts_t **acts) noexcept nogil
# A list of edits, which `name` says.
cdef bint take_edits(take_t *t, arena_t *arena, const char *name, edits_t *list_) noexcept nogil
# A list of pieces of a text, each of `most` bytes or a field. `has_lines`: what is no field may have line breaks.
cdef bint take_pieces(take_t *t, arena_t *arena, const char *name, uint32_t most, bint has_lines, piece_t **pieces,
                      uint32_t *count) noexcept nogil
