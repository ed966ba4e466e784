"""Doors for tests onto the snapshot decoder, its tables and picks."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from fastmesh._core.mem.arena cimport arena_bytes, arena_live, heap_array, heap_free, heap_live
from fastmesh._core.mem.counter cimport stats_new, stats_t, stats_unmap
from fastmesh._core.mem.resident cimport resident_drop, resident_has, resident_look, resident_t
from fastmesh._core.net.addr cimport ADDR_TEXT, addr_parse, addr_print, addr_t
from fastmesh._core.mem.hash cimport hash_mix
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.http.token cimport METHOD_OTHER
from fastmesh._core.route.route_table cimport (
    asker_t, route_add_method, route_find, route_is_torn, route_miss, route_scan, route_t, route_table_t)
from fastmesh._core.route.acts cimport change_t
from fastmesh._core.route.capture cimport capture_replace
from fastmesh._core.route.cors_rule cimport cors_find
from fastmesh._core.route.mirror_rule cimport mirror_rule_t
from fastmesh._core.route.predicate cimport predicate_t
from fastmesh._core.route.route_split cimport split_pick, split_t
from fastmesh._core.lb.cluster cimport (
    cluster_live_t, cluster_pick, cluster_pick_key, cluster_t, cluster_weigh, endpoint_connect_failed,
    endpoint_connect_ok, endpoint_note)
from fastmesh._core.lb.endpoint cimport endpoint_addr, endpoint_live_t, endpoint_row_t, endpoint_t, endpoint_use_t
from fastmesh._core.lb.subset cimport SUBSET_KEYS_MAX, subset_choose, subset_pair_t, subset_pairs, subsets_t
from fastmesh._core.lb.use cimport endpoint_row, endpoint_warm_since
from fastmesh._core.lb.sticky cimport STICKY_DIGITS, sticky_find, sticky_name
from fastmesh._core.resil.injection cimport injection_t
from fastmesh._core.resil.rate_limit cimport rate_limit_t
from fastmesh._core.snapshot.live cimport live_clusters, live_endpoints
from fastmesh._core.snapshot.roster cimport roster_place_t
from fastmesh._core.snapshot.unpack cimport (
    unpack_array, unpack_bool, unpack_bytes, unpack_int, unpack_kind, unpack_nil, unpack_t, unpack_uint)
from fastmesh._core.snapshot.snapshot cimport (
    live_free, live_new, live_on_last, snapshot_decode, snapshot_get, snapshot_live, snapshot_on_free, snapshot_put,
    snapshot_t)

from fastmesh._core.lb.subset import CHOICES

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_THREAD_CPUTIME_ID
    int clock_gettime(int clock, timespec *t)

cdef extern from "field_name.h" nogil:
    unsigned int field_name_id(const uint8_t *p, size_t n)

cdef enum:
    TRIED_MAX = 64

cdef list last_seen = []      # endpoints that live_on_last reported, as text


cdef uint64_t now() noexcept nogil:
    cdef timespec t
    # The processor time of this thread: other processes do not count.
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t)
    return <uint64_t>t.tv_sec * 1000000000 + <uint64_t>t.tv_nsec


cdef void on_last(endpoint_live_t *e) noexcept nogil:
    cdef char text[ADDR_TEXT]
    cdef addr_t at
    cdef uint32_t n
    endpoint_addr(e, &at)
    n = addr_print(&at, text)
    with gil:
        c = <cluster_live_t *>e.cluster_live
        last_seen.append((c.name[:c.name_len].decode("latin-1"), text[:n].decode("latin-1")))


def alive():
    """(arenas, bytes in them, heap blocks, snapshots)."""
    return arena_live(), arena_bytes(), heap_live(), snapshot_live()


def sizes():
    """Bytes of an endpoint: (in a snapshot, in the registry, its place there, once it is used)."""
    return sizeof(endpoint_t), sizeof(endpoint_live_t), sizeof(roster_place_t), sizeof(endpoint_use_t)


def take_last_seen():
    seen = last_seen[:]
    last_seen.clear()
    return seen


def unpack(str kind, bytes data):
    """(code, value, bytes consumed, what came) of one value read from `data`, which lies at the end of its block."""
    cdef uint64_t n = len(data)
    cdef char *room = <char *>heap_array(n, 1)
    cdef const char *p = data
    cdef unpack_t u
    cdef uint64_t wide = 0
    cdef int64_t signed_ = 0
    cdef uint32_t count = 0
    cdef uint8_t flag = 0
    cdef span_t s
    cdef int code
    memcpy(room, p, n)
    u.p = <const uint8_t *>room
    u.end = u.p + n
    came = unpack_kind(&u).decode()
    value = None
    if kind == "uint":
        code = unpack_uint(&u, &wide)
        value = wide
    elif kind == "int":
        code = unpack_int(&u, &signed_)
        value = signed_
    elif kind == "bool":
        code = unpack_bool(&u, &flag)
        value = bool(flag)
    elif kind == "array":
        code = unpack_array(&u, &count)
        value = count
    elif kind == "nil":
        code = 0 if unpack_nil(&u) else -1
    else:
        code = unpack_bytes(&u, &s)
        if code == 0:
            value = span_bytes(s.ptr, s.len)
    used = u.p - <const uint8_t *>room
    heap_free(room)
    return code, value if code == 0 else None, used, came


cdef class Registry:
    """What a worker holds: live endpoints and shared rows."""
    cdef void *live
    cdef endpoint_row_t *rows
    cdef readonly uint32_t n_rows
    cdef stats_t *stats           # owned; NULL = the rows are of the heap

    def __cinit__(self, uint32_t n_rows=16, bint is_sparse=False):
        """With `is_sparse` rows are where a worker has them."""
        self.live = live_new()
        live_on_last(self.live, on_last)
        if is_sparse:
            self.stats = stats_new()
            self.rows = self.stats.endpoints
        else:
            self.rows = <endpoint_row_t *>heap_array(n_rows, sizeof(endpoint_row_t))
        self.n_rows = n_rows

    def is_there(self, uint32_t i):
        """The page of that row was touched."""
        cdef resident_t there
        resident_look(&there, self.rows, self.n_rows * sizeof(endpoint_row_t))
        found = resident_has(&there, &self.rows[i])
        resident_drop(&there)
        return found

    def counts(self):
        return live_clusters(self.live), live_endpoints(self.live)

    def row(self, uint32_t i):
        return self.rows[i]

    def close(self):
        if self.live is not NULL:
            live_free(self.live)
            if self.stats is not NULL:
                stats_unmap(self.stats)
            else:
                heap_free(self.rows)
            self.live = NULL

    def __dealloc__(self):
        self.close()


cdef bytes span_bytes(const uint8_t *p, uint32_t n):
    return (<const char *>p)[:n]


cdef tuple read_value(const predicate_t *v):
    return (span_bytes(v.name.ptr, v.name.len), span_bytes(v.text.ptr, v.text.len), v.id, v.kind, bool(v.invert), v.low,
            v.high)


cdef dict read_route(const route_t *r):
    return {
        "name": span_bytes(r.name.ptr, r.name.len), "path_kind": r.path_kind,
        "path": span_bytes(r.path.ptr, r.path.len),
        "hosts": [span_bytes(r.hosts[k].ptr, r.hosts[k].len) for k in range(r.n_hosts)],
        "methods": (r.has_methods, r.methods, [span_bytes(r.methods_other[k].ptr, r.methods_other[k].len)
                                               for k in range(r.n_methods_other)]),
        "headers": [read_value(&r.headers[k]) for k in range(r.n_headers)],
        "query": [read_value(&r.query[k]) for k in range(r.n_query)],
        "cookies": [read_value(&r.cookies[k]) for k in range(r.n_cookies)],
        "sources": [(r.sources[k].family, r.sources[k].bits, span_bytes(r.sources[k].ip, 16))
                    for k in range(r.n_sources)],
        "share": r.share, "states": r.pattern.n_states if r.pattern is not NULL else 0,
        "cluster": r.cluster, "status": r.status, "body": span_bytes(r.body.ptr, r.body.len),
        "content_type": span_bytes(r.content_type.ptr, r.content_type.len), "timeout": r.timeout_ns,
        "index": r.index, "chain": r.chain, "limit_list": r.limit_list,
        "injection_list": r.injection_list, "mirror_list": r.mirror_list,
        "has_timeout": r.has_timeout, "stream_idle": r.stream_idle_ns,
    }


cdef list freed_filters = []      # what snapshots that were freed held


cdef void on_free_filters(void *filters) noexcept nogil:
    with gil:
        freed_filters.append(<uint64_t>filters)


cdef class Snapshot:
    cdef snapshot_t *s
    cdef Registry registry
    cdef uint64_t rng
    cdef readonly uint64_t decode_ns
    cdef cluster_t *inside        # the subset that picks are made of; NULL = of whole clusters

    def __cinit__(self, bytes data, Registry registry, uint64_t seed=1, uint32_t why_cap=256):
        cdef char why[512]
        cdef const char *p = data
        cdef char *room
        cdef uint64_t n = len(data)
        # Flush against the end of its block, so that AddressSanitizer sees a read too far.
        room = <char *>heap_array(n if n else 1, 1)
        memcpy(room, p, n)
        memset(why, 0x7E, sizeof(why))
        self.registry = registry
        self.rng = seed
        with nogil:
            self.decode_ns = now()
            self.s = snapshot_decode(<const uint8_t *>room, n, registry.rows, registry.n_rows, registry.live, why,
                                     why_cap)
            self.decode_ns = now() - self.decode_ns
        heap_free(room)
        if self.s is NULL:
            raise ValueError((<bytes>why).decode("utf-8", "replace"))

    def close(self):
        if self.s is not NULL:
            snapshot_put(self.s)
            self.s = NULL

    def hold(self):
        snapshot_get(self.s)

    def match_rule(self, uint32_t i, Request request):
        """Whether the filter of rule `i` is asked, apart from its share."""
        cdef span_t path = span_of(request.room + request.path_at, request.path_len)
        match = self.s.rules[i].match
        return match is NULL or route_find(match, &request.m, path, request.asker()) is not NULL

    def own_filters(self, uint64_t filters):
        """Gives the snapshot a table of filters that is only a number."""
        snapshot_on_free(on_free_filters)
        self.s.filters = <void *>filters

    @staticmethod
    def take_freed_filters():
        seen = freed_filters[:]
        freed_filters.clear()
        return seen

    def release(self):
        snapshot_put(self.s)

    def __dealloc__(self):
        self.close()

    def seed(self, uint64_t seed):
        self.rng = seed

    def dump(self):
        """The snapshot as Python values, without what the tables derive from it."""
        s = self.s[0]
        return {
            "version": s.version, "refs": s.refs, "max_connections": s.max_connections,
            "log_ops": [(s.log_ops[i].field, s.log_ops[i].quote,
                         span_bytes(s.log_ops[i].text.ptr, s.log_ops[i].text.len)) for i in range(s.n_log_ops)],
            "listeners": [self._listener(i) for i in range(s.n_listeners)],
            "clusters": [self._cluster(i) for i in range(s.n_clusters)],
            "rules": [self._rule(i) for i in range(s.n_rules)],
            "chains": [[s.chains[i].slots[j] for j in range(s.chains[i].n)] for i in range(s.n_chains)],
            "limits": [self._limit(i) for i in range(s.n_rate_limits)],
            "limit_lists": [(s.limit_lists[i].needs_path,
                             [<rate_limit_t *>s.limit_lists[i].limits[j] - s.rate_limits
                              for j in range(s.limit_lists[i].n)])
                            for i in range(s.n_limit_lists)],
            "injection_lists": [[self._injection(&s.injection_lists[i].injections[j])
                                 for j in range(s.injection_lists[i].n)] for i in range(s.n_injection_lists)],
            "mirror_lists": [[self._mirror(&s.mirror_lists[i].rules[j]) for j in range(s.mirror_lists[i].n)]
                             for i in range(s.n_mirror_lists)],
            "retries": [self._retry(i) for i in range(s.n_retries)],
            "retried": [(i, j, s.listeners[i].routes.routes[j].retry - 1) for i in range(s.n_listeners)
                        for j in range(s.listeners[i].routes.n) if s.listeners[i].routes.routes[j].retry != 0],
            "budgets": [(s.clusters[i].budget_share, s.clusters[i].budget_rate) for i in range(s.n_clusters)],
            "cors_rules": [self._cors(i) for i in range(s.n_cors_rules)],
            "cors": [(i, j, s.listeners[i].routes.routes[j].cors - 1) for i in range(s.n_listeners)
                     for j in range(s.listeners[i].routes.n) if s.listeners[i].routes.routes[j].cors != 0],
            "hedges": [self._hedge(i) for i in range(s.n_hedges)],
            "hedged": [(i, j, s.listeners[i].routes.routes[j].hedge - 1) for i in range(s.n_listeners)
                       for j in range(s.listeners[i].routes.n) if s.listeners[i].routes.routes[j].hedge != 0],
        }

    def _cors(self, uint32_t i):
        r = &self.s.cors_rules[i]
        return {
            "any": bool(r.is_any), "credentials": bool(r.has_credentials), "any_method": bool(r.any_method),
            "any_header": bool(r.any_header), "max_age": r.max_age_s,
            "origins": [(r.origins[j].kind, span_bytes(r.origins[j].text.ptr, r.origins[j].text.len),
                         span_bytes(r.origins[j].domain.ptr, r.origins[j].domain.len)) for j in range(r.n)],
            "methods": span_bytes(r.methods.ptr, r.methods.len), "headers": span_bytes(r.headers.ptr, r.headers.len),
            "expose": span_bytes(r.expose.ptr, r.expose.len),
        }

    def finds_origin(self, uint32_t i, bytes origin):
        """Whether a rule of origins names this one."""
        cdef const unsigned char *p = origin
        return cors_find(&self.s.cors_rules[i], span_of(p, <uint32_t>len(origin))) is not NULL

    def _hedge(self, uint32_t i):
        h = &self.s.hedges[i]
        return [h.attempts, h.delay_ns, h.least_ns, h.part, h.share, h.rate, h.on_try_timeout, h.non_idempotent,
                h.is_told]

    def _retry(self, uint32_t i):
        r = &self.s.retries[i]
        return {
            "attempts": r.attempts, "faults": r.faults, "is_route": r.is_route,
            "statuses": [status for status in range(400, 600)
                         if r.statuses[(status - 400) // 64] >> ((status - 400) % 64) & 1],
            "headers": [span_bytes(r.headers[j].ptr, r.headers[j].len) for j in range(r.n_headers)],
            "backoff": r.backoff_ns, "backoff_max": r.backoff_most_ns, "wait": r.wait_most_ns, "try": r.try_ns,
            "non_idempotent": r.non_idempotent, "told": r.is_told, "of_retries": r.of_retries,
            "grpc": r.grpc,
        }

    cdef tuple _injection(self, const injection_t *one):
        return (read_route(&one.match.routes[0]) if one.match is not NULL else None, one.share, one.delay_ns,
                one.status, one.bandwidth, one.bandwidth_up, one.most, one.grpc, one.is_asked)

    cdef tuple _mirror(self, const mirror_rule_t *rule):
        return (read_route(&rule.match.routes[0]) if rule.match is not NULL else None, rule.share, rule.cluster,
                span_bytes(rule.suffix.ptr, rule.suffix.len))

    def _limit(self, uint32_t i):
        l = &self.s.rate_limits[i]
        return {
            "name": span_bytes(l.name.ptr, l.name.len), "row": l.row, "ops": l.ops.name.decode(), "token": l.token_ns,
            "burst": l.burst_ns, "keys": l.keys,
            "key": [(l.key.parts[j].source, span_bytes(l.key.parts[j].name.ptr, l.key.parts[j].name.len))
                    for j in range(l.key.n)],
            "match": None if l.match is NULL else read_route(&l.match.routes[0]), "share": l.share,
            "status": l.status, "dry_run": l.is_dry_run, "skips_missing": l.skips_missing, "shown": l.is_shown,
            "policy": span_bytes(l.policy.ptr, l.policy.len), "details": <bytes>l.details, "why": <bytes>l.why,
        }

    def _rule(self, uint32_t i):
        rule = &self.s.rules[i]
        return (None if rule.match is NULL else read_route(&rule.match.routes[0]), rule.share)

    def _listener(self, uint32_t i):
        l = &self.s.listeners[i]
        return {
            "id": l.id, "name": span_bytes(l.name.ptr, l.name.len), "protocol": l.protocol, "inbound": l.inbound,
            "plain_answers": l.is_plain_answers, "half_close": l.half_close, "cluster": l.cluster,
            "limits": [l.limits.head_bytes, l.limits.line_bytes, l.limits.fields, l.header_timeout_ns,
                       l.body_timeout_ns, l.idle_timeout_ns, l.tcp_idle_ns, l.request_timeout_ns, l.linger_ns,
                       l.max_requests_per_connection, l.max_connections, l.buffer_bytes,
                       l.stream_idle_ns],
            "trusted": [(l.trusted[j].family, l.trusted[j].bits, span_bytes(l.trusted[j].ip, 16))
                        for j in range(l.n_trusted)],
            "via": span_bytes(l.via.ptr, l.via.len),
            "deadlines": [l.deadline_reads, l.deadline_sends, span_bytes(l.deadline_name.ptr, l.deadline_name.len)],
            "routes": [read_route(&l.routes.routes[j]) for j in range(l.routes.n)], "chain": l.chain,
            "limit_list": l.limit_list,
        }

    def _cluster(self, uint32_t i):
        cdef char text[ADDR_TEXT]
        cdef addr_t at
        c = &self.s.clusters[i]
        endpoints = []
        notes = {}
        for j in range(c.n):
            endpoint_addr(c.endpoints[j].live, &at)
            n = addr_print(&at, text)
            endpoints.append((c.endpoints[j].row, text[:n], c.endpoints[j].weight,
                              span_bytes(c.endpoints[j].text.ptr, c.endpoints[j].text.len)))
            note = endpoint_note(c, &c.endpoints[j])
            if note is not NULL:
                notes[text[:n]] = (note.priority, span_bytes(note.zone.ptr, note.zone.len),
                                   [span_bytes(note.words[k].ptr, note.words[k].len) for k in range(2 * note.n)])
        return {
            "id": c.id, "name": span_bytes(c.name.ptr, c.name.len), "lb": c.lb, "index": c.index, "notes": notes,
            "ops": c.ops.name.decode(), "connect_timeout": c.connect_timeout_ns, "idle_timeout": c.idle_timeout_ns,
            "max_connections": c.max_connections, "max_pending": c.max_pending, "max_requests": c.max_requests,
            "max_requests_per_connection": c.max_requests_per_connection,
            "max_connect_attempts": c.max_connect_attempts, "avoid_base": c.avoid_base_ns,
            "avoid_max": c.avoid_max_ns, "pending_timeout": c.pending_timeout_ns, "endpoints": endpoints,
            "live_id": c.live.id, "live_refs": c.live.refs, "chain": c.chain, "settings": self._settings(i),
            "balancer": (c.balancer_slot, c.balancer_interval_ns) if c.balancer_slot >= 0 else None,
        }

    def _settings(self, uint32_t i):
        s = &self.s.clusters[i].settings
        return {
            "decay": s.decay_ns, "initial": s.initial_ns, "penalty": s.penalty_ns, "wait_max": s.wait_max_ns,
            "keys": [(s.keys[j].kind, span_bytes(s.keys[j].name.ptr, s.keys[j].name.len), s.keys[j].is_made,
                      s.keys[j].ttl_s, span_bytes(s.keys[j].path.ptr, s.keys[j].path.len)) for j in range(s.n_keys)],
            "points": s.points, "table_size": s.table_size, "load_bound": s.load_bound,
            "slow_start": s.slow_start_ns, "exponent": s.slow_exponent, "least": s.slow_least, "panic": s.panic,
            "sticky": (s.sticky, span_bytes(s.sticky_field.ptr, s.sticky_field.len), s.sticky_ttl_s,
                       span_bytes(s.sticky_path.ptr, s.sticky_path.len)),
            "spill_below": s.spill_below, "levels": [s.levels[j] for j in range(s.n_levels)],
        }

    # --- picks: endpoints are told by their index ---

    cdef cluster_t *cluster(self, uint32_t i) except NULL:
        if i >= self.s.n_clusters:
            raise IndexError(i)
        return &self.s.clusters[i] if self.inside is NULL or i != self.inside.index else self.inside

    cdef endpoint_t *endpoint(self, uint32_t cluster, uint32_t i) except NULL:
        if i >= self.cluster(cluster).n:
            raise IndexError(i)
        return &self.cluster(cluster).endpoints[i]

    def enter(self, asked=None, uint32_t cluster=0):
        """Everything below is about the subset that a request for these pairs goes to: how it was chosen, what its
        endpoints have, their texts, the sizes of its levels and of a table. With None, about the whole again."""
        cdef subset_pair_t pairs[SUBSET_KEYS_MAX]
        cdef cluster_t *c = &self.s.clusters[cluster]
        cdef uint32_t n = 0
        cdef int how = 0
        self.inside = NULL
        if asked is None:
            return None
        kept = sorted((name.encode(), value.encode()) for name, value in asked.items())
        for name, value in kept:
            pairs[n].name = span_of(<const uint8_t *><char *>name, <uint32_t>len(name))
            pairs[n].value = span_of(<const uint8_t *><char *>value, <uint32_t>len(value))
            n += 1
        c = subset_choose(c, pairs, n, &how)
        self.inside = c
        n = subset_pairs(c, pairs)
        return (CHOICES[how], {span_bytes(pairs[i].name.ptr, pairs[i].name.len).decode():
                               span_bytes(pairs[i].value.ptr, pairs[i].value.len).decode() for i in range(n)},
                [span_bytes(c.endpoints[i].text.ptr, c.endpoints[i].text.len).decode() for i in range(c.n)],
                [c.settings.levels[i] for i in range(c.settings.n_levels)], c.settings.table_size)

    def subsets(self, uint32_t cluster=0):
        """How many there are, and how many endpoints are left out of them."""
        v = <const subsets_t *>self.s.clusters[cluster].subsets
        return (v.n, v.left_out) if v is not NULL else None

    def pick(self, uint32_t cluster=0, uint64_t now_ns=0, tried=(), bint ops_only=False):
        cdef endpoint_t *list_[TRIED_MAX]
        cdef uint32_t n = len(tried)
        cdef endpoint_t *e
        if n > TRIED_MAX:
            raise ValueError("too many")
        for i in range(n):
            list_[i] = self.endpoint(cluster, tried[i])
        c = self.cluster(cluster)
        if ops_only:
            e = c.ops.pick(c, now_ns, &self.rng, list_, n)
        else:
            e = cluster_pick(c, now_ns, &self.rng, list_, n)
        return None if e is NULL else e - c.endpoints

    def pick_key(self, uint64_t key, uint32_t cluster=0, uint64_t now_ns=0, tried=()):
        cdef endpoint_t *list_[TRIED_MAX]
        cdef uint32_t n = len(tried)
        if n > TRIED_MAX:
            raise ValueError("too many")
        for i in range(n):
            list_[i] = self.endpoint(cluster, tried[i])
        c = self.cluster(cluster)
        e = cluster_pick_key(c, key, now_ns, &self.rng, list_, n)
        return None if e is NULL else e - c.endpoints

    def name_of(self, uint32_t i, uint32_t cluster=0):
        cdef uint8_t text[STICKY_DIGITS]
        e = self.endpoint(cluster, i)
        sticky_name(self.cluster(cluster), e, text)
        return span_bytes(text, STICKY_DIGITS)

    def named(self, bytes name, uint32_t cluster=0):
        """The endpoint of that name, which lies at the end of its block."""
        cdef uint32_t n = len(name)
        cdef char *room = <char *>heap_array(n if n else 1, 1)
        cdef const char *p = name
        memcpy(room, p, n)
        c = self.cluster(cluster)
        e = sticky_find(c, span_of(<const uint8_t *>room, n))
        heap_free(room)
        return None if e is NULL else e - c.endpoints

    def owners(self, uint32_t count, uint32_t cluster=0, uint64_t now_ns=0, bint hold=False):
        """The address of whom each of `count` keys goes to. With `hold`, the requests stay in flight until the end."""
        cdef cluster_t *c = self.cluster(cluster)
        cdef endpoint_t *e
        cdef uint32_t i
        found = []
        for i in range(count):
            c.live.active += hold
            e = cluster_pick_key(c, hash_mix(i, 1), now_ns, &self.rng, NULL, 0)
            e.live.active += hold
            found.append(e - c.endpoints)
        for at in found:
            c.endpoints[<uint32_t>at].live.active -= hold
        c.live.active -= count if hold else 0
        return [span_bytes(c.endpoints[<uint32_t>at].text.ptr, c.endpoints[<uint32_t>at].text.len) for at in found]

    def picks(self, uint32_t count, uint32_t cluster=0, uint64_t now_ns=0, uint32_t hold=0):
        """How often each endpoint was picked. With `hold`, that many requests are kept in flight, the oldest ending."""
        cdef cluster_t *c = self.cluster(cluster)
        cdef uint32_t *counts = <uint32_t *>heap_array(c.n, sizeof(uint32_t))
        cdef endpoint_t **flying = <endpoint_t **>heap_array(hold + 1, sizeof(void *))
        cdef endpoint_t *e
        cdef uint32_t i
        with nogil:
            for i in range(count):
                if hold:
                    c.live.active += 1
                e = cluster_pick(c, now_ns, &self.rng, NULL, 0)
                counts[e - c.endpoints] += 1
                if hold:
                    if flying[i % hold] is not NULL:
                        flying[i % hold].live.active -= 1
                        c.live.active -= 1
                    e.live.active += 1
                    flying[i % hold] = e
            for i in range(hold):
                if flying[i] is not NULL:
                    flying[i].live.active -= 1
                    c.live.active -= 1
        result = [counts[i] for i in range(c.n)]
        heap_free(counts)
        heap_free(flying)
        return result

    def time_picks(self, uint32_t count, uint32_t cluster=0, uint64_t now_ns=0):
        """Nanoseconds for `count` picks, as a worker does them: the answer is looked at."""
        cdef cluster_t *c = self.cluster(cluster)
        cdef uint64_t began, sum_ = 0
        with nogil:
            began = now()
            for _i in range(count):
                sum_ += cluster_pick(c, now_ns, &self.rng, NULL, 0).weight
            began = now() - began
        return began if sum_ else 0

    def time_key_picks(self, uint32_t count, uint32_t cluster=0, uint64_t now_ns=0, uint32_t hold=0):
        """The same for requests that all have other keys. With `hold`, that many are in flight, spread as they come."""
        cdef cluster_t *c = self.cluster(cluster)
        cdef endpoint_t **flying = <endpoint_t **>heap_array(hold + 1, sizeof(void *))
        cdef uint64_t began, sum_ = 0
        cdef uint32_t i
        with nogil:
            for i in range(hold):
                c.live.active += 1
                flying[i] = cluster_pick_key(c, hash_mix(i, 2), now_ns, &self.rng, NULL, 0)
                flying[i].live.active += 1
            began = now()
            for i in range(count):
                sum_ += cluster_pick_key(c, hash_mix(i, 1), now_ns, &self.rng, NULL, 0).weight
            began = now() - began
            for i in range(hold):
                flying[i].live.active -= 1
            c.live.active -= hold
        heap_free(flying)
        return began if sum_ else 0

    def time_names(self, uint32_t count, uint32_t cluster=0):
        """Nanoseconds for `count` look-ups of endpoints by the names that clients bring back, of all in turn."""
        cdef cluster_t *c = self.cluster(cluster)
        cdef uint8_t *names = <uint8_t *>heap_array(c.n, STICKY_DIGITS)
        cdef uint64_t began
        cdef uint32_t missed = 0
        cdef uint32_t i
        for i in range(c.n):
            sticky_name(c, &c.endpoints[i], names + <uint64_t>i * STICKY_DIGITS)
        with nogil:
            began = now()
            for i in range(count):
                e = sticky_find(c, span_of(names + <uint64_t>(i * <uint64_t>7919 % c.n) * STICKY_DIGITS, STICKY_DIGITS))
                missed += e is NULL or e.live.avoid_until_ns != 0
            began = now() - began
        heap_free(names)
        return began if missed == 0 else 0

    def set_cluster_active(self, uint32_t active, uint32_t cluster=0):
        self.cluster(cluster).live.active = active

    def set_active(self, uint32_t i, uint32_t active, uint32_t cluster=0):
        self.endpoint(cluster, i).live.active = active

    def weigh(self, weights, uint32_t cluster=0):
        """Other weights; None: those of the configuration. True when that changes any."""
        cdef cluster_t *c = self.cluster(cluster)
        cdef uint32_t *room
        cdef uint32_t i
        if weights is None:
            return cluster_weigh(c, NULL)
        assert len(weights) == c.n
        room = <uint32_t *>heap_array(c.n, sizeof(uint32_t))
        for i in range(c.n):
            room[i] = weights[i]
        changed = cluster_weigh(c, room)
        heap_free(room)
        return changed

    def set_avoid(self, uint32_t i, uint64_t until, uint32_t cluster=0):
        self.endpoint(cluster, i).live.avoid_until_ns = until

    def connect_failed(self, uint32_t i, uint64_t now_ns, uint32_t cluster=0):
        e = self.endpoint(cluster, i)
        endpoint_connect_failed(self.cluster(cluster), e, now_ns, &self.rng)
        return e.live.avoid_until_ns

    def connect_ok(self, uint32_t i, uint32_t cluster=0):
        endpoint_connect_ok(self.endpoint(cluster, i))

    def observe(self, uint32_t i, uint64_t took_ns, str outcome="answered", uint64_t wait_ns=0, uint64_t now_ns=1,
                uint32_t cluster=0):
        cdef cluster_t *c = self.cluster(cluster)
        c.ops.observe(c, self.endpoint(cluster, i), took_ns, ("answered", "failed", "left").index(outcome), wait_ns,
                      now_ns)

    def row(self, uint32_t i):
        return self.registry.row(i)

    def live_of(self, uint32_t i, uint32_t cluster=0):
        e = self.endpoint(cluster, i).live
        return {"refs": e.refs, "active": e.active, "cost": e.cost_ns, "cost_at": e.cost_at_ns,
                "warm_since": endpoint_warm_since(e), "failures": e.use.failures if e.use is not NULL else 0,
                "avoid_until": e.avoid_until_ns, "row": endpoint_row(e) - self.registry.rows, "at": <uint64_t>e,
                "is_used": e.use is not NULL}

    # --- routes ---

    def route(self, Request request, uint32_t listener=0, bint scan=False):
        """The index of the route that matches, or None."""
        cdef const route_table_t *t = &self.s.listeners[listener].routes
        cdef const route_t *r
        cdef span_t path = span_of(request.room + request.path_at, request.path_len)
        if scan:
            r = route_scan(t, &request.m, path, request.asker())
        else:
            r = route_find(t, &request.m, path, request.asker())
        return None if r is NULL else r.index

    def is_torn(self, Request request, uint32_t at, uint32_t listener=0):
        """Whether route `at` does not hold in every reading of the request."""
        return route_is_torn(&self.s.listeners[listener].routes.routes[at], &request.m)

    def miss(self, Request request, uint32_t at, uint32_t listener=0):
        """What keeps the request from route `at`."""
        cdef span_t name
        cdef span_t path = span_of(request.room + request.path_at, request.path_len)
        return route_miss(&self.s.listeners[listener].routes.routes[at], &request.m, path, request.asker(),
                          &name)

    def split(self, Request request, uint64_t draw, uint32_t at=0, uint32_t listener=0):
        """The cluster that the split of route `at` leads to."""
        cdef const split_t *split = self.s.listeners[listener].routes.routes[at].split
        return split.parts[split_pick(split, &request.m, draw)].cluster

    def rewritten(self, bytes path, uint32_t at=0, uint32_t listener=0):
        """The path that route `at` makes of parts of this one; None when it is not of these parts."""
        cdef const change_t *c = &self.s.listeners[listener].routes.routes[at].acts.change
        cdef uint32_t cap = 2 * len(path) + 64
        cdef const char *p = path
        cdef char *room = <char *>heap_array(cap, 1)
        cdef int32_t n = capture_replace(c.parts, c.n_parts, c.pieces, c.n_pieces,
                                         span_of(<const uint8_t *>p, <uint32_t>len(path)), <uint8_t *>room, cap)
        made = room[:n] if n >= 0 else None
        heap_free(room)
        return made

    def time_routes(self, list requests, uint32_t rounds, uint32_t listener=0):
        """Nanoseconds to route each of the requests `rounds` times."""
        cdef const route_table_t *t = &self.s.listeners[listener].routes
        cdef uint32_t n = len(requests)
        cdef const msg_t **heads = <const msg_t **>heap_array(n, sizeof(void *))
        cdef span_t *paths = <span_t *>heap_array(n, sizeof(span_t))
        cdef Request request
        cdef uint64_t began, found = 0
        cdef uint32_t i
        for i in range(n):
            request = requests[i]
            heads[i] = &request.m
            paths[i] = span_of(request.room + request.path_at, request.path_len)
        with nogil:
            began = now()
            for _round in range(rounds):
                for i in range(n):
                    found += route_find(t, heads[i], paths[i], NULL) is not NULL
            began = now() - began
        heap_free(heads)
        heap_free(paths)
        return began, found


cdef class Request:
    """The head of a request as a codec would leave it, without a codec."""
    cdef msg_t m
    cdef uint8_t *room
    cdef uint32_t path_at
    cdef uint32_t path_len
    cdef addr_t addr
    cdef asker_t who

    def __cinit__(self, bytes method=b"GET", bytes authority=b"", bytes path=b"/", fields=(), query=None,
                  bytes peer=b"", uint64_t draw=0):
        cdef bytes all_ = (method + authority + path + b"".join(name + value for name, value in fields) +
                           (query or b""))
        cdef const char *p = all_
        cdef uint32_t at = 0
        cdef route_t r
        memset(&self.m, 0, sizeof(msg_t))
        # Not a counted block: requests come and go as Python likes.
        self.room = <uint8_t *>malloc(len(all_) or 1)
        memcpy(self.room, p, len(all_))
        self.m.base = self.room
        self.m.len = len(all_)
        self.m.method_len = len(method)
        memset(&r, 0, sizeof(r))
        self.m.method = METHOD_OTHER
        if route_add_method(&r, span_of(self.room, len(method))):
            while not (r.methods >> self.m.method) & 1:
                self.m.method += 1
        self.m.authority_off = len(method)
        self.m.authority_len = len(authority)
        self.path_at = len(method) + len(authority)
        self.path_len = len(path)
        at = self.path_at + self.path_len
        for i in range(32):
            self.m.at[i] = -1
        for name, value in fields:
            f = &self.m.fields[self.m.n_fields]
            f.name_off = at
            f.name_len = len(name)
            f.value_off = at + len(name)
            f.value_len = len(value)
            f.id = field_name_id(self.room + at, f.name_len) if f.name_len else 0
            if f.id and self.m.at[f.id] < 0:
                self.m.at[f.id] = self.m.n_fields
            at += f.name_len + f.value_len
            self.m.n_fields += 1
        if query is not None:
            self.m.query_has = 1
            self.m.query_off = at
            self.m.query_len = len(query)
        memset(&self.addr, 0, sizeof(addr_t))
        memset(&self.who, 0, sizeof(asker_t))
        if peer:
            if addr_parse(&self.addr, peer, len(peer)) != 0:
                raise ValueError(peer)
            self.who.addr = &self.addr
        self.who.draw = draw

    cdef const asker_t *asker(self):
        return &self.who

    def __dealloc__(self):
        free(self.room)
