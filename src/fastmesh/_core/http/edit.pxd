"""A head of its own memory, whose fields and target may be changed.

Changed lines are written behind what there is, never over it: spans taken earlier stay readable, though they may tell
of what was before. What goes is marked, as the parser marks hop-by-hop fields. One thread.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t

cdef enum:
    EDIT_BYTES = 65535        # offsets have 16 bits
    EDIT_REFUSED = -30        # the name or the value cannot stand in a head
    EDIT_OWN = -31            # the proxy's own: framing and what concerns one hop

ctypedef struct head_t:
    msg_t m                   # m.base = bytes
    uint8_t *bytes            # owned
    uint32_t cap
    head_t *next              # in the free list

# A copy that lives by itself; `head_free` ends it. Never NULL.
cdef head_t *head_copy(const msg_t *m) noexcept nogil
cdef head_t *head_empty() noexcept nogil
cdef void head_free(head_t *h) noexcept nogil
# The first field of the name at or behind place `start` that is passed on, or -1. The case of letters does not matter.
cdef int head_find(const msg_t *m, const uint8_t *name, uint32_t n, int start) noexcept nogil
# The same among fields that are not passed on as well.
cdef int head_find_any(const msg_t *m, const uint8_t *name, uint32_t n, int start) noexcept nogil
# Takes all fields of the name away; how many there were, or EDIT_*.
cdef int head_drop(head_t *h, const uint8_t *name, uint32_t n) noexcept nogil
# One more field, last. FM_OK, FM_ELIMIT when the head or its number of fields would grow beyond the limit, or EDIT_*.
cdef int head_add(head_t *h, const uint8_t *name, uint32_t n, span_t value) noexcept nogil
# As head_add, of fields that filters may not set: for the proxy itself.
cdef int head_add_own(head_t *h, const uint8_t *name, uint32_t n, span_t value) noexcept nogil
cdef int head_drop_own(head_t *h, const uint8_t *name, uint32_t n) noexcept nogil
# Another path and query; query.ptr NULL = none. FM_OK, FM_ELIMIT, or EDIT_REFUSED.
cdef int head_set_target(head_t *h, span_t path, span_t query) noexcept nogil
# For tests: heads that are not given back.
cdef uint32_t heads_live() noexcept nogil
