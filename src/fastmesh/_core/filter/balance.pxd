"""Load balancers in Python: asked for weights now and then, and for an endpoint of each request.

A Balancer stands for one cluster of one snapshot. The snapshot's table owns it, and the cluster borrows it; its views
are open while the policy runs, and closed for good when the snapshot is freed.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.filter.chain cimport Table, slot_t
from fastmesh._core.io.timer cimport timer_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.lb.endpoint cimport endpoint_t
from fastmesh._core.proxy.mux cimport proxy_t, stream_t
from fastmesh._core.snapshot.snapshot cimport snapshot_t


cdef class Endpoint:
    cdef Balancer owner
    cdef endpoint_t *e        # of the snapshot; valid while the owner has its cluster
    cdef str text
    cdef tuple said           # priority, zone, metadata; None until somebody asks
    cdef tuple note(self)
    cdef endpoint_t *alive(self) except NULL


cdef class Balancer:
    """The policy of one cluster of one snapshot."""
    cdef proxy_t *p           # NULL of a test's
    cdef cluster_t *cluster   # NULL once the snapshot is gone
    cdef slot_t *c            # of a Slot that the table keeps
    cdef stream_t *s          # whose endpoint is being picked
    cdef uint32_t depth       # questions that are being answered
    cdef uint32_t in_a_row    # failures of weights since it last went well
    cdef timer_t timer
    cdef uint64_t due_ns      # when weights were to be asked for last
    cdef tuple endpoints      # None until somebody asks
    cdef object kept          # memory of a test's cluster
    cdef tuple views(self)
    cdef void rest(self) noexcept
    cdef void weigh(self) noexcept
    cdef bint read(self, object result, uint32_t *given) except -1
    cdef int pick(self, stream_t *s, endpoint_t **found) noexcept
    cdef endpoint_t *taken(self, object result) except NULL
    cdef int failed(self, stream_t *s) noexcept


# What floor 8 and the worker ask: see filter_ops_t.
cdef int balance_pick(stream_t *s, endpoint_t **found) noexcept nogil
cdef void balance_applied(proxy_t *p, snapshot_t *old) noexcept nogil
# The worker ends: nobody is asked for weights any more.
cdef void balance_close(proxy_t *p) noexcept
# The snapshot of this table is being freed.
cdef void balance_free(Table table) noexcept
