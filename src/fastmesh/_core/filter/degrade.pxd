"""Fallbacks in Python: the policy of a step is asked for an answer where the cluster has given none.

It stands in no chain: the step names its slot. What it returns is carried out when it has returned, as with filters;
while it waits for something the stream is in flight nowhere, and goes on with the next step when it has nothing to say.
"""
from libc.stdint cimport uint32_t
from fastmesh._core.filter.view cimport Request
from fastmesh._core.proxy.mux cimport stream_t

# See filter_ops_t.
cdef int degrade_ask(stream_t *s, uint32_t slot) noexcept nogil
cdef void degrade_forget(stream_t *s) noexcept nogil
# Nobody waits for what it would say.
cdef void degrade_cancel(Request r) noexcept
