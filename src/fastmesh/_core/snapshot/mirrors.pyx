"""See mirrors.pxd. The layout is written down in fastmesh/snapshot/wire.py."""
from libc.stdint cimport uint32_t
from fastmesh._core.mem.arena cimport arena_array
from fastmesh._core.route.mirror_rule cimport MIRRORS_MAX, mirror_list_t, mirror_rule_t
from fastmesh._core.route.route_table cimport ROUTE_SHARE_ALL, route_t
from fastmesh._core.snapshot.route_place cimport take_route_place
from fastmesh._core.snapshot.take cimport (
    take_at, take_enter, take_entry, take_leave, take_list, take_record, take_refuse, take_text, take_u32)
from fastmesh._core.snapshot.take_each cimport take_each
from fastmesh._core.snapshot.take_match cimport take_match

cdef enum:
    SUFFIX_MAX = 64


cdef bint _take_rule(take_t *t, const snapshot_t *s, mirror_rule_t *rule) noexcept nogil:
    cdef uint32_t i
    if not (take_record(t, NULL, 4) and take_match(t, s, &rule.match) and
            take_u32(t, b"share", 0, ROUTE_SHARE_ALL, &rule.share) and
            take_entry(t, b"cluster", s.n_clusters, b"clusters", &rule.cluster) and
            take_text(t, b"suffix", 0, SUFFIX_MAX, &rule.suffix)):
        return False
    for i in range(rule.suffix.len):
        if rule.suffix.ptr[i] <= 32 or rule.suffix.ptr[i] >= 127 or rule.suffix.ptr[i] == c':':
            return take_refuse(t, b"suffix", b"must be of characters of host names")
    return True


cdef bint _take_rules(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef mirror_list_t *k = &s.mirror_lists[number]
    cdef route_t *route = NULL
    cdef uint32_t i
    if not (take_record(t, NULL, 3) and take_route_place(t, s, &route)):
        return False
    if route.mirror_list != 0:
        return take_refuse(t, NULL, b"this route has its mirrors already")
    if not take_list(t, b"mirrors", 5, MIRRORS_MAX, &k.n):
        return False
    k.rules = <mirror_rule_t *>arena_array(s.arena, k.n, sizeof(mirror_rule_t))
    take_enter(t, b"mirrors")
    for i in range(k.n):
        take_at(t, i)
        if not _take_rule(t, s, &k.rules[i]):
            return False
    take_leave(t)
    route.mirror_list = number + 1
    return True


cdef bint mirrors_decode(take_t *t, snapshot_t *s) noexcept nogil:
    if not take_list(t, b"mirrors", 4, 1 << 20, &s.n_mirror_lists):
        return False
    s.mirror_lists = <mirror_list_t *>arena_array(s.arena, s.n_mirror_lists, sizeof(mirror_list_t))
    return take_each(t, s, b"mirrors", s.n_mirror_lists, _take_rules)
