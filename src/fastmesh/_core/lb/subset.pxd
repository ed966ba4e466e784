"""Parts of a cluster by what is said of its endpoints: those with `version=v2`, say.

A subset is a small cluster: copies of some of the whole's endpoints with the same live state, and the cluster's own
algorithm over them. Load, failures, health and limits are those of the whole; only the choice is another. Built with
the snapshot, in its arena.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.mem.arena cimport arena_t
from fastmesh._core.mem.span cimport span_t

cdef enum:
    SUBSET_KEYS_MAX = 8
    SUBSET_SELECTORS_MAX = 8
    SUBSETS_MAX = 4096            # of one cluster
    SUBSET_COPIES_MAX = 1 << 19   # of endpoints, in all subsets of one cluster

    # subsets_t.fallback: where a request goes whose subset has no endpoint
    SUBSET_ANY = 0
    SUBSET_NONE = 1               # nowhere
    SUBSET_DEFAULT = 2            # to the default subset, as do those that ask for none

    # What became of a request.
    CHOSE_SUBSET = 0              # the one that was asked for
    CHOSE_ALL = 1                 # none was asked for
    CHOSE_DEFAULT = 2             # likewise, and there is a default
    CHOSE_ALL_INSTEAD = 3
    CHOSE_DEFAULT_INSTEAD = 4
    CHOSE_NOTHING = 5             # a cluster without endpoints

ctypedef struct subset_pair_t:
    span_t name
    span_t value

# Names by which endpoints are told apart, in ascending order.
ctypedef struct subset_selector_t:
    uint32_t n
    span_t *names

ctypedef struct subset_t:
    cluster_t c                   # first: a subset is known by its cluster
    uint32_t selector

ctypedef struct subsets_t:
    # --- filled in before subsets_build
    uint32_t n_selectors
    subset_selector_t *selectors
    uint8_t fallback
    uint32_t most                 # no further subsets are made
    uint32_t n_default
    subset_pair_t *default_       # in ascending order of names
    # --- made there
    subset_t *subsets             # in the order of selectors and, for each, of its first endpoint
    uint32_t n
    uint32_t left_out             # endpoints that are not in a subset they belong to, for a limit
    uint32_t *places              # open addressing: place of a subset + 1, 0 = free
    uint32_t mask
    cluster_t *standby            # the default subset; NULL = it has no endpoint, or there is none
    cluster_t nothing             # has no endpoint

# Makes the subsets of c.subsets. `c` is complete and stays where it is.
cdef void subsets_build(cluster_t *c, arena_t *arena) noexcept nogil
cdef void subsets_drop(cluster_t *c) noexcept nogil      # what is not in the arena
# Each counts where the whole does, c.told.
cdef void subsets_tell(cluster_t *c) noexcept nogil
# The selector of exactly those names, which are in ascending order; -1 = there is none.
cdef int32_t subsets_selector(const subsets_t *v, const subset_pair_t *pairs, uint32_t n) noexcept nogil
# The subset that has all pairs, in ascending order of names; NULL when no endpoint has them, or no selector says so.
cdef cluster_t *subset_find(const cluster_t *c, const subset_pair_t *pairs, uint32_t n) noexcept nogil
# Where a request goes that asks for these; `n` 0 = for none. Never NULL. `how`: CHOSE_*.
cdef cluster_t *subset_choose(cluster_t *c, const subset_pair_t *pairs, uint32_t n, int *how) noexcept nogil
# What the endpoints of a subset have in common: writes up to SUBSET_KEYS_MAX pairs, and returns how many.
cdef uint32_t subset_pairs(const cluster_t *subset, subset_pair_t *to) noexcept nogil
