"""Statuses that a rule names, as they stand in a snapshot."""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.snapshot.take cimport take_t

# A list of those from `first` to `last` becomes a bit for each in `bits`, which has room for all of them.
cdef bint take_statuses(take_t *t, const char *name, uint32_t first, uint32_t last,
                        uint64_t *bits) noexcept nogil
