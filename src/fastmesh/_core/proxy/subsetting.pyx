"""See subsetting.pxd."""
from libc.stdint cimport uint32_t
from fastmesh._core.lb.subset cimport (
    CHOSE_ALL_INSTEAD, CHOSE_DEFAULT, CHOSE_DEFAULT_INSTEAD, CHOSE_NOTHING, CHOSE_SUBSET, subset_choose, subset_pair_t)
from fastmesh._core.mem.counter cimport balance_row_t
from fastmesh._core.proxy.wire_head cimport wire_head
from fastmesh._core.route.subset_rule cimport SUBSET_RULE_MAX, subset_rule_t
from fastmesh._core.snapshot.subsets cimport subset_rule_asks

cdef bint _reads_headers(const subset_rule_t *rule) noexcept nogil:
    cdef uint32_t i
    for i in range(rule.n):
        if rule.words[i].header.len != 0:
            return True
    return False


cdef cluster_t *subsetting_goal(cluster_t *c, const subset_rule_t *rule) noexcept nogil:
    cdef subset_pair_t pairs[SUBSET_RULE_MAX]
    cdef int how = 0
    if _reads_headers(rule):
        return NULL
    return subset_choose(c, pairs, subset_rule_asks(rule, NULL, pairs), &how)


cdef void subsetting_enter(stream_t *s, const msg_t *m) noexcept nogil:
    cdef subset_pair_t pairs[SUBSET_RULE_MAX]
    cdef const subset_rule_t *rule = s.subset
    cdef balance_row_t *row = s.cluster.told
    cdef uint32_t n = 0
    cdef int how = 0
    if rule is not NULL and rule.cluster == s.cluster.index:
        # Who goes on from a failure, or is a copy, has its head as upstreams get it.
        if m is NULL and _reads_headers(rule):
            m = wire_head(s)
        n = subset_rule_asks(rule, m, pairs)
    s.cluster = subset_choose(s.cluster, pairs, n, &how)
    s.subset_how = <unsigned char>(how + 1)
    if row is NULL:
        return
    if how == CHOSE_SUBSET:
        row.subset_found += 1
    elif how == CHOSE_DEFAULT or how == CHOSE_DEFAULT_INSTEAD:
        row.subset_default += 1
    elif how == CHOSE_ALL_INSTEAD:
        row.subset_any += 1
    elif how == CHOSE_NOTHING:
        row.subset_none += 1
