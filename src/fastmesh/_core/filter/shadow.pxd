"""A filter that only watches: what it must not change is put aside before it, put back after it, and compared."""
from libc.stdint cimport uint16_t, uint64_t
from fastmesh._core.filter.chain cimport slot_t
from fastmesh._core.filter.retry_rule cimport Retry
from fastmesh._core.filter.subset_asked cimport SubsetAsked
from fastmesh._core.filter.view cimport Labels, Request, Response
from fastmesh._core.http.edit cimport head_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.resil.retry cimport retry_t
from fastmesh._core.route.subset_rule cimport subset_rule_t


cdef class Shadow:
    cdef slot_t *c
    cdef int phase
    cdef head_t *h            # of the request, owned while it is put aside
    cdef msg_t *m
    cdef head_t *rh           # of the answer
    cdef msg_t *rm
    cdef uint16_t code
    cdef cluster_t *cluster
    cdef uint64_t timeout_ns
    cdef const char *timeout_by
    cdef const retry_t *retry
    cdef Retry rule
    cdef const subset_rule_t *subset
    cdef SubsetAsked asked
    cdef object state
    cdef Labels labels
    cdef Response response
    cdef int put_aside(self, Request r) except -1
    cdef void give_back(self, Request r, object result, BaseException error) noexcept
