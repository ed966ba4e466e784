"""Snapshots that nothing uses any more: large ones go a piece at a time, between turns of the loop."""
from fastmesh._core.snapshot.snapshot cimport snapshot_t

# Whoever has this registry calls `leaving_step` between turns, as long as there are any.
cdef void leaving_begin(const void *live) noexcept nogil
cdef void leaving_end(const void *live) noexcept nogil     # those that are on their way go at once
# Frees it, also one whose decoding stopped anywhere. At once when it is small, or nobody has begun for its registry.
cdef void leaving_add(snapshot_t *s) noexcept nogil
cdef bint leaving_is_any() noexcept nogil
cdef void leaving_step() noexcept nogil
