"""Requests are turned away by chance when many of a cluster fail: what cannot be answered need not be asked.

    P = ((n - good / wanted) / (n + 1)) ** (1 / aggression), at most `most`

over the last thirty seconds of this worker, where `wanted` is the share of good answers above which nobody is turned
away. Those turned away do not count: the rest goes on asking, so a service that is well again is found out at once.
(Beyer et al., Site Reliability Engineering, chapter 21, in the form that Envoy has.)
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.lb.cluster cimport cluster_t

cdef enum:
    ADMISSION_SECONDS = 30
    ADMISSION_SHOWN = 2           # of tally_t.reserved: P in millionths

# Of a snapshot.
ctypedef struct admission_t:
    double wanted
    double most
    double aggression
    uint32_t least                # requests in the window below which nobody is turned away
    uint64_t failures[4]          # a bit for each status from 400 on

# Of a worker.
ctypedef struct answers_t:
    uint64_t second
    uint32_t n, good              # of all slices
    uint32_t slices_n[30]
    uint32_t slices_good[30]

cdef bint admission_admits(cluster_t *c, uint64_t now_ns, uint64_t *rng) noexcept nogil
# How a request ended: with the status that its client got; 0 = with none.
cdef void admission_count(cluster_t *c, uint32_t status, uint64_t now_ns) noexcept nogil
