"""Attempts beside the first in a snapshot: the rules, and the routes that have one."""
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# Within the record of retries, behind it.
cdef bint hedges_decode(take_t *t, snapshot_t *s) noexcept nogil
