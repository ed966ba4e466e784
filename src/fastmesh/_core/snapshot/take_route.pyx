"""See take_route.pxd."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy
from fastmesh._core.http.msg cimport MSG_FIELDS_CAP
from fastmesh._core.mem.arena cimport arena_alloc, arena_array, arena_t
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.route.predicate cimport (
    VALUE_CONTAINS, VALUE_PATTERN, VALUE_PREFIX, VALUE_SUFFIX, predicate_t)
from fastmesh._core.route.pattern cimport PATTERN_CELLS_MAX, PATTERN_WHATEVER
from fastmesh._core.route.route_table cimport (
    ROUTE_EXACT, ROUTE_HOST_MAX, ROUTE_PATTERN, ROUTE_SHARE_ALL, route_add_method, route_t)
from fastmesh._core.route.route_split cimport SPLIT_MAX, split_part_t, split_t
from fastmesh._core.snapshot.take cimport (
    take_at, take_bool, take_bytes, take_duration, take_enter, take_index, take_int, take_leave, take_list, take_place,
    take_record, take_refuse, take_t, take_text, take_token, take_u8, take_u32)
from fastmesh._core.snapshot.take_acts cimport take_acts
from fastmesh._core.snapshot.unpack cimport unpack_nil

cdef extern from "field_name.h" nogil:
    unsigned int field_name_id(const uint8_t *p, size_t n)

cdef enum:
    NAME_MAX = 255
    HEAD_MAX = 65535
    U32_MAX = 0xFFFFFFFF
    VALUES_MAX = MSG_FIELDS_CAP
    WEIGHT_MAX = (1 << 24) - 1    # 256 of them fit 32 bits
    PRIORITY_MOST = 2             # PRIORITY_COUNT of resil/pressure, less one


cdef bint take_pattern(take_t *t, arena_t *arena, pattern_t *p) noexcept nogil:
    cdef span_t classes, flags, table
    cdef uint16_t *cells
    cdef uint32_t i
    if not (take_record(t, NULL, 3) and take_bytes(t, b"classes", 256, 256, &classes) and
            take_bytes(t, b"flags", 2, PATTERN_CELLS_MAX, &flags) and
            take_bytes(t, b"table", 4, 2 * PATTERN_CELLS_MAX, &table)):
        return False
    p.n_states = flags.len
    p.n_classes = table.len // 2 // flags.len
    if table.len != 2 * p.n_states * p.n_classes:
        return take_refuse(t, b"table", b"must have as many steps for each state")
    for i in range(256):
        if classes.ptr[i] >= p.n_classes:
            return take_refuse(t, b"classes", b"found one that the table does not have")
    for i in range(flags.len):
        if flags.ptr[i] > PATTERN_WHATEVER:
            return take_refuse(t, b"flags", b"must be at most 2")
    # The bytes lie anywhere; the table is read as numbers.
    cells = <uint16_t *>arena_array(arena, table.len // 2, sizeof(uint16_t))
    for i in range(table.len // 2):
        cells[i] = <uint16_t>(table.ptr[2 * i] | table.ptr[2 * i + 1] << 8)
        if cells[i] >= p.n_states:
            return take_refuse(t, b"table", b"found a step to a state that is not there")
    p.classes = classes.ptr
    p.flags = flags.ptr
    p.table = cells
    return True


cdef bint take_networks(take_t *t, arena_t *arena, const char *name, cidr_t **list_, uint32_t *count) noexcept nogil:
    cdef cidr_t *c
    cdef span_t ip
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_list(t, name, 4, 65536, &n):
        return False
    list_[0] = <cidr_t *>arena_array(arena, n, sizeof(cidr_t))
    count[0] = n
    take_enter(t, name)
    for i in range(n):
        take_at(t, i)
        c = &list_[0][i]
        if not (take_record(t, NULL, 3) and take_u8(t, b"family", 6, &c.family)):
            return False
        if c.family != 4 and c.family != 6 and c.family != 1:
            return take_refuse(t, b"family", b"must be 4, 6 or 1")
        if not (take_u8(t, b"bits", 32 if c.family == 4 else 128, &c.bits) and take_bytes(t, b"ip", 16, 16, &ip)):
            return False
        memcpy(c.ip, ip.ptr, 16)
    take_leave(t)
    return True


cdef bint take_hosts(take_t *t, arena_t *arena, route_t *r) noexcept nogil:
    cdef span_t h
    cdef bint is_any = False
    cdef bint is_star, is_beginning
    cdef uint32_t n = 0
    cdef uint32_t i, j, colons
    if not take_list(t, b"hosts", 2, 65535, &n):
        return False
    r.hosts = <span_t *>arena_array(arena, n, sizeof(span_t))
    take_enter(t, b"hosts")
    for i in range(n):
        take_at(t, i)
        if not take_text(t, NULL, 1, ROUTE_HOST_MAX, &h):
            return False
        if h.len == 1 and h.ptr[0] == 42:
            is_any = True
            continue
        if h.len > 2 and h.ptr[0] == 91 and h.ptr[h.len - 1] == 93:
            h = span_of(h.ptr + 1, h.len - 2)
        elif h.len > 1 and h.ptr[h.len - 1] == 46:
            h.len -= 1
        is_star = h.len > 2 and h.ptr[0] == 42 and h.ptr[1] == 46
        is_beginning = not is_star and h.len > 2 and h.ptr[h.len - 1] == 42 and h.ptr[h.len - 2] == 46
        colons = 0
        for j in range(h.len):
            if 65 <= h.ptr[j] <= 90:
                return take_refuse(t, NULL, b"must be in lower case")
            if h.ptr[j] == 58:
                colons += 1
            elif ((h.ptr[j] == 42 and not (is_star and j == 0) and not (is_beginning and j == h.len - 1)) or
                  h.ptr[j] == 47 or h.ptr[j] == 32):
                return take_refuse(t, NULL, b"must be a host name, \"*.\" and a domain, a name and \".*\", or \"*\"")
        if h.ptr[0] == 46:
            return take_refuse(t, NULL, b"must not begin with a dot")
        if h.ptr[h.len - 1] == 46:
            return take_refuse(t, NULL, b"must not end with two dots")
        if colons == 1:
            return take_refuse(t, NULL, b"must not have a port")
        r.hosts[r.n_hosts] = h
        r.n_hosts += 1
    take_leave(t)
    if is_any:
        r.n_hosts = 0
    return True


cdef bint take_methods(take_t *t, arena_t *arena, route_t *r) noexcept nogil:
    cdef span_t method
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_list(t, b"methods", 2, 256, &n):
        return False
    r.methods_other = <span_t *>arena_array(arena, n, sizeof(span_t))
    take_enter(t, b"methods")
    for i in range(n):
        take_at(t, i)
        if not take_token(t, NULL, False, &method):
            return False
        if not route_add_method(r, method):
            r.methods_other[r.n_methods_other] = method
            r.n_methods_other += 1
    take_leave(t)
    return True


cdef bint pattern_at(take_t *t, const char *name, const pattern_t *patterns, uint32_t n_patterns, int64_t place,
                     const pattern_t **p) noexcept nogil:
    if not 0 <= place < n_patterns:
        return take_refuse(t, name, b"must be the place of a pattern")
    p[0] = &patterns[place]
    return True


cdef bint take_value(take_t *t, bint is_header, const pattern_t *patterns, uint32_t n_patterns,
                     predicate_t *v) noexcept nogil:
    if not take_record(t, NULL, 6):
        return False
    if is_header:
        if not take_token(t, b"name", True, &v.name):
            return False
        v.id = <uint8_t>field_name_id(v.name.ptr, v.name.len)
    elif not take_bytes(t, b"name", 1, HEAD_MAX, &v.name):
        return False
    if not (take_text(t, b"value", 0, HEAD_MAX, &v.text) and take_u8(t, b"kind", VALUE_PATTERN, &v.kind) and
            take_bool(t, b"invert", &v.invert) and take_int(t, b"low", &v.low) and take_int(t, b"high", &v.high)):
        return False
    if v.text.len == 0 and (v.kind == VALUE_PREFIX or v.kind == VALUE_SUFFIX or v.kind == VALUE_CONTAINS):
        return take_refuse(t, b"value", b"must not be empty")
    return v.kind != VALUE_PATTERN or pattern_at(t, b"low", patterns, n_patterns, v.low, &v.pattern)


cdef bint take_values(take_t *t, arena_t *arena, const char *name, bint is_header, const pattern_t *patterns,
                      uint32_t n_patterns, predicate_t **list_, uint16_t *count) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_list(t, name, 7, VALUES_MAX, &n):
        return False
    list_[0] = <predicate_t *>arena_array(arena, n, sizeof(predicate_t))
    count[0] = <uint16_t>n
    take_enter(t, name)
    for i in range(n):
        take_at(t, i)
        if not take_value(t, is_header, patterns, n_patterns, &list_[0][i]):
            return False
    take_leave(t)
    return True


cdef bint take_further(take_t *t, arena_t *arena, const pattern_t *patterns, uint32_t n_patterns,
                       route_t *r) noexcept nogil:
    """The conditions that few routes have."""
    cdef int64_t place = -1
    r.share = ROUTE_SHARE_ALL
    if unpack_nil(&t.u):
        return r.path_kind != ROUTE_PATTERN or take_refuse(t, b"further", b"must be there, as the path is a pattern")
    if not take_record(t, b"further", 5):
        return False
    take_enter(t, b"further")
    if not take_index(t, b"pattern", &place):
        return False
    if r.path_kind == ROUTE_PATTERN:
        if not pattern_at(t, b"pattern", patterns, n_patterns, place, &r.pattern):
            return False
    elif place >= 0:
        return take_refuse(t, b"pattern", b"must be -1, as the path is none")
    if not (take_values(t, arena, b"query", False, patterns, n_patterns, &r.query, &r.n_query) and
            take_values(t, arena, b"cookies", False, patterns, n_patterns, &r.cookies, &r.n_cookies) and
            take_networks(t, arena, b"sources", &r.sources, &r.n_sources) and
            take_u32(t, b"share", 0, ROUTE_SHARE_ALL, &r.share)):
        return False
    take_leave(t)
    return True


cdef bint take_split(take_t *t, arena_t *arena, const split_t **split) noexcept nogil:
    cdef split_t *s
    cdef uint32_t n = 0
    cdef uint32_t weight = 0
    cdef uint32_t i
    cdef span_t header, cookie
    split[0] = NULL
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"split", 3):
        return False
    take_enter(t, b"split")
    if not take_list(t, b"weights", 3, SPLIT_MAX, &n):
        return False
    s = <split_t *>arena_alloc(arena, sizeof(split_t))
    s.parts = <split_part_t *>arena_array(arena, n, sizeof(split_part_t))
    s.n = n
    take_enter(t, b"weights")
    for i in range(n):
        take_at(t, i)
        if not (take_record(t, NULL, 2) and take_u32(t, b"cluster", 0, U32_MAX, &s.parts[i].cluster) and
                take_u32(t, b"weight", 0, WEIGHT_MAX, &weight)):
            return False
        s.total += weight
        s.parts[i].end = s.total
    take_leave(t)
    if s.total == 0:
        return take_refuse(t, b"weights", b"must not all be 0")
    if not (take_bytes(t, b"header", 0, NAME_MAX, &header) and take_text(t, b"cookie", 0, NAME_MAX, &cookie)):
        return False
    for i in range(header.len):
        if 65 <= header.ptr[i] <= 90 or header.ptr[i] <= 32 or header.ptr[i] >= 127:
            return take_refuse(t, b"header", b"must be a token in lower case")
    s.header = header
    s.cookie = cookie
    split[0] = s
    take_leave(t)
    return True


cdef bint take_route(take_t *t, arena_t *arena, const pattern_t *patterns, uint32_t n_patterns,
                     route_t *r) noexcept nogil:
    cdef uint32_t status = 0
    if not (take_record(t, NULL, 18) and take_bytes(t, b"name", 0, NAME_MAX, &r.name) and
            take_u8(t, b"path_kind", ROUTE_PATTERN, &r.path_kind) and take_text(t, b"path", 1, HEAD_MAX, &r.path)):
        return False
    if r.path.ptr[0] != 47 and not (r.path_kind == ROUTE_EXACT and r.path.len == 1 and r.path.ptr[0] == 42):
        return take_refuse(t, b"path", b"must begin with \"/\"")
    if not (take_hosts(t, arena, r) and take_methods(t, arena, r) and
            take_values(t, arena, b"headers", True, patterns, n_patterns, &r.headers, &r.n_headers) and
            take_place(t, b"cluster", &r.cluster) and take_u32(t, b"status", 0, 599, &status)):
        return False
    if r.cluster >= 0 and status != 0:
        return take_refuse(t, b"status", b"must be 0, as there is a cluster")
    if r.cluster < 0 and 0 < status < 200:
        return take_refuse(t, b"status", b"must be at least 200, as there is no cluster")
    r.status = <uint16_t>status
    if not (take_bytes(t, b"body", 0, U32_MAX, &r.body) and
            take_text(t, b"content_type", 0, NAME_MAX, &r.content_type) and
            take_duration(t, b"timeout", &r.timeout_ns) and take_further(t, arena, patterns, n_patterns, r) and
            take_acts(t, arena, patterns, n_patterns, &r.acts) and take_split(t, arena, &r.split)):
        return False
    if r.split is not NULL and r.cluster >= 0:
        return take_refuse(t, b"split", b"must be nil, as there is a cluster")
    if r.split is not NULL and status != 0:
        return take_refuse(t, b"split", b"must be nil, as there is a status")
    if r.split is NULL and r.cluster < 0 and status == 0:
        return take_refuse(t, b"status", b"must be at least 200, as there is no cluster")
    return (take_place(t, b"chain", &r.chain) and take_u8(t, b"priority", PRIORITY_MOST, &r.priority) and
            take_bool(t, b"has_timeout", &r.has_timeout) and take_duration(t, b"stream_idle", &r.stream_idle_ns))
