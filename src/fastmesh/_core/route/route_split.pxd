"""Requests shared out among several clusters by weight: by chance, or by what the request says."""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t

cdef enum:
    SPLIT_MAX = 256

ctypedef struct split_part_t:
    uint32_t cluster          # index into snapshot_t.clusters
    uint32_t end              # sum of the weights up to here, its own included
    uint32_t subset           # index + 1 into snapshot_t.subset_rules; 0 = none is asked for

ctypedef struct split_t:
    uint32_t n
    uint32_t total            # not 0
    split_part_t *parts
    span_t header             # whose value decides; empty = none
    span_t cookie             # likewise

# The index of a part. `draw` decides when the request says nothing.
cdef uint32_t split_pick(const split_t *s, const msg_t *m, uint64_t draw) noexcept nogil
