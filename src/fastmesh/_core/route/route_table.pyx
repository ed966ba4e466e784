"""The index behind the routes of one listener.

Routes are filed by host and then by path, in one trie of path segments per host. A node keeps
three lists of routes in listed order: prefixes that end here, prefixes that end here with a
slash, exact paths. A request walks the tries of its host, of the wildcards above it and of
"any host"; the earliest route of all lists on the way whose other conditions agree wins. A route for
a pattern or for the beginning of a segment is filed where all its paths come by; what is left of
them is compared last.
A list is left as soon as its next route is later than the best one found, so order costs no
sorting. Tables of up to SCAN_MAX routes are scanned.

The children of all nodes share one hash table, keyed by parent and segment.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy
from fastmesh._core.mem.arena cimport arena_alloc, arena_array, arena_dup, arena_t, heap_array, heap_free
from fastmesh._core.mem.fault cimport FM_ELIMIT, FM_OK
from fastmesh._core.mem.hash cimport hash_bytes, hash_mix
from fastmesh._core.mem.span cimport byte_lower, span_eq, span_of, span_t
from fastmesh._core.http.method cimport method_named
from fastmesh._core.http.msg cimport msg_span, msg_t
from fastmesh._core.http.token cimport METHOD_OTHER
from fastmesh._core.net.addr cimport addr_in_cidr
from fastmesh._core.route.pattern cimport pattern_takes
from fastmesh._core.route.predicate cimport (
    cookie_holds, cookie_is_torn, header_holds, header_is_torn, query_holds, query_is_torn)

cdef enum:
    SCAN_MAX = 4
    METHOD_LONGEST = 7        # of those that have an id
    NONE = 0xFFFFFFFF
    ANY_HOST = 0              # the node of the trie for routes that name no host

# For those who tell people what keeps a request from a route.
MISSES = {MISS_NOTHING: "", MISS_HOST: "host", MISS_PATH: "path", MISS_METHOD: "method", MISS_SOURCE: "source",
          MISS_HEADER: "header", MISS_COOKIE: "cookie", MISS_QUERY: "query", MISS_PATTERN: "pattern",
          MISS_SHARE: "share"}

cdef enum:                # lists of a node
    LIST_PREFIX = 0           # "/a": this node and all below it
    LIST_SLASH = 1            # "/a/": needs a slash after this node
    LIST_EXACT = 2

ctypedef struct entry_t:
    uint32_t route
    uint32_t next             # NONE = end of the list

ctypedef struct node_t:
    uint32_t head[3]          # by LIST_*
    uint32_t parent
    span_t segment            # below the parent

ctypedef struct host_t:
    span_t name               # of a wildcard: from its dot on, or up to it
    uint32_t node             # NONE = free place

ctypedef struct child_t:
    uint32_t node             # 0 = free place: the first root is nobody's child
    uint32_t hash             # its upper half, so that nearly every look at a node is a hit

ctypedef struct index_t:
    node_t *nodes
    entry_t *entries
    child_t *children         # open addressing by parent and segment
    host_t *hosts             # open addressing
    uint32_t n_nodes
    uint32_t cap_nodes        # while building
    uint32_t n_entries
    uint32_t children_mask
    uint32_t hosts_mask
    uint32_t n_hosts
    uint32_t wildcard_max     # bytes of the longest wildcard from its dot on; 0 = there are none
    uint32_t beginning_max    # of the longest that ends in ".*", with its dot


cdef uint32_t method_id(span_t s) noexcept nogil:
    return method_named(s.ptr, s.len)


cdef int method_in_capitals(span_t s) noexcept nogil:
    cdef uint8_t room[METHOD_LONGEST]
    cdef uint32_t i
    if s.len > METHOD_LONGEST:
        return METHOD_OTHER
    for i in range(s.len):
        room[i] = s.ptr[i] & 0xdf if 97 <= s.ptr[i] <= 122 else s.ptr[i]
    return <int>method_id(span_of(room, s.len))


cdef bint route_add_method(route_t *r, span_t method) noexcept nogil:
    cdef uint32_t id = method_id(method)
    r.has_methods = 1
    if id == METHOD_OTHER:
        return False
    r.methods |= <uint32_t>1 << id
    return True


# --- what one route asks for ---

cdef span_t route_host(const msg_t *m, uint8_t *room) noexcept nogil:
    cdef span_t s = msg_span(m, m.authority_off, m.authority_len)
    cdef const uint8_t *end
    cdef uint32_t i
    if s.len > 0 and s.ptr[0] == 91:
        end = <const uint8_t *>memchr(s.ptr, 93, s.len)
        if end is not NULL:
            s.len = <uint32_t>(end - s.ptr) - 1
            s.ptr += 1
    else:
        # The first colon, so that "name:80:80" cannot pass for another name.
        end = <const uint8_t *>memchr(s.ptr, 58, s.len) if s.len > 0 else NULL
        if end is not NULL:
            s.len = <uint32_t>(end - s.ptr)
        if s.len > 1 and s.ptr[s.len - 1] == 46:
            s.len -= 1
    if s.len > ROUTE_HOST_MAX:
        return span_of(NULL, 0)
    for i in range(s.len):
        room[i] = byte_lower(s.ptr[i])
    return span_of(room, s.len)


cdef inline bint is_wildcard(span_t host) noexcept nogil:
    return host.len > 2 and host.ptr[0] == 42 and host.ptr[1] == 46


cdef inline bint is_beginning(span_t host) noexcept nogil:
    return host.len > 2 and host.ptr[host.len - 1] == 42 and host.ptr[host.len - 2] == 46


cdef bint host_matches(const route_t *r, span_t host) noexcept nogil:
    cdef uint32_t i, n
    cdef span_t want
    if r.n_hosts == 0:
        return True
    for i in range(r.n_hosts):
        want = r.hosts[i]
        if is_wildcard(want):
            n = want.len - 1
            if host.len > n and memcmp(host.ptr + host.len - n, want.ptr + 1, n) == 0:
                return True
        elif is_beginning(want):
            n = want.len - 1
            if host.len > n and memcmp(host.ptr, want.ptr, n) == 0:
                return True
        elif span_eq(want, host):
            return True
    return False


cdef inline bint path_matches(const route_t *r, span_t path) noexcept nogil:
    """Apart from its pattern."""
    cdef uint32_t n = r.path.len
    if r.path_kind == ROUTE_EXACT:
        return span_eq(r.path, path)
    if path.len < n or memcmp(path.ptr, r.path.ptr, n) != 0:
        return n == 1 and r.path_kind != ROUTE_STARTS     # "/" takes "*" too
    if n == 1 or r.path_kind == ROUTE_STARTS:
        return True
    return path.len == n or path.ptr[n] == 47 or r.path.ptr[n - 1] == 47


cdef bint route_is_torn(const route_t *r, const msg_t *m) noexcept nogil:
    cdef uint32_t i
    for i in range(r.n_headers):
        if header_is_torn(&r.headers[i], m):
            return True
    for i in range(r.n_cookies):
        if cookie_is_torn(&r.cookies[i], m):
            return True
    for i in range(r.n_query):
        if query_is_torn(&r.query[i], m):
            return True
    return False


cdef bint method_matches(const route_t *r, const msg_t *m) noexcept nogil:
    cdef uint32_t i
    if m.method != METHOD_OTHER:
        return (r.methods >> m.method) & 1
    for i in range(r.n_methods_other):
        if span_eq(r.methods_other[i], msg_span(m, m.method_off, m.method_len)):
            return True
    return False


cdef bint source_matches(const route_t *r, const asker_t *who) noexcept nogil:
    cdef uint32_t i
    if who is NULL or who.addr is NULL:
        return False
    for i in range(r.n_sources):
        if addr_in_cidr(who.addr, r.sources[i].family, r.sources[i].bits, r.sources[i].ip):
            return True
    return False


cdef inline bint share_takes(const route_t *r, const asker_t *who) noexcept nogil:
    """Each route by a number of its own that follows from the draw: a second share is of what is left of a first."""
    cdef uint64_t drawn = hash_mix(who.draw if who is not NULL else 0, r.index)
    return ((drawn >> 32) * <uint64_t>ROUTE_SHARE_ALL) >> 32 < r.share


cdef inline int miss_of_rest(const route_t *r, const msg_t *m, span_t path, const asker_t *who,
                             span_t *name) noexcept nogil:
    """Of everything but host and path: what costs the least first, patterns of paths behind all others. The share comes
    last, so that it is one of the requests that match."""
    cdef uint32_t i
    if r.has_methods and not method_matches(r, m):
        return MISS_METHOD
    if r.n_sources != 0 and not source_matches(r, who):
        return MISS_SOURCE
    for i in range(r.n_headers):
        if not header_holds(&r.headers[i], m):
            name[0] = r.headers[i].name
            return MISS_HEADER
    for i in range(r.n_cookies):
        if not cookie_holds(&r.cookies[i], m):
            name[0] = r.cookies[i].name
            return MISS_COOKIE
    for i in range(r.n_query):
        if not query_holds(&r.query[i], m):
            name[0] = r.query[i].name
            return MISS_QUERY
    if r.path_kind == ROUTE_STARTS:
        if not path_matches(r, path):
            return MISS_PATH
    elif r.path_kind == ROUTE_PATTERN and not pattern_takes(r.pattern, path):
        return MISS_PATTERN
    if r.share < ROUTE_SHARE_ALL and not share_takes(r, who):
        return MISS_SHARE
    return MISS_NOTHING


cdef inline bint rest_matches(const route_t *r, const msg_t *m, span_t path, const asker_t *who) noexcept nogil:
    cdef span_t name
    return miss_of_rest(r, m, path, who, &name) == MISS_NOTHING


cdef int route_miss(const route_t *r, const msg_t *m, span_t path, const asker_t *who, span_t *name) noexcept nogil:
    cdef uint8_t room[ROUTE_HOST_MAX]
    name[0] = span_of(NULL, 0)
    if path.len == 0:
        path = span_of(b"/", 1)
    if r.n_hosts != 0 and not host_matches(r, route_host(m, room)):
        return MISS_HOST
    if not path_matches(r, path):
        return MISS_PATTERN if r.path_kind == ROUTE_PATTERN else MISS_PATH
    return miss_of_rest(r, m, path, who, name)


cdef const route_t *route_scan(const route_table_t *t, const msg_t *m, span_t path,
                               const asker_t *who) noexcept nogil:
    cdef uint8_t room[ROUTE_HOST_MAX]
    cdef span_t host
    cdef bint has_host = False
    cdef const route_t *r
    cdef uint32_t i
    if path.len == 0:
        path = span_of(b"/", 1)
    for i in range(t.n):
        r = &t.routes[i]
        if not path_matches(r, path):
            continue
        if r.n_hosts != 0:
            if not has_host:
                host = route_host(m, room)
                has_host = True
            if not host_matches(r, host):
                continue
        if rest_matches(r, m, path, who):
            return r
    return NULL


# --- building ---

cdef inline uint64_t child_hash(uint32_t parent, span_t segment) noexcept nogil:
    return hash_bytes(segment.ptr, segment.len, parent)


cdef inline uint32_t child_of(const index_t *x, uint32_t parent, span_t segment) noexcept nogil:
    cdef uint64_t hash = child_hash(parent, segment)
    cdef uint32_t at = <uint32_t>hash & x.children_mask
    cdef const child_t *c = &x.children[at]
    cdef const node_t *node
    while c.node != 0:
        if c.hash == <uint32_t>(hash >> 32):
            node = &x.nodes[c.node]
            if node.parent == parent and span_eq(node.segment, segment):
                return c.node
        at = (at + 1) & x.children_mask
        c = &x.children[at]
    return NONE


cdef void add_child(index_t *x, uint32_t node) noexcept nogil:
    cdef uint64_t hash = child_hash(x.nodes[node].parent, x.nodes[node].segment)
    cdef uint32_t at = <uint32_t>hash & x.children_mask
    while x.children[at].node != 0:
        at = (at + 1) & x.children_mask
    x.children[at].node = node
    x.children[at].hash = <uint32_t>(hash >> 32)


cdef void resize(index_t *x, uint32_t cap) noexcept nogil:
    """Room for `cap` nodes, and a table of children twice as large; roots are in no table."""
    cdef node_t *nodes = <node_t *>heap_array(cap, sizeof(node_t))
    cdef uint32_t i
    if x.n_nodes != 0:
        memcpy(nodes, x.nodes, x.n_nodes * sizeof(node_t))
    heap_free(x.nodes)
    heap_free(x.children)
    x.nodes = nodes
    x.cap_nodes = cap
    x.children_mask = 2 * cap - 1
    x.children = <child_t *>heap_array(2 * <size_t>cap, sizeof(child_t))
    for i in range(x.n_nodes):
        if nodes[i].parent != NONE:
            add_child(x, i)


cdef uint32_t add_node(index_t *x, uint32_t parent, span_t segment) noexcept nogil:
    cdef node_t *node
    cdef uint32_t k
    if x.n_nodes == x.cap_nodes:
        resize(x, 2 * x.cap_nodes)
    node = &x.nodes[x.n_nodes]
    for k in range(3):
        node.head[k] = NONE
    node.parent = parent
    node.segment = segment
    x.n_nodes += 1
    if parent != NONE:
        add_child(x, x.n_nodes - 1)
    return x.n_nodes - 1


cdef inline uint32_t host_place(const index_t *x, span_t name) noexcept nogil:
    """Where the host is, or the free place where it would be."""
    cdef uint32_t at = <uint32_t>hash_bytes(name.ptr, name.len, 0) & x.hosts_mask
    while x.hosts[at].node != NONE and not span_eq(x.hosts[at].name, name):
        at = (at + 1) & x.hosts_mask
    return at


cdef uint32_t route_host_steps(const route_table_t *t, span_t host) noexcept nogil:
    cdef const index_t *x = <const index_t *>t.state
    cdef uint32_t first = <uint32_t>hash_bytes(host.ptr, host.len, 0) & x.hosts_mask
    return ((host_place(x, host) - first) & x.hosts_mask) + 1


cdef uint32_t host_for(index_t *x, span_t name) noexcept nogil:
    cdef host_t *h = &x.hosts[host_place(x, name)]
    if h.node == NONE:
        h.name = name
        h.node = add_node(x, NONE, span_of(NULL, 0))
        x.n_hosts += 1
    return h.node


cdef inline span_t next_segment(const uint8_t *p, const uint8_t *end) noexcept nogil:
    cdef const uint8_t *slash = <const uint8_t *>memchr(p, 47, end - p) if p < end else NULL
    return span_of(p, <uint32_t>((slash if slash is not NULL else end) - p))


cdef void file_route(index_t *x, const route_t *r, uint32_t root) noexcept nogil:
    """Puts a route before all that are filed already: they come in backwards."""
    cdef const uint8_t *p = r.path.ptr + 1
    cdef const uint8_t *end = r.path.ptr + r.path.len
    cdef uint32_t node = root
    cdef int which = LIST_PREFIX
    cdef uint32_t *head
    cdef uint32_t child
    cdef span_t segment
    if r.path_kind == ROUTE_EXACT:
        which = LIST_EXACT
    elif r.path_kind == ROUTE_STARTS:
        # Below the last segment that is whole.
        while end > p and (end - 1)[0] != 47:
            end -= 1
        if end > p:
            end -= 1
    elif r.path.len > 1 and (end - 1)[0] == 47:
        which = LIST_SLASH
        end -= 1
    # "/" as a prefix stays at the root; as an exact path it has one empty segment. "*" has no slash and stays at the
    # root too, where no exact path of segments can end.
    if r.path.ptr[0] == 47 and not (which == LIST_PREFIX and end <= p):
        while True:
            segment = next_segment(p, end)
            child = child_of(x, node, segment)
            node = child if child != NONE else add_node(x, node, segment)
            p += segment.len
            if p >= end:
                break
            p += 1
    head = &x.nodes[node].head[which]
    if head[0] != NONE and x.entries[head[0]].route == r.index:
        return                # the same host twice
    x.entries[x.n_entries].route = r.index
    x.entries[x.n_entries].next = head[0]
    head[0] = x.n_entries
    x.n_entries += 1


cdef int route_build(route_table_t *t, arena_t *arena) noexcept nogil:
    cdef index_t *x
    cdef const route_t *r
    cdef void *grown
    cdef uint64_t n_entries = 0
    cdef uint64_t n_hosts = 0
    cdef uint32_t size = 16
    cdef uint32_t i, j
    t.state = NULL
    for i in range(t.n):
        t.routes[i].index = i
        if t.routes[i].share < ROUTE_SHARE_ALL:
            t.has_shares = True
        n_hosts += t.routes[i].n_hosts
        n_entries += t.routes[i].n_hosts if t.routes[i].n_hosts != 0 else 1
    if t.n <= SCAN_MAX:
        return FM_OK
    if n_entries > ROUTE_PLACES_MAX:
        return FM_ELIMIT
    x = <index_t *>arena_alloc(arena, sizeof(index_t))
    x.entries = <entry_t *>arena_array(arena, n_entries, sizeof(entry_t))
    while size < 2 * n_hosts:
        size *= 2
    x.hosts_mask = size - 1
    x.hosts = <host_t *>arena_array(arena, size, sizeof(host_t))
    for i in range(size):
        x.hosts[i].node = NONE
    resize(x, 64)
    add_node(x, NONE, span_of(NULL, 0))     # ANY_HOST
    i = t.n
    while i > 0 and x.n_nodes <= ROUTE_PLACES_MAX:
        i -= 1
        r = &t.routes[i]
        if r.n_hosts == 0:
            file_route(x, r, ANY_HOST)
        for j in range(r.n_hosts):
            if x.n_nodes > ROUTE_PLACES_MAX:
                break
            if is_beginning(r.hosts[j]):
                # Filed with its dot: no host name ends with one.
                if r.hosts[j].len - 1 > x.beginning_max:
                    x.beginning_max = r.hosts[j].len - 1
                file_route(x, r, host_for(x, span_of(r.hosts[j].ptr, r.hosts[j].len - 1)))
            elif is_wildcard(r.hosts[j]):
                # Filed from its dot on: no host name begins with one, so both kinds share a table.
                if r.hosts[j].len - 1 > x.wildcard_max:
                    x.wildcard_max = r.hosts[j].len - 1
                file_route(x, r, host_for(x, span_of(r.hosts[j].ptr + 1, r.hosts[j].len - 1)))
            else:
                file_route(x, r, host_for(x, r.hosts[j]))
    # What grew on the heap moves into the arena, at its final size.
    grown = x.nodes
    x.nodes = <node_t *>arena_dup(arena, grown, x.n_nodes * sizeof(node_t))
    heap_free(grown)
    grown = x.children
    x.children = <child_t *>arena_dup(arena, grown, (<size_t>x.children_mask + 1) * sizeof(child_t))
    heap_free(grown)
    if x.n_nodes > ROUTE_PLACES_MAX:
        return FM_ELIMIT
    t.state = x
    return FM_OK


# --- finding ---

cdef inline uint32_t best_of(const route_table_t *t, const index_t *x, uint32_t at, const msg_t *m,
                             span_t path, const asker_t *who, uint32_t best) noexcept nogil:
    while at != NONE and x.entries[at].route < best:
        if rest_matches(&t.routes[x.entries[at].route], m, path, who):
            return x.entries[at].route
        at = x.entries[at].next
    return best


cdef uint32_t walk(const route_table_t *t, const index_t *x, uint32_t node, const msg_t *m, span_t path,
                   const asker_t *who, uint32_t best) noexcept nogil:
    cdef const uint8_t *p = path.ptr
    cdef const uint8_t *end = path.ptr + path.len
    cdef span_t segment
    best = best_of(t, x, x.nodes[node].head[LIST_PREFIX], m, path, who, best)
    if path.ptr[0] != 47:
        if path.len == 1 and path.ptr[0] == 42:
            best = best_of(t, x, x.nodes[node].head[LIST_EXACT], m, path, who, best)
        return best
    while True:
        # p is at a slash.
        p += 1
        segment = next_segment(p, end)
        node = child_of(x, node, segment)
        if node == NONE:
            return best
        p += segment.len
        best = best_of(t, x, x.nodes[node].head[LIST_PREFIX], m, path, who, best)
        if p >= end:
            return best_of(t, x, x.nodes[node].head[LIST_EXACT], m, path, who, best)
        best = best_of(t, x, x.nodes[node].head[LIST_SLASH], m, path, who, best)


cdef const route_t *route_find(const route_table_t *t, const msg_t *m, span_t path,
                               const asker_t *who) noexcept nogil:
    cdef const index_t *x = <const index_t *>t.state
    cdef uint8_t room[ROUTE_HOST_MAX]
    cdef span_t host
    cdef uint32_t best = NONE
    cdef uint32_t node, i
    if x is NULL:
        return route_scan(t, m, path, who)
    if path.len == 0:
        path = span_of(b"/", 1)
    if x.n_hosts != 0:
        host = route_host(m, room)
        if host.len != 0:
            node = x.hosts[host_place(x, host)].node
            if node != NONE and host.ptr[0] != 46 and host.ptr[host.len - 1] != 46:
                best = walk(t, x, node, m, path, who, best)
            if x.wildcard_max != 0:
                # Longer ends match no wildcard, however many dots a hostile name has.
                i = host.len - x.wildcard_max if host.len > x.wildcard_max else 1
                for i in range(i, host.len):
                    if host.ptr[i] == 46:
                        node = x.hosts[host_place(x, span_of(host.ptr + i, host.len - i))].node
                        if node != NONE:
                            best = walk(t, x, node, m, path, who, best)
            if x.beginning_max != 0:
                for i in range(1, host.len if host.len <= x.beginning_max else x.beginning_max):
                    if host.ptr[i] == 46 and i + 1 < host.len:
                        node = x.hosts[host_place(x, span_of(host.ptr, i + 1))].node
                        if node != NONE:
                            best = walk(t, x, node, m, path, who, best)
    best = walk(t, x, ANY_HOST, m, path, who, best)
    return &t.routes[best] if best != NONE else NULL
