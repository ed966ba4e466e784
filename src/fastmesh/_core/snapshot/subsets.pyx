"""See subsets.pxd. The layout is written down in fastmesh/snapshot/wire.py."""
from libc.stdint cimport int64_t, uint32_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.lb.subset cimport (
    SUBSET_DEFAULT, SUBSET_KEYS_MAX, SUBSET_SELECTORS_MAX, SUBSETS_MAX, subset_pair_t, subset_selector_t,
    subsets_build, subsets_selector, subsets_t)
from fastmesh._core.mem.arena cimport arena_alloc, arena_array
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.resil.fallback_rule cimport STEP_CLUSTER, fallback_t, step_t
from fastmesh._core.route.mirror_rule cimport mirror_list_t, mirror_rule_t
from fastmesh._core.route.route_table cimport route_t
from fastmesh._core.route.subset_rule cimport SUBSET_RULE_MAX, subset_rule_t, subset_word_t
from fastmesh._core.snapshot.route_place cimport take_route_place
from fastmesh._core.snapshot.take cimport (
    take_at, take_bool, take_enter, take_entry, take_index, take_leave, take_list, take_record, take_refuse, take_t,
    take_text, take_u8, take_u32)
from fastmesh._core.snapshot.take_each cimport take_each, take_uses

cdef enum:
    TEXT = 160                # room for one sentence
    WORD_MAX = 4096           # bytes of a name or value: what an endpoint's metadata may have


cdef bint _comes_after(span_t before, span_t name) noexcept nogil:
    cdef uint32_t least = before.len if before.len < name.len else name.len
    cdef int order = memcmp(name.ptr, before.ptr, least)
    return order > 0 or (order == 0 and name.len > before.len)


cdef bint _take_name(take_t *t, const span_t *before, span_t *name) noexcept nogil:
    """`before`: the one that it has to come after; NULL = it is the first."""
    if not take_text(t, NULL, 1, WORD_MAX, name):
        return False
    if before is not NULL and not _comes_after(before[0], name[0]):
        return take_refuse(t, NULL, b"names must be in ascending order")
    return True


cdef bint _take_selector(take_t *t, snapshot_t *s, subset_selector_t *to) noexcept nogil:
    cdef uint32_t i
    if not take_list(t, NULL, 1, SUBSET_KEYS_MAX, &to.n):
        return False
    if to.n == 0:
        return take_refuse(t, NULL, b"must have a name")
    to.names = <span_t *>arena_array(s.arena, to.n, sizeof(span_t))
    for i in range(to.n):
        if not _take_name(t, &to.names[i - 1] if i != 0 else NULL, &to.names[i]):
            return False
    return True


cdef bint _take_pairs(take_t *t, snapshot_t *s, subset_pair_t **pairs, uint32_t *count) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_list(t, b"default", 1, 2 * SUBSET_KEYS_MAX, &n):
        return False
    if n & 1:
        return take_refuse(t, b"default", b"a name without a value")
    count[0] = n // 2
    pairs[0] = <subset_pair_t *>arena_array(s.arena, count[0], sizeof(subset_pair_t))
    take_enter(t, b"default")
    for i in range(count[0]):
        take_at(t, 2 * i)
        if not (_take_name(t, &pairs[0][i - 1].name if i != 0 else NULL, &pairs[0][i].name) and
                take_text(t, NULL, 0, WORD_MAX, &pairs[0][i].value)):
            return False
    take_leave(t)
    return True


cdef bint _take_split(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    """By what one cluster is split."""
    cdef cluster_t *c
    cdef subsets_t *v
    cdef uint32_t at = 0
    cdef uint32_t i
    if not (take_record(t, NULL, 5) and take_entry(t, b"cluster", s.n_clusters, b"clusters", &at)):
        return False
    c = &s.clusters[at]
    if c.subsets is not NULL:
        return take_refuse(t, b"cluster", b"this cluster has its subsets already")
    if c.balancer_slot >= 0:
        return take_refuse(t, b"cluster", b"a policy gives its weights: it has no subsets")
    v = <subsets_t *>arena_alloc(s.arena, sizeof(subsets_t))
    if not take_list(t, b"selectors", 2, SUBSET_SELECTORS_MAX, &v.n_selectors):
        return False
    v.selectors = <subset_selector_t *>arena_array(s.arena, v.n_selectors, sizeof(subset_selector_t))
    take_enter(t, b"selectors")
    for i in range(v.n_selectors):
        take_at(t, i)
        if not _take_selector(t, s, &v.selectors[i]):
            return False
    take_leave(t)
    if not (take_u8(t, b"fallback", SUBSET_DEFAULT, &v.fallback) and _take_pairs(t, s, &v.default_, &v.n_default) and
            take_u32(t, b"max", 1, SUBSETS_MAX, &v.most)):
        return False
    if (v.n_default != 0) != (v.fallback == SUBSET_DEFAULT):
        return take_refuse(t, b"default", b"must be there when that is the fallback, and only then")
    if v.n_default != 0 and subsets_selector(v, v.default_, v.n_default) < 0:
        return take_refuse(t, b"default", b"must have the names of one of the selectors")
    # What is there from here on is freed with the snapshot.
    c.subsets = v
    subsets_build(c, s.arena)
    return True


cdef bint _take_word(take_t *t, const subset_word_t *before, subset_word_t *w) noexcept nogil:
    if not (take_record(t, NULL, 4) and _take_name(t, &before.name if before is not NULL else NULL, &w.name)):
        return False
    if not take_text(t, b"header", 0, WORD_MAX, &w.header):
        return False
    if not (take_bool(t, b"has_value", &w.has_value) and take_text(t, b"value", 0, WORD_MAX, &w.value)):
        return False
    if w.header.len == 0 and not w.has_value:
        return take_refuse(t, b"value", b"must be there, as there is no header")
    return True


cdef bint _is_split(take_t *t, snapshot_t *s, uint32_t cluster) noexcept nogil:
    cdef char text[TEXT]
    if cluster >= s.n_clusters:
        snprintf(text, TEXT, b"found %u, but there are %u clusters", cluster, s.n_clusters)
        return take_refuse(t, b"cluster", text)
    return s.clusters[cluster].subsets is not NULL or take_refuse(t, NULL, b"its cluster has no subsets")


cdef bint _take_words(take_t *t, snapshot_t *s, subset_rule_t *rule) noexcept nogil:
    cdef uint32_t i
    if not take_list(t, b"words", 5, SUBSET_RULE_MAX, &rule.n):
        return False
    rule.words = <subset_word_t *>arena_array(s.arena, rule.n, sizeof(subset_word_t))
    take_enter(t, b"words")
    for i in range(rule.n):
        take_at(t, i)
        if not _take_word(t, &rule.words[i - 1] if i != 0 else NULL, &rule.words[i]):
            return False
    take_leave(t)
    return True


cdef bint _take_own(take_t *t, snapshot_t *s, uint32_t cluster, subset_rule_t **rule) noexcept nogil:
    """Of whatever sends requests to the cluster besides routes."""
    if not _is_split(t, s, cluster):
        return False
    rule[0] = <subset_rule_t *>arena_alloc(s.arena, sizeof(subset_rule_t))
    rule[0].cluster = cluster
    return _take_words(t, s, rule[0])


cdef bint _take_copy(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    """The subset that a mirror's copies are for."""
    cdef mirror_list_t *k
    cdef mirror_rule_t *mirror
    cdef route_t *route = NULL
    cdef uint32_t at = 0
    if not (take_record(t, NULL, 4) and take_route_place(t, s, &route)):
        return False
    if route.mirror_list == 0:
        return take_refuse(t, b"route", b"it has no mirrors")
    k = &s.mirror_lists[route.mirror_list - 1]
    if not take_entry(t, b"mirror", k.n, b"mirrors", &at):
        return False
    mirror = &k.rules[at]
    if mirror.subset is not NULL:
        return take_refuse(t, NULL, b"this mirror has its subset already")
    return _take_own(t, s, mirror.cluster, &mirror.subset)


cdef bint _take_step(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    """The subset that a step of a fallback is for."""
    cdef fallback_t *f
    cdef step_t *step
    cdef uint32_t chain = 0
    cdef uint32_t at = 0
    if not (take_record(t, NULL, 3) and take_entry(t, b"chain", s.n_fallbacks, b"chains", &chain)):
        return False
    f = &s.fallbacks[chain]
    if not take_entry(t, b"step", f.n, b"steps", &at):
        return False
    step = &f.steps[at]
    if step.kind != STEP_CLUSTER:
        return take_refuse(t, b"step", b"it leads to no cluster")
    if step.subset is not NULL:
        return take_refuse(t, NULL, b"this step has its subset already")
    return _take_own(t, s, step.cluster, &step.subset)


cdef bint _take_use(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    """The subset that a route, or a part of its split, is for."""
    cdef subset_rule_t *rule = &s.subset_rules[number]
    cdef route_t *route = NULL
    cdef uint32_t *subset
    cdef int64_t part = -1
    if not (take_record(t, NULL, 4) and take_route_place(t, s, &route) and take_index(t, b"part", &part)):
        return False
    if part >= 0 and (route.split is NULL or part >= route.split.n):
        return take_refuse(t, b"part", b"must be a place in the split of the route")
    if part < 0 and route.cluster < 0:
        return take_refuse(t, b"part", b"must be there, as the route has no cluster")
    rule.cluster = route.split.parts[part].cluster if part >= 0 else <uint32_t>route.cluster
    subset = &route.split.parts[part].subset if part >= 0 else &route.subset
    if subset[0] != 0:
        return take_refuse(t, NULL, b"this route has its subset already")
    if not (_is_split(t, s, rule.cluster) and _take_words(t, s, rule)):
        return False
    subset[0] = number + 1
    return True


cdef bint subsets_decode(take_t *t, snapshot_t *s) noexcept nogil:
    if not take_record(t, b"subsets", 4):
        return False
    take_enter(t, b"subsets")
    if not (take_uses(t, s, b"clusters", 6, _take_split) and
            take_list(t, b"uses", 5, 1 << 20, &s.n_subset_rules)):
        return False
    s.subset_rules = <subset_rule_t *>arena_array(s.arena, s.n_subset_rules, sizeof(subset_rule_t))
    if not (take_each(t, s, b"uses", s.n_subset_rules, _take_use) and take_uses(t, s, b"copies", 5, _take_copy) and
            take_uses(t, s, b"steps", 4, _take_step)):
        return False
    take_leave(t)
    return True
