"""A list of a snapshot, item by item: rules, and then what uses them."""
from libc.stdint cimport uint32_t
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# `item` reads the one of that number: False after a refusal.
# Of a list whose head has been read: n items.
cdef bint take_each(take_t *t, snapshot_t *s, const char *name, uint32_t n,
                    bint (*item)(take_t *, snapshot_t *, uint32_t) noexcept nogil) noexcept nogil
# A whole list, of as many items as there may be routes, each of at least `bytes_each` bytes.
cdef bint take_uses(take_t *t, snapshot_t *s, const char *name, uint32_t bytes_each,
                    bint (*item)(take_t *, snapshot_t *, uint32_t) noexcept nogil) noexcept nogil
