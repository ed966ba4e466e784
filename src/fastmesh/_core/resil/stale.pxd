"""Copies of answers, for the time when there are none: bounded in bytes and number, the one unused for longest leaves.

A place of copies belongs to one chain and outlives snapshots by its name. Nothing here knows of HTTP's rules: who keeps
a copy has asked them (proxy/keeping). One thread, one worker (docs/decisions/stale-copies-are-each-workers-own.md).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t

cdef extern from *:
    """
    #define FM_STALE_FOREVER UINT64_MAX
    """
    const uint64_t STALE_FOREVER "FM_STALE_FOREVER"

# One answer. Owned by its place, or by whoever is still making it.
ctypedef struct copy_t:
    copy_t *chain             # of the same bucket
    copy_t *newer             # used
    copy_t *older
    uint64_t hash
    uint64_t kept_ns          # when its head came
    uint64_t age_ns           # how old it was then
    uint64_t until_ns         # HTTP's rules allow it until then; STALE_FOREVER = they say nothing
    uint64_t place            # of which place: stale_place_id
    uint8_t *key              # what was asked for
    uint8_t *vary             # names and values of what the answer depends on: 2 bytes of length before each
    uint8_t *head             # header lines
    uint8_t *body
    uint32_t key_len, vary_len, head_len, body_len, body_cap
    uint16_t status
    uint8_t is_shared         # also for requests that say who asks

# Copies of one chain.
ctypedef struct stale_t:
    stale_t *next
    uint64_t id_
    uint64_t max_bytes
    uint64_t bytes
    uint32_t max_entries
    uint32_t n
    uint32_t n_buckets        # a power of two
    uint8_t is_wanted         # for sweeps
    copy_t **buckets
    copy_t *newest
    copy_t *oldest

# All of a worker.
ctypedef struct stales_t:
    stale_t *first
    uint64_t seed[2]
    uint64_t making           # bytes of copies that are being made
    uint64_t bytes
    uint64_t n
    uint64_t evicted          # so far

cdef stales_t *stales_new(uint64_t *rng) noexcept nogil
cdef void stales_free(stales_t *all_) noexcept nogil
cdef uint64_t stale_place_id(span_t name) noexcept nogil
# The place of that name, made when new; its bounds become these.
cdef stale_t *stale_place(stales_t *all_, span_t name, uint64_t max_bytes, uint32_t max_entries) noexcept nogil
# Those that were not asked for since `stales_begin_sweep` are given up.
cdef void stales_begin_sweep(stales_t *all_) noexcept nogil
cdef void stales_sweep(stales_t *all_) noexcept nogil
cdef uint64_t stale_hash(const stales_t *all_, span_t key) noexcept nogil
# The copy of what `key` asks for whose `vary` the request has; NULL when there is none.
cdef copy_t *stale_find(stale_t *k, uint64_t hash_, span_t key, const msg_t *request) noexcept nogil
# It was used: others leave before it.
cdef void stale_touch(stale_t *k, copy_t *c) noexcept nogil
# Forgets all copies of what `key` asks for; how many there were.
cdef uint32_t stale_forget(stales_t *all_, stale_t *k, uint64_t hash_, span_t key) noexcept nogil
# A copy to be made, with room for so many bytes of body; NULL when so many are being made that it would be too much.
cdef copy_t *copy_new(stales_t *all_, span_t key, span_t vary, span_t head, uint32_t body_cap,
                      uint64_t most) noexcept nogil
# False: it is larger than `most`, or there is no room; the copy is still the caller's.
cdef bint copy_add(stales_t *all_, copy_t *c, const uint8_t *p, uint32_t n, uint32_t most) noexcept nogil
# It is whole: the place owns it, in place of the one that answered the same request.
cdef void copy_keep(stales_t *all_, stale_t *k, copy_t *c, const msg_t *request) noexcept nogil
cdef void copy_drop(stales_t *all_, copy_t *c) noexcept nogil
# The values of all fields of a name with ", " between them, in memory that the next call uses again; absent when there
# is none. `fits` becomes False when it is longer than is looked at.
cdef span_t joined(const msg_t *m, span_t name, bint *fits) noexcept nogil
