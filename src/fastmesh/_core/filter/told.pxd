"""What filters do to a request that somebody watches."""
from fastmesh._core.filter.chain cimport slot_t
from fastmesh._core.filter.view cimport Request

# After a phase in which a filter has set some of it.
cdef void told_steered(Request r, slot_t *c) noexcept
# At the end: who was asked.
cdef void told_asked(Request r) noexcept
