"""One of several clusters, by weight: drawn, or by a key.

With a key the choice is a function of the key, the names and the weights alone: the same in every worker, on every
machine, after every restart. Each cluster draws, with the key and its name as the dice, how long it takes to come, as
an exponential clock of its weight; the first one has the key. So a key leaves a cluster only when that has got
lighter or another one heavier, and the order of the clusters is all the same (weighted rendezvous; Schindelhauer and
Schomaker, 2005, "logarithmic method").
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.proxy.mux cimport stream_t
from fastmesh._core.snapshot.snapshot cimport snapshot_t

cdef enum:
    SPLIT_MOST = 64           # clusters of one


cdef class Split:
    cdef tuple names          # bytes
    cdef uint32_t n
    cdef uint32_t heaviest
    cdef double shares[64]    # of the weights, 1 in all
    cdef uint64_t seeds[64]   # of the names
    cdef uint32_t places[64]  # among a snapshot's clusters, where they were seen last: looked at before they are used
    cdef uint32_t by_key(self, const unsigned char *key, uint32_t n) noexcept
    cdef uint32_t drawn(self, uint64_t *rng) noexcept
    # Finds all clusters of it in a snapshot. Raises ValueError.
    cdef int settle(self, const snapshot_t *snap) except -1


# The place of a cluster in a snapshot. Raises ValueError.
cdef uint32_t cluster_place(const snapshot_t *snap, bytes name) except? 0xFFFFFFFF
# Raises TypeError or ValueError for weights, a key or clusters that are none.
cdef cluster_t *split_choose(stream_t *s, object weights, object by) except NULL
