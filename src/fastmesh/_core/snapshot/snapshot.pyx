"""The decoder of snapshots, and their life.

The bytes are read once, front to back; texts that spans point to are copied into the arena one by one. The layout of
the arrays is written down in fastmesh/snapshot/wire.py.
Where it takes long by what there is, it takes breaths: mem/breath.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcmp, memcpy, memset
from fastmesh._core.mem.arena cimport (
    arena_alloc, arena_array, arena_new, arena_t, heap_array, heap_free)
from fastmesh._core.mem.breath cimport breath_take
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.hash cimport hash_bytes
from fastmesh._core.mem.health cimport HEALTH_SEED, health_cluster
from fastmesh._core.mem.span cimport span_eq, span_of, span_t
from fastmesh._core.mem.resident cimport resident_drop, resident_has, resident_look, resident_t
from fastmesh._core.net.addr cimport ADDR_PATH_MAX, addr_t
from fastmesh._core.http.msg cimport MSG_FIELDS_CAP
from fastmesh._core.lb.cluster cimport LB_LAST, LB_MAGLEV, LB_RING_HASH, cluster_build, cluster_t
from fastmesh._core.lb.endpoint cimport (
    METADATA_MOST, STAGE_NEW, STAGE_WARM, WARM_FROM_NOW, endpoint_live_t, endpoint_note_t, endpoint_row_t,
    endpoint_t)
from fastmesh._core.lb.use cimport endpoint_claim, endpoint_warm, endpoint_warm_since
from fastmesh._core.resil.budget cimport BUDGET_RATE, BUDGET_SHARE
from fastmesh._core.route.pattern cimport pattern_t
from fastmesh._core.route.route_table cimport route_build, route_t
from fastmesh._core.route.route_split cimport split_t
from fastmesh._core.snapshot.balancing cimport decode_balancing
from fastmesh._core.snapshot.cors_rules cimport cors_decode
from fastmesh._core.snapshot.counted cimport counted_decode
from fastmesh._core.snapshot.fallbacks cimport fallbacks_decode
from fastmesh._core.snapshot.injections cimport injections_decode
from fastmesh._core.snapshot.leaving cimport leaving_add
from fastmesh._core.snapshot.limits cimport limits_decode
from fastmesh._core.snapshot.mirrors cimport mirrors_decode
from fastmesh._core.snapshot.live cimport (
    LIVE_NAME_MAX, live_cluster_get, live_endpoint_get, live_reserve, live_shared)
from fastmesh._core.snapshot.retries cimport retries_decode
from fastmesh._core.snapshot.subsets cimport subsets_decode
from fastmesh._core.snapshot.take cimport (
    take_at, take_bool, take_borrowed, take_bytes, take_duration, take_enter, take_entry, take_index, take_leave,
    take_list, take_place, take_record, take_refuse, take_t, take_text, take_texts, take_token, take_u8, take_u32,
    take_uint)
from fastmesh._core.snapshot.take_breakers cimport take_breakers
from fastmesh._core.snapshot.take_each cimport take_each
from fastmesh._core.snapshot.take_match cimport take_match
from fastmesh._core.snapshot.take_metric_labels cimport take_metric_labels
from fastmesh._core.snapshot.take_outlier cimport take_outlier
from fastmesh._core.snapshot.take_pressure cimport take_pressure
from fastmesh._core.snapshot.take_route cimport take_networks, take_pattern, take_route
from fastmesh._core.snapshot.unpack cimport unpack_nil

cdef extern from "<sys/socket.h>" nogil:
    enum: AF_INET
    enum: AF_INET6
    enum: AF_UNIX

cdef enum:
    # the item `checks` of a cluster
    CHECKS_ARE_MADE = 1
    CHECKS_CLOSE_IDLE = 2
    CHECKS_LAST = 3
    NAME_MAX = 255
    NOTE_MAX = 4096           # bytes of a word about an endpoint
    PRIORITY_MAX = 127
    TEXT = 160
    LOG_FIELD_MAX = 30
    LOG_REQUEST_HEADER = 12
    LOG_RESPONSE_HEADER = 13
    HEAD_MAX = 65535
    U32_MAX = 0xFFFFFFFF
    WEIGHT_MAX = 1 << 31
    BREATH_MASK = 63          # of endpoints between two looks at the clock

ctypedef struct decode_t:
    take_t t
    snapshot_t *s
    endpoint_row_t *rows
    uint32_t n_rows
    uint32_t row_end          # beyond the last that an endpoint has

cdef uint32_t n_alive = 0
cdef void (*on_free)(void *) noexcept nogil     # of `filters`; NULL until it is set


# --- settings ---

cdef bint _take_log_op(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef log_op_t *op = &s.log_ops[number]
    if not (take_record(t, NULL, 3) and take_u8(t, b"field", LOG_FIELD_MAX, &op.field) and
            take_u8(t, b"quote", 1, &op.quote)):
        return False
    if op.field == LOG_REQUEST_HEADER or op.field == LOG_RESPONSE_HEADER:
        return take_token(t, b"text", True, &op.text)
    return take_bytes(t, b"text", 0, 65536, &op.text)


cdef bint decode_log_ops(take_t *t, snapshot_t *s) noexcept nogil:
    if unpack_nil(&t.u):
        return True
    if not take_list(t, b"log_ops", 4, 4096, &s.n_log_ops):
        return False
    s.log_ops = <log_op_t *>arena_array(s.arena, s.n_log_ops, sizeof(log_op_t))
    return take_each(t, s, b"log_ops", s.n_log_ops, _take_log_op)


cdef bint _take_pattern(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    return take_pattern(t, s.arena, &s.patterns[number])


cdef bint decode_patterns(take_t *t, snapshot_t *s) noexcept nogil:
    if not take_list(t, b"patterns", 256, 1 << 20, &s.n_patterns):
        return False
    s.patterns = <pattern_t *>arena_array(s.arena, s.n_patterns, sizeof(pattern_t))
    return take_each(t, s, b"patterns", s.n_patterns, _take_pattern)


cdef bint decode_settings(decode_t *d) noexcept nogil:
    cdef take_t *t = &d.t
    if not take_record(t, b"settings", 5):
        return False
    take_enter(t, b"settings")
    if not (take_u32(t, b"max_connections", 0, U32_MAX, &d.s.max_connections) and decode_log_ops(t, d.s) and
            decode_patterns(t, d.s) and take_pressure(t, &d.s.pressure) and
            take_metric_labels(t, &d.s.metric_labels)):
        return False
    take_leave(t)
    return True


# --- routes ---

cdef bint decode_routes(decode_t *d, listener_t *l) noexcept nogil:
    cdef take_t *t = &d.t
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_list(t, b"routes", 18, 1 << 20, &n):
        return False
    if n != 0 and l.protocol == PROTOCOL_TCP:
        return take_refuse(t, b"routes", b"must be empty, as the protocol is tcp")
    l.routes.routes = <route_t *>arena_array(d.s.arena, n, sizeof(route_t))
    l.routes.n = n
    take_enter(t, b"routes")
    for i in range(n):
        take_at(t, i)
        if not take_route(t, d.s.arena, d.s.patterns, d.s.n_patterns, &l.routes.routes[i]):
            return False
    take_leave(t)
    if route_build(&l.routes, d.s.arena) != FM_OK:
        return take_refuse(t, b"routes", b"too many combinations of hosts and paths, must be at most 1048576")
    return True


# --- listeners ---

cdef bint decode_limits(decode_t *d, listener_t *l) noexcept nogil:
    cdef take_t *t = &d.t
    if not take_record(t, b"limits", 13):
        return False
    take_enter(t, b"limits")
    if not (take_u32(t, b"head_bytes", 64, HEAD_MAX, &l.limits.head_bytes) and
            take_u32(t, b"line_bytes", 16, HEAD_MAX, &l.limits.line_bytes) and
            take_u32(t, b"fields", 1, MSG_FIELDS_CAP, &l.limits.fields) and
            take_duration(t, b"header_timeout", &l.header_timeout_ns) and
            take_duration(t, b"body_timeout", &l.body_timeout_ns) and
            take_duration(t, b"idle_timeout", &l.idle_timeout_ns) and
            take_duration(t, b"tcp_idle", &l.tcp_idle_ns) and
            take_duration(t, b"request_timeout", &l.request_timeout_ns) and
            take_duration(t, b"linger", &l.linger_ns) and
            take_u32(t, b"max_requests_per_connection", 0, U32_MAX, &l.max_requests_per_connection) and
            take_u32(t, b"max_connections", 0, U32_MAX, &l.max_connections) and
            take_u32(t, b"buffer_bytes", 1024, 1 << 30, &l.buffer_bytes) and
            take_duration(t, b"stream_idle", &l.stream_idle_ns)):
        return False
    take_leave(t)
    return True


cdef bint decode_deadlines(decode_t *d, listener_t *l) noexcept nogil:
    cdef take_t *t = &d.t
    if not take_record(t, b"deadlines", 3):
        return False
    take_enter(t, b"deadlines")
    if not (take_bool(t, b"read", &l.deadline_reads) and take_bool(t, b"send", &l.deadline_sends) and
            take_text(t, b"header", 0, NAME_MAX, &l.deadline_name)):
        return False
    take_leave(t)
    return True


cdef bint decode_listener(decode_t *d, listener_t *l) noexcept nogil:
    cdef take_t *t = &d.t
    cdef int64_t cluster = -1
    if not (take_record(t, NULL, 13) and take_u32(t, b"id", 0, U32_MAX, &l.id) and
            take_bytes(t, b"name", 1, NAME_MAX, &l.name) and
            take_u8(t, b"protocol", PROTOCOL_TCP, &l.protocol) and
            take_bool(t, b"inbound", &l.inbound) and take_bool(t, b"plain_answers", &l.is_plain_answers) and
            take_index(t, b"cluster", &cluster)):
        return False
    if l.protocol == PROTOCOL_TCP and cluster < 0:
        return take_refuse(t, b"cluster", b"must be there, as the protocol is tcp")
    if l.protocol == PROTOCOL_HTTP and cluster >= 0:
        return take_refuse(t, b"cluster", b"must be -1, as the protocol is http")
    l.cluster = <int32_t>(cluster if cluster < 0x7FFFFFFF else 0x7FFFFFFF)
    return (decode_limits(d, l) and take_networks(t, d.s.arena, b"trusted", &l.trusted, &l.n_trusted) and
            take_text(t, b"via", 0, NAME_MAX, &l.via) and
            decode_routes(d, l) and take_place(t, b"chain", &l.chain) and decode_deadlines(d, l) and
            take_bool(t, b"half_close", &l.half_close))


# --- clusters ---

cdef bint decode_address(decode_t *d, addr_t *a) noexcept nogil:
    cdef take_t *t = &d.t
    cdef uint8_t family = 0
    cdef uint32_t port = 0
    cdef uint32_t least = 16
    cdef uint32_t most = 16
    cdef span_t bytes
    if not (take_u8(t, b"family", 6, &family) and take_u32(t, b"port", 0, 65535, &port)):
        return False
    if family == 4:
        a.family = AF_INET
        least = 4
        most = 4
    elif family == 6:
        a.family = AF_INET6
    elif family == 1:
        a.family = AF_UNIX
        least = 1
        most = ADDR_PATH_MAX
    else:
        return take_refuse(t, b"family", b"must be 4, 6 or 1")
    if (port == 0) != (family == 1):
        return take_refuse(t, b"port", b"must be 0 for a Unix path" if family == 1 else b"found 0, must be at least 1")
    if not take_borrowed(t, b"addr", least, most, &bytes):
        return False
    # An abstract name begins with NUL; a path ends at the first.
    if family == 1 and bytes.len > 1 and bytes.ptr[0] != 0 and memchr(bytes.ptr, 0, bytes.len) is not NULL:
        return take_refuse(t, b"addr", b"must not contain a NUL")
    a.port = <uint16_t>port
    a.len = bytes.len
    memcpy(a.ip, bytes.ptr, bytes.len)
    return True


cdef inline endpoint_row_t *row_of(const decode_t *d, const endpoint_t *e) noexcept nogil:
    return &d.rows[e.row if e.row < d.n_rows else d.n_rows - 1]


cdef bint decode_note(decode_t *d, cluster_t *c, const endpoint_t *e) noexcept nogil:
    cdef take_t *t = &d.t
    cdef endpoint_note_t *note
    cdef uint32_t n = 0
    if unpack_nil(&t.u):
        return True
    note = <endpoint_note_t *>arena_array(d.s.arena, 1, sizeof(endpoint_note_t))
    if c.notes is NULL:
        c.notes = <const endpoint_note_t **>arena_array(d.s.arena, c.n, sizeof(void *))
    c.notes[e - c.endpoints] = note
    if not take_record(t, b"note", 3):
        return False
    take_enter(t, b"note")
    if not (take_u32(t, b"priority", 0, PRIORITY_MAX, &note.priority) and
            take_text(t, b"zone", 0, NOTE_MAX, &note.zone) and
            take_list(t, b"metadata", 1, 2 * METADATA_MOST, &n)):
        return False
    if n & 1:
        return take_refuse(t, b"metadata", b"a name without a value")
    note.n = n // 2
    note.words = <span_t *>arena_array(d.s.arena, n, sizeof(span_t))
    if not take_texts(t, b"metadata", n, 0, NOTE_MAX, note.words):
        return False
    take_leave(t)
    return True


cdef bint decode_endpoint(decode_t *d, cluster_t *c, endpoint_t *e) noexcept nogil:
    cdef take_t *t = &d.t
    cdef addr_t at
    if not (take_record(t, NULL, 7) and take_u32(t, b"row", 0, U32_MAX, &e.row) and decode_address(d, &at) and
            take_u32(t, b"weight", 1, WEIGHT_MAX, &e.weight) and take_text(t, b"text", 0, NAME_MAX, &e.text) and
            decode_note(d, c, e)):
        return False
    e.live = live_endpoint_get(d.s.live, c.live, &at, e.row)
    if e.row >= d.row_end:
        d.row_end = e.row + 1 if e.row < d.n_rows else d.n_rows
    return True


cdef bint decode_balancer(decode_t *d, cluster_t *c) noexcept nogil:
    """Its slot is compared with the number of rules once that is known."""
    cdef take_t *t = &d.t
    cdef uint32_t slot = 0
    if unpack_nil(&t.u):
        return True
    if c.lb == LB_RING_HASH or c.lb == LB_MAGLEV:
        return take_refuse(t, b"balancer", b"must be nil, as its algorithm goes by a table")
    if not take_record(t, b"balancer", 2):
        return False
    take_enter(t, b"balancer")
    if not (take_u32(t, b"slot", 0, FILTER_SLOTS_MAX - 1, &slot) and
            take_duration(t, b"interval", &c.balancer_interval_ns)):
        return False
    if c.balancer_interval_ns < BALANCER_INTERVAL_NS:
        return take_refuse(t, b"interval", b"must be at least 1 ms")
    c.balancer_slot = <int32_t>slot
    take_leave(t)
    return True


cdef inline uint64_t health_key(const cluster_t *c) noexcept nogil:
    return hash_bytes(c.name.ptr, c.name.len, HEALTH_SEED) | 1


cdef void watch_health(decode_t *d, cluster_t *c) noexcept nogil:
    """Its rows in what workers share; without them nobody is ejected, and no check counts."""
    if not c.outlier.is_on and not c.is_checked:
        return
    c.shared = live_shared(d.s.live)
    c.health = health_cluster(c.shared, c.id, health_key(c))
    if c.health is NULL:
        c.outlier.is_on = 0
        c.is_checked = 0
        return
    c.is_watched = 1
    if c.is_checked:
        # Nobody is up before the rows have been looked at.
        c.epoch = <uint64_t>-1


cdef bint decode_cluster(decode_t *d, cluster_t *c) noexcept nogil:
    cdef take_t *t = &d.t
    cdef uint32_t n = 0
    cdef uint32_t i
    cdef uint8_t checks = 0
    c.balancer_slot = -1
    c.budget_share = BUDGET_SHARE
    c.budget_rate = BUDGET_RATE
    if not (take_record(t, NULL, 20) and take_u32(t, b"id", 0, U32_MAX, &c.id) and
            take_bytes(t, b"name", 1, LIVE_NAME_MAX, &c.name) and
            take_u8(t, b"lb", LB_LAST, &c.lb) and
            take_duration(t, b"connect_timeout", &c.connect_timeout_ns) and
            take_duration(t, b"idle_timeout", &c.idle_timeout_ns) and
            take_u32(t, b"max_connections", 0, U32_MAX, &c.max_connections) and
            take_u32(t, b"max_pending", 0, U32_MAX, &c.max_pending) and
            take_u32(t, b"max_requests", 0, U32_MAX, &c.max_requests) and
            take_u32(t, b"max_requests_per_connection", 0, U32_MAX, &c.max_requests_per_connection) and
            take_u32(t, b"max_connect_attempts", 1, U32_MAX, &c.max_connect_attempts) and
            take_duration(t, b"avoid_base", &c.avoid_base_ns) and
            take_duration(t, b"avoid_max", &c.avoid_max_ns) and
            take_duration(t, b"pending_timeout", &c.pending_timeout_ns) and
            take_list(t, b"endpoints", 8, 1 << 24, &n)):
        return False
    c.live = live_cluster_get(d.s.live, c.name)
    c.live.rows = d.rows
    c.live.n_rows = d.n_rows
    c.endpoints = <endpoint_t *>arena_array(d.s.arena, n, sizeof(endpoint_t))
    c.n = n
    live_reserve(d.s.live, n)
    take_enter(t, b"endpoints")
    for i in range(n):
        take_at(t, i)
        if not decode_endpoint(d, c, &c.endpoints[i]):
            return False
        if i & BREATH_MASK == 0:
            breath_take()
    take_leave(t)
    if not (take_place(t, b"chain", &c.chain) and decode_balancer(d, c) and decode_balancing(t, d.s.arena, c) and
            take_outlier(t, c) and take_u8(t, b"checks", CHECKS_LAST, &checks) and take_breakers(t, d.s.arena, c)):
        return False
    c.is_checked = checks & CHECKS_ARE_MADE
    c.closes_idle = (checks & CHECKS_CLOSE_IDLE) != 0
    watch_health(d, c)
    cluster_build(c)
    return True


# --- filters ---

cdef bint _take_rule(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef filter_rule_t *rule = &s.rules[number]
    return (take_record(t, NULL, 2) and take_match(t, s, &rule.match) and
            take_u32(t, b"share", 0, SHARE_ALL, &rule.share))


cdef bint _take_chain(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef filter_chain_t *chain = &s.chains[number]
    cdef uint32_t slot = 0
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_list(t, NULL, 1, FILTER_CHAIN_MAX, &n):
        return False
    chain.slots = <uint16_t *>arena_array(s.arena, n, sizeof(uint16_t))
    chain.n = <uint16_t>n
    for i in range(n):
        if not take_entry(t, NULL, s.n_rules, b"rules", &slot):
            return False
        chain.slots[i] = <uint16_t>slot
    return True


cdef bint filters_decode(take_t *t, snapshot_t *s) noexcept nogil:
    if not take_record(t, b"filters", 2):
        return False
    take_enter(t, b"filters")
    if not take_list(t, b"rules", 3, FILTER_SLOTS_MAX, &s.n_rules):
        return False
    s.rules = <filter_rule_t *>arena_array(s.arena, s.n_rules, sizeof(filter_rule_t))
    if not (take_each(t, s, b"rules", s.n_rules, _take_rule) and take_list(t, b"chains", 1, 1 << 20, &s.n_chains)):
        return False
    s.chains = <filter_chain_t *>arena_array(s.arena, s.n_chains, sizeof(filter_chain_t))
    if not take_each(t, s, b"chains", s.n_chains, _take_chain):
        return False
    take_leave(t)
    return True


# --- the whole ---

cdef int64_t find_twin(const span_t *keys, uint32_t n, uint32_t *first) noexcept nogil:
    """The index of a key that equals an earlier one, which goes to `first`; -1 when all differ."""
    cdef uint32_t size = 16
    cdef uint32_t *places     # index + 1, 0 = free
    cdef uint32_t at, i
    cdef int64_t found = -1
    while size < 2 * n:
        size *= 2
    places = <uint32_t *>heap_array(size, sizeof(uint32_t))
    for i in range(n):
        at = <uint32_t>hash_bytes(keys[i].ptr, keys[i].len, 0) & (size - 1)
        while places[at] != 0 and not span_eq(keys[places[at] - 1], keys[i]):
            at = (at + 1) & (size - 1)
        if places[at] != 0:
            first[0] = places[at] - 1
            found = i
            break
        places[at] = i + 1
    heap_free(places)
    return found


cdef bint check_twins(decode_t *d, const char *list_name, const char *field, const span_t *keys,
                      uint32_t n) noexcept nogil:
    cdef char text[TEXT]
    cdef uint32_t first = 0
    cdef int64_t found = find_twin(keys, n, &first)
    if found < 0:
        return True
    snprintf(text, TEXT, b"the same as that of %s[%u]", list_name, first)
    take_enter(&d.t, list_name)
    take_at(&d.t, <uint32_t>found)
    return take_refuse(&d.t, field, text)


cdef bint check_names(decode_t *d) noexcept nogil:
    """Ids and names are what rows and registries are keyed by: none may occur twice."""
    cdef snapshot_t *s = d.s
    cdef uint32_t most = s.n_listeners if s.n_listeners > s.n_clusters else s.n_clusters
    cdef span_t *keys = <span_t *>heap_array(most, sizeof(span_t))
    cdef bint ok = True
    cdef uint32_t i
    for i in range(s.n_listeners):
        keys[i] = span_of(<uint8_t *>&s.listeners[i].id, sizeof(uint32_t))
    ok = check_twins(d, b"listeners", b"id", keys, s.n_listeners)
    if ok:
        for i in range(s.n_listeners):
            keys[i] = s.listeners[i].name
        ok = check_twins(d, b"listeners", b"name", keys, s.n_listeners)
    if ok:
        for i in range(s.n_clusters):
            keys[i] = span_of(<uint8_t *>&s.clusters[i].id, sizeof(uint32_t))
        ok = check_twins(d, b"clusters", b"id", keys, s.n_clusters)
    if ok:
        for i in range(s.n_clusters):
            keys[i] = s.clusters[i].name
        ok = check_twins(d, b"clusters", b"name", keys, s.n_clusters)
    heap_free(keys)
    return ok


cdef bint refuse_index(decode_t *d, int32_t found) noexcept nogil:
    cdef char text[TEXT]
    snprintf(text, TEXT, b"found %d, but there are %u clusters", found, d.s.n_clusters)
    return take_refuse(&d.t, b"cluster", text)


cdef bint check_split(decode_t *d, const split_t *split) noexcept nogil:
    cdef char text[TEXT]
    cdef uint32_t i
    for i in range(split.n):
        if split.parts[i].cluster >= d.s.n_clusters:
            snprintf(text, TEXT, b"found %u, but there are %u clusters", split.parts[i].cluster, d.s.n_clusters)
            return take_refuse(&d.t, b"split", text)
    return True


cdef bint check_chain(decode_t *d, int32_t chain, uint32_t *n) noexcept nogil:
    """Adds the chain's filters to `n`."""
    cdef char text[TEXT]
    if chain < 0:
        return True
    if <uint32_t>chain >= d.s.n_chains:
        snprintf(text, TEXT, b"found %d, but there are %u chains", chain, d.s.n_chains)
        return take_refuse(&d.t, b"chain", text)
    n[0] += d.s.chains[chain].n
    if n[0] > FILTER_CHAIN_MAX:
        snprintf(text, TEXT, b"%u filters on one way, must be at most %d", n[0], FILTER_CHAIN_MAX)
        return take_refuse(&d.t, b"chain", text)
    return True


cdef bint check_clusters(decode_t *d, uint32_t *longest) noexcept nogil:
    cdef snapshot_t *s = d.s
    cdef char text[TEXT]
    cdef uint32_t i, n
    take_enter(&d.t, b"clusters")
    for i in range(s.n_clusters):
        take_at(&d.t, i)
        n = 0
        if not check_chain(d, s.clusters[i].chain, &n):
            return False
        if s.clusters[i].balancer_slot >= <int32_t>s.n_rules:
            snprintf(text, TEXT, b"found %d, but there are %u rules", s.clusters[i].balancer_slot, s.n_rules)
            return take_refuse(&d.t, b"balancer", text)
        if n > longest[0]:
            longest[0] = n
    take_leave(&d.t)
    return True


cdef bint check_indexes(decode_t *d) noexcept nogil:
    cdef snapshot_t *s = d.s
    cdef listener_t *l
    cdef uint32_t longest = 0     # chain of a cluster: a filter may send a request to any
    cdef uint32_t i, j, n, on_way
    if not check_clusters(d, &longest):
        return False
    take_enter(&d.t, b"listeners")
    for i in range(s.n_listeners):
        take_at(&d.t, i)
        l = &s.listeners[i]
        if l.cluster >= 0 and <uint32_t>l.cluster >= s.n_clusters:
            return refuse_index(d, l.cluster)
        n = longest
        if not check_chain(d, l.chain, &n):
            return False
        take_enter(&d.t, b"routes")
        for j in range(l.routes.n):
            take_at(&d.t, j)
            on_way = n
            if not check_chain(d, l.routes.routes[j].chain, &on_way):
                return False
            if l.routes.routes[j].cluster >= 0 and <uint32_t>l.routes.routes[j].cluster >= s.n_clusters:
                return refuse_index(d, l.routes.routes[j].cluster)
            if l.routes.routes[j].split is not NULL and not check_split(d, l.routes.routes[j].split):
                return False
        take_leave(&d.t)
    take_leave(&d.t)
    return True


cdef bint decode_all(decode_t *d) noexcept nogil:
    cdef take_t *t = &d.t
    cdef snapshot_t *s = d.s
    cdef span_t magic
    cdef uint64_t format = 0
    cdef uint32_t n = 0
    cdef uint32_t i
    if not (take_record(t, NULL, 15) and take_borrowed(t, b"magic", 0, U32_MAX, &magic)):
        return False
    if magic.len != 4 or memcmp(magic.ptr, b"fmsn", 4) != 0:
        return take_refuse(t, b"magic", b"this is not a snapshot")
    if not (take_uint(t, b"format", SNAPSHOT_FORMAT, SNAPSHOT_FORMAT, &format) and
            take_uint(t, b"version", 0, <uint64_t>-1, &s.version) and decode_settings(d) and
            take_list(t, b"listeners", 25, 1 << 20, &n)):
        return False
    s.listeners = <listener_t *>arena_array(s.arena, n, sizeof(listener_t))
    s.n_listeners = n
    take_enter(t, b"listeners")
    for i in range(n):
        take_at(t, i)
        if not decode_listener(d, &s.listeners[i]):
            return False
    take_leave(t)
    if not take_list(t, b"clusters", 16, 1 << 20, &n):
        return False
    s.clusters = <cluster_t *>arena_array(s.arena, n, sizeof(cluster_t))
    s.n_clusters = n
    take_enter(t, b"clusters")
    for i in range(n):
        take_at(t, i)
        s.clusters[i].index = i
        if not decode_cluster(d, &s.clusters[i]):
            return False
    take_leave(t)
    if not (filters_decode(t, s) and limits_decode(t, s) and injections_decode(t, s) and mirrors_decode(t, s) and
            retries_decode(t, s) and fallbacks_decode(t, s) and cors_decode(t, s) and subsets_decode(t, s) and
            counted_decode(t, s)):
        return False
    if t.u.p != t.u.end:
        return take_refuse(t, NULL, b"there is more after the end of the snapshot")
    return check_names(d) and check_indexes(d)


cdef void adopt(decode_t *d) noexcept nogil:
    """Lets what outlives snapshots follow the new one; a refused snapshot never comes here."""
    cdef cluster_t *c
    cdef endpoint_live_t *live
    cdef endpoint_row_t *row
    cdef resident_t there
    cdef uint32_t i, j
    resident_look(&there, d.rows, <uint64_t>d.row_end * sizeof(endpoint_row_t))
    for i in range(d.s.n_clusters):
        c = &d.s.clusters[i]
        c.live.id = c.id
        breath_take()
        c.live.is_watched = c.is_watched
        if c.is_watched:
            c.live.shared = c.shared
            c.live.health_key = health_key(c)
        for j in range(c.n):
            if j & BREATH_MASK == BREATH_MASK:
                breath_take()
            live = c.endpoints[j].live
            live.row = c.endpoints[j].row
            row = row_of(d, &c.endpoints[j])
            if live.use is not NULL:
                live.use.row = row
            # The others claim their rows when they are used; what checks say is looked up for all.
            if live.use is not NULL or c.is_checked:
                endpoint_claim(live)
            if resident_has(&there, row):
                # Until its policy gives weights again; a row that was another's is told how warm it is.
                row.weight_given = 0
                row.warm_since_ns = endpoint_warm_since(live)
            # Those that a cluster begins with have nobody to catch up with.
            if live.stage == STAGE_NEW and c.live.is_known:
                endpoint_warm(live, WARM_FROM_NOW)
            elif live.stage == STAGE_NEW:
                live.stage = STAGE_WARM
        c.live.is_known = 1
    resident_drop(&there)


cdef void free_snapshot(snapshot_t *s) noexcept nogil:
    """Also one whose decoding stopped anywhere."""
    global n_alive
    if s.filters is not NULL and on_free is not NULL:
        on_free(s.filters)
    n_alive -= 1
    leaving_add(s)


cdef snapshot_t *snapshot_decode(const uint8_t *p, uint64_t n, endpoint_row_t *rows, uint32_t n_rows,
                                 void *live, char *why, uint32_t why_cap) noexcept nogil:
    global n_alive
    cdef decode_t d
    cdef arena_t *arena
    memset(&d, 0, sizeof(decode_t))
    d.t.why = why
    d.t.why_cap = why_cap
    if n > U32_MAX:
        take_refuse(&d.t, NULL, b"larger than 4 GiB")
        return NULL
    arena = arena_new(<size_t>(n + 4096))
    d.s = <snapshot_t *>arena_alloc(arena, sizeof(snapshot_t))
    d.s.arena = arena
    d.s.live = live
    d.s.refs = 1
    d.rows = rows
    d.n_rows = n_rows
    d.t.arena = arena
    d.t.u.p = p
    d.t.u.end = p + n
    n_alive += 1
    if not decode_all(&d):
        free_snapshot(d.s)
        return NULL
    adopt(&d)
    return d.s


cdef void snapshot_put(snapshot_t *s) noexcept nogil:
    s.refs -= 1
    if s.refs == 0:
        free_snapshot(s)


cdef void snapshot_on_free(void (*fn)(void *) noexcept nogil) noexcept nogil:
    global on_free
    on_free = fn


cdef uint32_t snapshot_live() noexcept nogil:
    return n_alive
