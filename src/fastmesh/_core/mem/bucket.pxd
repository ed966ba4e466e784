"""A token bucket: one entry of a shared table, which says when its bucket will be full again.

That is GCRA in nanoseconds (ITU-T I.371): a token is worth the time it takes to come back, and a bucket owes the time
until it is full. A key without an entry has a full bucket, so an entry that was lost is a bucket that begins anew.

Several processes may draw from one bucket: each call is one critical section of the table's lock, in which the clock
is read as well, so that time never goes back from one draw to the next.
"""
from libc.stdint cimport uint64_t
from fastmesh._core.mem.segment cimport object_t, segment_t

ctypedef struct draw_t:
    uint64_t wait_ns              # until the tokens will be there; 0 = they were, and are taken
    uint64_t full_ns              # from now until the bucket is full
    bint has_evicted              # another key has made room for this one

# Takes what `cost_ns` is worth, or nothing. `burst_ns` is what a full bucket is worth, at least `cost_ns`; `owed_ns`
# the most that it may owe: one that owes more was drawn from under another rate, or the clock has jumped back, and it
# begins anew.
cdef void bucket_take(segment_t *g, object_t *o, const uint64_t *key, uint64_t cost_ns, uint64_t burst_ns,
                      uint64_t owed_ns, draw_t *d) noexcept nogil
# Takes it whether it is there or not; the time until the bucket is out of debt, 0 when it is in none.
cdef uint64_t bucket_charge(segment_t *g, object_t *o, const uint64_t *key, uint64_t cost_ns, uint64_t burst_ns,
                            uint64_t owed_ns) noexcept nogil
# Undoes one bucket_take.
cdef void bucket_give_back(object_t *o, const uint64_t *key, uint64_t cost_ns) noexcept nogil
