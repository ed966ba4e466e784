"""All endpoints that a worker knows, numbered and found by hash: a cache line for each, and eight bytes of a table.

The table holds a number and half of a hash, so that it grows and closes gaps without a look at any endpoint. It is as
large as it needs to be, not a power of two.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.lb.endpoint cimport endpoint_live_t

ctypedef struct roster_place_t:
    uint32_t tag              # the upper half of the hash
    uint32_t one              # number + 1; 0 = free

ctypedef struct roster_t:
    roster_place_t *places      # open addressing with linear probing; a removal closes its gap
    uint32_t size
    uint32_t n
    endpoint_live_t **chunks  # CHUNK endpoints each: they never move
    uint32_t n_chunks
    uint32_t used             # numbers that were ever given
    uint32_t free             # number + 1 of one that was given back, the next is in its `row`; 0 = none

cdef void roster_init(roster_t *r) noexcept nogil
cdef void roster_fini(roster_t *r) noexcept nogil         # with all that are in it
cdef void roster_reserve(roster_t *r, uint32_t n) noexcept nogil      # room for so many in all
# A new one, zeroed.
cdef endpoint_live_t *roster_add(roster_t *r, uint64_t hash) noexcept nogil
cdef void roster_remove(roster_t *r, uint64_t hash, endpoint_live_t *e) noexcept nogil
# Those that may have this hash, one after another: look first, then next until NULL.
cdef uint32_t roster_look(const roster_t *r, uint64_t hash) noexcept nogil
cdef endpoint_live_t *roster_next(const roster_t *r, uint64_t hash, uint32_t *at) noexcept nogil
