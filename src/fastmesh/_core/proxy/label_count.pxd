"""Counts requests by labels that filters gave them."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.proxy.mux cimport proxy_t, stream_t
from fastmesh._core.snapshot.snapshot cimport snapshot_t

# A request that is over, and whose labels are still to come. Owned by whoever took it from the stream. What it points
# to is the snapshot's.
ctypedef struct late_count_t:
    proxy_t *proxy
    snapshot_t *snap          # one reference
    const void *listener
    const void *route         # NULL = none took it
    const void *cluster       # likewise
    uint32_t hundred
    uint64_t took_ns

# With S_LATE_LABELS it is not counted, but left at s.late_count.
cdef void label_count_put(stream_t *s, uint64_t now_ns) noexcept nogil
# Counts it with these labels (as stream_t.labels), and frees it.
cdef void label_count_put_late(late_count_t *late, const uint8_t *labels, uint32_t labels_len) noexcept nogil
