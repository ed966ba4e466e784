"""See limits.pxd. The layout is written down in fastmesh/snapshot/wire.py."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy
from fastmesh._core.mem.arena cimport arena_alloc, arena_array, arena_t
from fastmesh._core.mem.counter cimport STATS_LIMITS
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.resil.limit_key cimport (
    KEY_HEADER, KEY_LABEL, KEY_PARTS_MAX, KEY_PATH, limit_key_begin, limit_part_t)
from fastmesh._core.resil.rate_limit cimport (
    LIMIT_LOCAL, LIMIT_NAME_MAX, LIMITS_MAX, limit_list_t, limit_ops_of, rate_limit_t)
from fastmesh._core.route.route_table cimport ROUTE_PREFIX
from fastmesh._core.snapshot.route_place cimport take_listener_place
from fastmesh._core.snapshot.snapshot cimport SHARE_ALL, listener_t
from fastmesh._core.snapshot.take cimport (
    take_at, take_bool, take_bytes, take_enter, take_entry, take_index, take_leave, take_list, take_record, take_refuse,
    take_text, take_u8, take_u32, take_uint)
from fastmesh._core.snapshot.take_each cimport take_each
from fastmesh._core.snapshot.take_match cimport take_match

cdef enum:
    TEXT = 160                # room for one sentence
    KEYS_MAX = 16777216       # what a table of buckets holds
    VALUE_TEXT = 1024


cdef bint _take_string(take_t *t, const char *name, arena_t *arena, const char **to) noexcept nogil:
    cdef span_t text
    cdef char *copy
    if not take_text(t, name, 0, VALUE_TEXT, &text):
        return False
    copy = <char *>arena_alloc(arena, text.len + 1)
    memcpy(copy, text.ptr, text.len)
    to[0] = copy
    return True


cdef bint _take_key(take_t *t, rate_limit_t *l, arena_t *arena) noexcept nogil:
    cdef limit_part_t *part
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_list(t, b"key", 3, KEY_PARTS_MAX, &n):
        return False
    l.key.parts = <limit_part_t *>arena_array(arena, n, sizeof(limit_part_t))
    l.key.n = n
    take_enter(t, b"key")
    for i in range(n):
        take_at(t, i)
        part = &l.key.parts[i]
        if not (take_record(t, NULL, 2) and take_u8(t, b"source", KEY_LABEL, &part.source) and
                take_bytes(t, b"name", 1 if part.source >= KEY_HEADER else 0, VALUE_TEXT, &part.name)):
            return False
    take_leave(t)
    limit_key_begin(&l.key)
    return True


cdef bint _take_limit(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef rate_limit_t *l = &s.rate_limits[number]
    cdef uint8_t kind = 0
    cdef uint32_t status = 0
    if not (take_record(t, NULL, 16) and take_bytes(t, b"name", 1, LIMIT_NAME_MAX, &l.name) and
            take_u32(t, b"row", 0, STATS_LIMITS - 1, &l.row) and take_u8(t, b"kind", LIMIT_LOCAL, &kind) and
            take_uint(t, b"token", 1, <uint64_t>1 << 60, &l.token_ns) and
            take_uint(t, b"burst", l.token_ns, <uint64_t>1 << 60, &l.burst_ns) and
            take_u32(t, b"keys", 1, KEYS_MAX, &l.keys) and _take_key(t, l, s.arena) and take_match(t, s, &l.match) and
            take_u32(t, b"share", 0, SHARE_ALL, &l.share) and take_u32(t, b"status", 400, 599, &status) and
            take_bool(t, b"dry_run", &l.is_dry_run) and take_bool(t, b"skips_missing", &l.skips_missing) and
            take_bool(t, b"shown", &l.is_shown) and take_text(t, b"policy", 1, VALUE_TEXT, &l.policy) and
            _take_string(t, b"details", s.arena, &l.details) and _take_string(t, b"why", s.arena, &l.why)):
        return False
    l.status = <uint16_t>status
    l.ops = limit_ops_of(kind)
    return True


cdef bint _looks_at_path(const rate_limit_t *l) noexcept nogil:
    cdef uint32_t i
    for i in range(l.key.n):
        if l.key.parts[i].source == KEY_PATH:
            return True
    # Of a match, all but "every path".
    return l.match is not NULL and not (l.match.routes[0].path_kind == ROUTE_PREFIX and
                                        l.match.routes[0].path.len == 1)


cdef bint _take_items(take_t *t, snapshot_t *s, limit_list_t *k) noexcept nogil:
    cdef uint32_t place = 0
    cdef uint32_t i
    if not take_list(t, b"limits", 1, LIMITS_MAX, &k.n):
        return False
    k.limits = <const rate_limit_t **>arena_array(s.arena, k.n, sizeof(rate_limit_t *))
    take_enter(t, b"limits")
    for i in range(k.n):
        take_at(t, i)
        if not take_entry(t, NULL, s.n_rate_limits, b"limits", &place):
            return False
        k.limits[i] = &s.rate_limits[place]
        k.needs_path |= _looks_at_path(k.limits[i])
    take_leave(t)
    return True


cdef bint _take_use(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef char text[TEXT]
    cdef limit_list_t *k = &s.limit_lists[number]
    cdef listener_t *l = NULL
    cdef uint32_t *list_of
    cdef uint32_t before = 0
    cdef uint32_t i
    cdef int64_t route = -1
    if not (take_record(t, NULL, 3) and take_listener_place(t, s, &l) and take_index(t, b"route", &route)):
        return False
    if route >= 0 and route >= l.routes.n:
        snprintf(text, TEXT, b"found %lld, but there are %u routes", <long long>route, l.routes.n)
        return take_refuse(t, b"route", text)
    if route >= 0:
        list_of = &l.routes.routes[route].limit_list
        if l.limit_list != 0:
            before = s.limit_lists[l.limit_list - 1].n
    else:
        list_of = &l.limit_list
        for i in range(l.routes.n):
            if l.routes.routes[i].limit_list != 0:
                return take_refuse(t, NULL, b"the limits of a listener must come before those of its routes")
    if list_of[0] != 0:
        return take_refuse(t, NULL, b"this listener or route has its limits already")
    if not _take_items(t, s, k):
        return False
    if before + k.n > LIMITS_MAX:
        snprintf(text, TEXT, b"%u limits on one way, must be at most %d", before + k.n, LIMITS_MAX)
        return take_refuse(t, b"limits", text)
    list_of[0] = number + 1
    return True


cdef bint limits_decode(take_t *t, snapshot_t *s) noexcept nogil:
    if not take_record(t, b"rate_limits", 2):
        return False
    take_enter(t, b"rate_limits")
    if not take_list(t, b"limits", 20, STATS_LIMITS, &s.n_rate_limits):
        return False
    s.rate_limits = <rate_limit_t *>arena_array(s.arena, s.n_rate_limits, sizeof(rate_limit_t))
    if not (take_each(t, s, b"limits", s.n_rate_limits, _take_limit) and
            take_list(t, b"uses", 4, 1 << 20, &s.n_limit_lists)):
        return False
    s.limit_lists = <limit_list_t *>arena_array(s.arena, s.n_limit_lists, sizeof(limit_list_t))
    if not take_each(t, s, b"uses", s.n_limit_lists, _take_use):
        return False
    take_leave(t)
    return True
