"""The item `subsets` of a snapshot: by what clusters are split, and which part of them routes are for."""
from libc.stdint cimport uint32_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.lb.subset cimport subset_pair_t
from fastmesh._core.route.subset_rule cimport subset_rule_t, subset_word_value
from fastmesh._core.snapshot.snapshot cimport snapshot_t
from fastmesh._core.snapshot.take cimport take_t

# Builds the subsets, too: everything else of the snapshot has been read. False after a refusal.
cdef bint subsets_decode(take_t *t, snapshot_t *s) noexcept nogil


cdef inline uint32_t subset_rule_asks(const subset_rule_t *rule, const msg_t *m, subset_pair_t *pairs) noexcept nogil:
    """What a request asks for by a rule: at most SUBSET_RULE_MAX pairs, in ascending order of names. `m`: NULL =
    nothing is known of its headers."""
    cdef uint32_t n = 0
    cdef uint32_t i
    for i in range(rule.n):
        if subset_word_value(&rule.words[i], m, &pairs[n].value):
            pairs[n].name = rule.words[i].name
            n += 1
    return n
