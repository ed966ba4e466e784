"""The item `subsets` of a snapshot: by what clusters are split, and which part of them routes are for."""
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# Builds the subsets, too: everything else of the snapshot has been read. False after a refusal.
cdef bint subsets_decode(take_t *t, snapshot_t *s) noexcept nogil
