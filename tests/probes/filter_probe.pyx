"""Exchanges that filters see, and picks, with no stream around them: for bench/micro."""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from fastmesh._core.filter.balance cimport Balancer, balance_free
from fastmesh._core.filter.chain cimport Table
from fastmesh._core.filter.drive import begin
from fastmesh._core.filter.view cimport Request
from fastmesh._core.http.h1 cimport h1_limits_t, h1_parse_request
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.reactor cimport engine_t, reactor_t
from fastmesh._core.io.timer cimport wheel_init
from fastmesh._core.lb.cluster cimport (
    LB_ROUND_ROBIN, cluster_build, cluster_drop, cluster_live_t, cluster_pick, cluster_t)
from fastmesh._core.lb.endpoint cimport endpoint_live_t, endpoint_row_t, endpoint_t, endpoint_use_t
from fastmesh._core.mem.counter cimport stats_t
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.proxy.mux cimport down_t, proxy_t, stream_t
from fastmesh._core.route.route_table cimport route_t
from fastmesh._core.snapshot.snapshot cimport filter_chain_t, filter_rule_t, listener_t, snapshot_t

cdef enum:
    FILTERS_MOST = 64
    PATH_ROOM = 131072

cdef stats_t *stats = NULL    # as in a worker, for good: filters that were attached keep pointers into it


cdef uint64_t _now() noexcept nogil:
    return 1


def exchange_loop(Table table not None, bytes head not None, int loops, uint32_t share=1000000, list seen=None):
    """So many exchanges of which the filters of a listener see the request, its route chosen, and the end; they are
    asked about a `share` of them, in millionths.

    Returns how many were refused or wait: none of them should. `seen` is given, of each, whether Python was entered,
    and whether the head was copied.
    """
    cdef bint is_watched = seen is not None
    global stats
    cdef reactor_t *reactor = <reactor_t *>calloc(1, sizeof(reactor_t))
    cdef proxy_t *p = <proxy_t *>calloc(1, sizeof(proxy_t))
    cdef stream_t *s = <stream_t *>calloc(1, sizeof(stream_t))
    cdef down_t *d = <down_t *>calloc(1, sizeof(down_t))
    cdef snapshot_t snap
    cdef listener_t listener
    cdef route_t route
    cdef filter_chain_t chain
    cdef filter_rule_t rules[FILTERS_MOST]
    cdef uint16_t slots[FILTERS_MOST]
    cdef engine_t engine
    cdef h1_limits_t limits
    cdef msg_t *m
    cdef span_t path
    cdef const uint8_t *bytes_ = <const uint8_t *><char *>head
    cdef uint32_t n = <uint32_t>len(head)
    cdef int i
    cdef int stuck = 0
    if table.n > FILTERS_MOST:
        raise ValueError(f"at most {FILTERS_MOST} filters")
    if stats is NULL:
        stats = <stats_t *>calloc(1, sizeof(stats_t))
    memset(&snap, 0, sizeof(snap))
    memset(&listener, 0, sizeof(listener))
    memset(&route, 0, sizeof(route))
    memset(&engine, 0, sizeof(engine))
    for i in range(<int>table.n):
        slots[i] = <uint16_t>i
        rules[i].match = NULL
        rules[i].share = share
    chain.n = <uint16_t>table.n
    chain.slots = slots
    snap.rules, snap.n_rules, snap.chains, snap.n_chains = rules, table.n, &chain, 1
    snap.filters = <void *>table
    route.chain = -1
    engine.now = _now
    reactor.engine = &engine
    p.reactor, p.stats, p.path = reactor, stats, <uint8_t *>calloc(1, PATH_ROOM)
    begin(PyCapsule_New(p, b"proxy", NULL), table)
    limits.head_bytes = limits.line_bytes = 65535
    limits.fields = 256
    d.proxy = s.proxy = p
    s.down, s.snap, s.listener, d.listener, d.snap = d, &snap, &listener, &listener, &snap
    m = &p.request
    if h1_parse_request(m, bytes_, n, 0, &limits) <= 0:
        raise ValueError("no whole head")
    with nogil:
        for _ in range(loops):
            s.run, s.route, s.taps, s.bits = NULL, NULL, 0, 0
            m = &p.request
            path = span_of(NULL, 0)
            if p.filters.request(s, &m) != 0:
                stuck += 1
            s.route = &route
            if is_watched:
                with gil:
                    seen.append((s.run is not NULL, s.run is not NULL and (<Request>s.run).h is not NULL))
            if s.run is not NULL:
                if p.filters.routed(s, &m, &path) != 0:
                    stuck += 1
                p.filters.complete(s)
                p.filters.release(s)
        p.filters.close(p)
    free(p.path)
    free(p)
    free(s)
    free(d)
    free(reactor)
    return stuck


def balance_loop(Table table not None, bytes head not None, uint32_t count, int loops, str what):
    """So many picks (`what` is "pick") among `count` endpoints, or askings for their weights ("weights"), of the load
    balancer in the first slot; with "compiled" nobody is asked. Returns how many picks came to nothing."""
    global stats
    cdef reactor_t *reactor = <reactor_t *>calloc(1, sizeof(reactor_t))
    cdef proxy_t *p = <proxy_t *>calloc(1, sizeof(proxy_t))
    cdef stream_t *s = <stream_t *>calloc(1, sizeof(stream_t))
    cdef down_t *d = <down_t *>calloc(1, sizeof(down_t))
    cdef endpoint_t *endpoints = <endpoint_t *>calloc(count, sizeof(endpoint_t))
    cdef endpoint_live_t *lives = <endpoint_live_t *>calloc(count, sizeof(endpoint_live_t))
    cdef endpoint_use_t *uses = <endpoint_use_t *>calloc(count, sizeof(endpoint_use_t))
    cdef endpoint_row_t *rows = <endpoint_row_t *>calloc(count, sizeof(endpoint_row_t))
    cdef endpoint_t *e
    cdef snapshot_t snap
    cdef cluster_t cluster
    cdef cluster_live_t live
    cdef engine_t engine
    cdef bytes text
    cdef list texts = []
    cdef uint32_t i
    cdef int missed = 0
    if stats is NULL:
        stats = <stats_t *>calloc(1, sizeof(stats_t))
    memset(&snap, 0, sizeof(snap))
    memset(&cluster, 0, sizeof(cluster))
    memset(&live, 0, sizeof(live))
    cluster.live = &live
    memset(&engine, 0, sizeof(engine))
    engine.now = _now
    reactor.engine = &engine
    wheel_init(&reactor.wheel, 1)
    for i in range(count):
        lives[i].use = &uses[i]
        uses[i].row = &rows[i]
        uses[i].answers = 1
        uses[i].ewma_ns = 1000000 * (i + 1)
        endpoints[i].live = &lives[i]
        endpoints[i].weight = 1 + i % 3
        text = f"10.0.{i >> 8}.{i & 255}:80".encode()
        texts.append(text)
        endpoints[i].text = span_of(<const uint8_t *><char *>text, <uint32_t>len(text))
    cluster.lb, cluster.n, cluster.endpoints = LB_ROUND_ROBIN, count, endpoints
    cluster.balancer_slot = -1 if what == "compiled" else 0
    cluster.balancer_interval_ns = 1000000000
    cluster_build(&cluster)
    snap.clusters, snap.n_clusters, snap.filters = &cluster, 1, <void *>table
    p.reactor, p.stats, p.snap, p.rng = reactor, stats, &snap, 1
    begin(PyCapsule_New(p, b"proxy", NULL), table)
    p.filters.applied(p, NULL)
    d.proxy = s.proxy = p
    s.down, s.snap, d.snap, s.cluster = d, &snap, &snap, &cluster
    s.wire, s.wire_len = <uint8_t *><char *>head, <uint32_t>len(head)
    if what == "weights":
        for _ in range(loops):
            (<Balancer>table.balancers[0]).weigh()
    else:
        with nogil:
            for _ in range(loops):
                s.run, s.taps, s.bits = NULL, 0, 0
                e = NULL
                if cluster.is_picked_for and p.filters.pick(s, &e) != 0:
                    missed += 1
                if e is NULL:
                    e = cluster_pick(&cluster, 1, &p.rng, NULL, 0)
                missed += e is NULL
                if s.run is not NULL:
                    p.filters.complete(s)
                    p.filters.release(s)
    with nogil:
        p.filters.close(p)
    balance_free(table)
    cluster_drop(&cluster)
    for room in (<size_t>p, <size_t>s, <size_t>d, <size_t>reactor, <size_t>endpoints, <size_t>lives, <size_t>uses,
                 <size_t>rows):
        free(<void *><size_t>room)
    return missed
