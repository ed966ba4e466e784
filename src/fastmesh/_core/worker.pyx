"""The worker: one thread, one loop, everything below put together.

The object Python holds. Every method belongs to the thread that made it; only `run` lets go of the GIL.
"""
import os

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport Py_INCREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.io cimport reactor as io_reactor
from fastmesh._core.io.reactor cimport (
    READY_IN, engine_t, io_close, io_open, io_ops_t, io_t, io_watch, reactor_free, reactor_new, reactor_turn)
from fastmesh._core.lb.cluster cimport cluster_t, cluster_tell
from fastmesh._core.lb.ejection cimport ejection_forget, ejection_on_down
from fastmesh._core.lb.endpoint cimport endpoint_live_t
from fastmesh._core.lb.subset cimport subsets_tell
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.mem.counter cimport (
    FLAG_LR, G_DRAIN_CUT, G_SNAPSHOTS, G_SNAPSHOTS_REFUSED, STATS_ENDPOINTS,
    cluster_row_t, stats_map, stats_new, stats_t,
    stats_unmap)
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.health cimport health_map, health_unmap
from fastmesh._core.mem.sealed cimport sealed_map, sealed_unmap
from fastmesh._core.mem.slab cimport slab_fini, slab_init
from fastmesh._core.mem.label_table cimport label_table_free
from fastmesh._core.mem.raw cimport raw_give, raw_take, raw_zeroed
from fastmesh._core.mem.segment cimport (
    KIND_BUCKETS, SHARED_NO_ROOM, SHARED_OK, SHARED_OTHER, object_size, segment_left, segment_t)
from fastmesh._core.proxy.down cimport down_close, down_refresh
from fastmesh._core.proxy.hedge cimport hedge_t
from fastmesh._core.proxy.listener cimport door_find, door_leave, door_new, door_open
from fastmesh._core.proxy.keeping cimport keeping_applied, keeping_close
from fastmesh._core.proxy.mirror cimport mirror_copy, mirrors_close
from fastmesh._core.proxy.mux cimport door_t, down_t, proxy_t, stream_t
from fastmesh._core.proxy.mux_h1_down cimport mux_h1_down_drain
from fastmesh._core.proxy.mux_h1_up cimport mux_h1_up_ops
from fastmesh._core.proxy.overload cimport overload_turn
from fastmesh._core.proxy.relay cimport pipes_close, relay_t
from fastmesh._core.proxy.stream cimport stream_end
from fastmesh._core.mem.tally cimport seat_leave, seat_take
from fastmesh._core.resil.breaker cimport breaker_join, breaker_leave
from fastmesh._core.resil.rate_limit cimport rate_limit_keep, rate_limit_t
from fastmesh._core.mem.breath cimport breath_set, breath_take
from fastmesh._core.snapshot.leaving cimport leaving_begin, leaving_end, leaving_is_any, leaving_step
from fastmesh._core.snapshot.live cimport live_free, live_new, live_share
from fastmesh._core.snapshot.snapshot cimport listener_t, snapshot_decode, snapshot_get, snapshot_put, snapshot_t
from fastmesh._core.sys.socket cimport POLLIN, poll, pollfd
from fastmesh._core.upstream.pool cimport pool_close_all, pool_close_idle, pool_fini, pool_init, up_t
from fastmesh._core.watch cimport Watches, watches_of

# The engines put themselves into io.reactor when they are imported.
from fastmesh._core.io import poll_epoll  # no-cython-lint
from fastmesh._core.io import poll_uring

TIMEOUT = 0
WOKEN = 1
DRAINED = 2
TOLD = 3

cdef enum:
    RUN_TIMEOUT = 0
    RUN_WOKEN = 1
    RUN_DRAINED = 2
    RUN_TOLD = 3
    TURN_MOST_NS = 1000000000     # the loop turns at least once a second: the heartbeat
    DRAIN_LOOK_NS = 20000000
    WHY_MAX = 512
    BREATH_MASK = 63              # of endpoints between two looks at the clock


class SnapshotRefused(ValueError):
    """A snapshot cannot be used; the sentence says where and why. The worker keeps the one it has."""


def probe_engines():
    """Which reactor engines work here: name -> "ok" or the reason why not."""
    why = poll_uring.probe()
    return {"io_uring": "ok" if why is None else why, "epoll": "ok"}


cdef extern from "last_trace.h" nogil:
    void fm_trace_on_abort()


def trace_on_abort():
    """From now on SIGABRT writes the frames of the compiled code to stderr before it ends the process."""
    fm_trace_on_abort()


cdef class Worker:
    """A data-plane worker: owns its reactor, its connections and its snapshot."""

    cdef proxy_t *_p              # owned; NULL once closed
    cdef io_t _wake
    cdef int _wake_fd
    cdef bint _woken
    cdef bint _drained
    cdef int _seat                # what it has in use is shown there: mem/tally; -1 = nowhere
    cdef int _shared_fd           # what all workers share, see mem/segment; -1 = this process has its own
    cdef object _segment          # that memory, from the first rate limit on; snapshots point into it
    cdef Watches _watches         # from the first one on
    cdef readonly str engine

    def __cinit__(self, str engine, int stats_fd, int wake_fd, int slot, int shared_fd=-1, int health_fd=-1):
        cdef const engine_t *chosen = NULL
        cdef int err = 0
        cdef stats_t *stats
        cdef proxy_t *p
        cdef uint64_t seed
        if engine not in ("auto", "io_uring", "epoll"):
            raise ValueError(f"unknown reactor engine {engine!r}: allowed are auto, io_uring, epoll")
        if engine != "epoll":
            why = poll_uring.probe()
            if why is None:
                chosen = io_reactor.engine_uring
            elif engine == "io_uring":
                raise OSError(f"io_uring cannot be used here: {why}")
        if chosen is NULL:
            chosen = io_reactor.engine_epoll
        stats = stats_map(stats_fd) if stats_fd >= 0 else stats_new()
        if stats is NULL:
            raise OSError("the worker's shared memory cannot be mapped")
        p = <proxy_t *>raw_zeroed(sizeof(proxy_t))
        p.reactor = reactor_new(chosen, stats, &err)
        if p.reactor is NULL:
            stats_unmap(stats)
            raw_give(p)
            raise OSError(err, os.strerror(err))
        self.engine = chosen.name.decode()
        self._p = p
        p.stats = stats
        p.registry = live_new()
        leaving_begin(p.registry)
        p.health = health_map(health_fd)
        if p.health is NULL:
            # Started without control: what is known stays here.
            p.health = health_map(-1)
        live_share(p.registry, p.health)
        ejection_on_down(_close_idle)
        self._seat = seat_take(&p.health.seats, os.getpid()) if p.health is not NULL else -1
        p.path = <uint8_t *>raw_take(2 * 65536)
        seed = int.from_bytes(os.urandom(8), "little")
        p.rng = seed
        pool_init(&p.pool, p.reactor, stats, p.registry, seed ^ 0x5DEECE66D)
        slab_init(&p.downs_slab, sizeof(down_t), 32)
        slab_init(&p.streams, sizeof(stream_t), 32)
        slab_init(&p.relays, sizeof(relay_t), 16)
        slab_init(&p.hedges, sizeof(hedge_t), 16)
        p.h1_up = mux_h1_up_ops()
        p.copy = mirror_copy
        p.next_id = <uint64_t>slot << 48
        stats.header.pid = os.getpid()
        stats.header.engine = chosen.kind
        stats.header.started_ns = p.reactor.now_ns
        stats.header.version = 0
        self._shared_fd = shared_fd
        self._wake_fd = wake_fd
        if wake_fd >= 0:
            if io_open(p.reactor, &self._wake, os.dup(wake_fd), &WAKE) != FM_OK:
                raise OSError("the control socket cannot be watched")
            io_watch(&self._wake, READY_IN)

    def __reduce__(self):
        raise TypeError("a Worker cannot be pickled: it owns file descriptors")

    cdef proxy_t *_alive(self) except NULL:
        if self._p is NULL:
            raise ValueError("the worker is closed")
        return self._p

    def add_listener(self, int listener_id, int fd):
        """Takes over a listening socket; it accepts once a snapshot names its listener."""
        cdef proxy_t *p = self._alive()
        os.set_blocking(fd, False)
        if door_new(p, <uint32_t>listener_id, fd) is NULL:
            raise OSError(f"the listening socket {fd} cannot be watched")

    def apply(self, bytes snapshot, filters=None):
        """Swaps in a snapshot. Raises SnapshotRefused, and keeps the old one, when it is not usable.

        `filters`: the Table of the filters that it names, in the order of its rules. Its `on_free` is called when no
        exchange uses the snapshot any more, and not for one that is refused.

        Requests go on meanwhile, with the old one until the new one has its place: the loop turns in between.
        """
        self._apply_with_breaths(<const uint8_t *><char *>snapshot, len(snapshot), filters)

    def apply_sealed(self, int fd, uint64_t size, filters=None):
        """The same with one of `size` bytes in a sealed memfd, which stays the caller's. It is read where it lies:
        room for it in the heap would stay there."""
        cdef proxy_t *p = self._alive()
        cdef const uint8_t *packed = NULL
        cdef int why = sealed_map(fd, size, &packed)
        if why != 0:
            p.stats.globals[G_SNAPSHOTS_REFUSED] += 1
            _shut_unused(p)
            raise SnapshotRefused(f"{size:,} bytes of sealed memory were announced, and what came is something else: "
                                  f"{os.strerror(why)}")
        try:
            self._apply_with_breaths(packed, size, filters)
        finally:
            sealed_unmap(packed, size)

    cdef int _apply_with_breaths(self, const uint8_t *packed, uint64_t size, filters) except -1:
        cdef proxy_t *p = self._alive()
        breath_set(_breathe, p)
        try:
            return self._apply(p, packed, size, filters)
        finally:
            breath_set(NULL, NULL)

    cdef int _apply(self, proxy_t *p, const uint8_t *packed, uint64_t size, filters) except -1:
        cdef char why[WHY_MAX]
        cdef snapshot_t *new
        cdef snapshot_t *old = p.snap
        cdef uint32_t i
        cdef door_t *k
        cdef door_t *after
        cdef down_t *d
        cdef const listener_t *found
        why[0] = 0
        with nogil:
            # One that leaves still names endpoints that nobody else may name by now.
            while leaving_is_any():
                leaving_step()
                breath_take()
            new = snapshot_decode(packed, size, p.stats.endpoints, STATS_ENDPOINTS, p.registry, why, WHY_MAX)
        if new is NULL:
            p.stats.globals[G_SNAPSHOTS_REFUSED] += 1
            _shut_unused(p)
            raise SnapshotRefused((<bytes>why).decode("utf-8", "replace"))
        if new.n_rules != (len(filters.slots) if filters is not None else 0):
            found_rules = new.n_rules
            snapshot_put(new)
            p.stats.globals[G_SNAPSHOTS_REFUSED] += 1
            _shut_unused(p)
            raise SnapshotRefused(f"{found_rules} filters are named, "
                                  f"{len(filters.slots) if filters is not None else 0} were loaded")
        for i in range(new.n_listeners):
            if door_find(p, new.listeners[i].id) is NULL:
                name = new.listeners[i].name.ptr[:new.listeners[i].name.len].decode("utf-8", "replace")
                snapshot_put(new)
                p.stats.globals[G_SNAPSHOTS_REFUSED] += 1
                _shut_unused(p)
                raise SnapshotRefused(f"listener {name!r} has no socket in this worker")
        if new.n_rate_limits != 0:
            refused = self._keep_limits(new)
            if refused is not None:
                snapshot_put(new)
                p.stats.globals[G_SNAPSHOTS_REFUSED] += 1
                _shut_unused(p)
                raise SnapshotRefused(refused)
        if filters is not None:
            from fastmesh._core.filter.drive import begin     # a worker without filters loads nothing of them
            begin(PyCapsule_New(p, b"proxy", NULL), filters)
            new.filters = <void *>filters
            Py_INCREF(filters)
        p.snap = new
        keeping_applied(p)
        if p.filters is not NULL:
            p.filters.applied(p, old)
        p.max_downs = new.max_connections if new.max_connections != 0 else _connections_allowed()
        k = p.doors
        while k is not NULL:
            after = k.next
            found = NULL
            for i in range(new.n_listeners):
                # A listener that moved has two doors: the one handed over last is its new address.
                if new.listeners[i].id == k.id and door_find(p, k.id) is k:
                    found = &new.listeners[i]
            if found is not NULL and not k.is_leaving:
                k.listener = found
                if not p.is_draining:
                    door_open(k)
            else:
                # Who stands in the backlog still gets the rules he was let in under.
                if old is not NULL and k.snap is NULL and k.listener is not NULL:
                    k.snap = snapshot_get(old)
                door_leave(k)
            k = after
        d = p.downs
        while d is not NULL:
            # An idle connection must not keep the old snapshot alive for as long as it stays idle.
            if d.stream is NULL:
                down_refresh(d)
            d = d.next
        for i in range(new.n_clusters):
            _show_gauges(p, &new.clusters[i])
            breaker_join(&new.clusters[i], &p.health.seats, self._seat, new.version)
            ejection_forget(&new.clusters[i])
            with nogil:
                breath_take()
        p.stats.header.version = new.version
        p.stats.globals[G_SNAPSHOTS] += 1
        with nogil:
            if old is not NULL:
                for i in range(old.n_clusters):
                    _retire(p, &old.clusters[i])
                    _hush(&old.clusters[i])
                    breaker_leave(&old.clusters[i], new.version)
                snapshot_put(old)
            _see_off(p)
        return 0

    cdef str _keep_limits(self, snapshot_t *new):
        """Finds or makes the buckets of a snapshot's rate limits. Why not, or None."""
        cdef segment_t *g
        cdef rate_limit_t *l
        cdef uint32_t i
        cdef int found
        from fastmesh._core.mem import shared     # a worker without limits maps nothing
        if self._segment is None:
            if self._shared_fd >= 0:
                try:
                    shared.attach(self._shared_fd)
                except (OSError, ValueError) as why:
                    return f"rate limits are counted in memory that all workers share, and it cannot be had: {why}"
            self._segment = shared.segment()
        g = <segment_t *>PyCapsule_GetPointer(self._segment.handle(), b"segment")
        for i in range(new.n_rate_limits):
            l = &new.rate_limits[i]
            found = rate_limit_keep(l, g)
            if found == SHARED_OK:
                continue
            name = l.name.ptr[:l.name.len].decode("utf-8", "replace")
            if found == SHARED_NO_ROOM:
                return (f"rate limit {name!r}: {l.keys:,} keys take {object_size(KIND_BUCKETS, l.keys, 0):,} bytes, "
                        f"and {segment_left(g):,} are left of the {g.size:,} that rate limits and the shared objects "
                        "of filters have together, those of earlier configurations included; ask for fewer keys, or "
                        "start fastmesh anew")
            if found == SHARED_OTHER:
                return (f"rate limit {name!r}: the name of its buckets is taken by a shared object of a filter; "
                        "give one of them another name")
            return (f"rate limit {name!r}: there are 1,024 shared objects already, those of earlier configurations "
                    "included, and no more are possible; start fastmesh anew")
        return None

    def take_filters_over(self):
        """Of several workers in one process, as tests have them: what filters wait for and call is this one's from now
        on."""
        cdef proxy_t *p = self._alive()
        if p.snap is not NULL and p.snap.filters is not NULL:
            from fastmesh._core.filter.drive import begin
            begin(PyCapsule_New(p, b"proxy", NULL), <object>p.snap.filters)

    def run(self, int timeout_ms):
        """Runs the loop until the wake descriptor is readable (WOKEN), a drain is over (DRAINED), or there are accounts
        of requests that were watched (TOLD).

        After `timeout_ms` it returns TIMEOUT; -1 is for ever.
        """
        cdef proxy_t *p = self._alive()
        cdef uint64_t until
        cdef uint64_t most
        cdef int how = RUN_TIMEOUT
        cdef pollfd pf
        if self._wake_fd >= 0:
            # What an earlier edge announced may not have been read to its end.
            pf.fd = self._wake_fd
            pf.events = POLLIN
            pf.revents = 0
            if poll(&pf, 1, 0) > 0:
                self._woken = True
        until = p.reactor.now_ns + <uint64_t>timeout_ms * 1000000 if timeout_ms >= 0 else <uint64_t>-1
        with nogil:
            while True:
                if self._woken:
                    self._woken = False
                    how = RUN_WOKEN
                    # What this turn has queued leaves before Python takes its time.
                    reactor_turn(p.reactor, 0)
                    break
                if p.has_accounts:
                    how = RUN_TOLD
                    break
                if p.is_draining and _drain_step(p):
                    how = RUN_DRAINED
                    break
                if p.reactor.now_ns >= until:
                    break
                most = DRAIN_LOOK_NS if p.is_draining else TURN_MOST_NS
                if until - p.reactor.now_ns < most:
                    most = until - p.reactor.now_ns
                if leaving_is_any():
                    leaving_step()
                    most = 0
                reactor_turn(p.reactor, most)
                overload_turn(p)
                if self._wake.tx_total != 0:
                    self._wake.tx_total = 0
                    self._woken = True
        return how

    def drain(self, int grace_ms, int idle_ms):
        """Stops accepting; answers what is in flight, then closes. `run` returns DRAINED when all is done."""
        cdef proxy_t *p = self._alive()
        cdef door_t *k = p.doors
        cdef door_t *after
        p.is_draining = True
        p.pool.is_draining = True
        p.stats.header.draining = 1
        p.drain_until_ns = p.reactor.now_ns + <uint64_t>grace_ms * 1000000
        p.drain_idle_ns = <uint64_t>idle_ms * 1000000
        while k is not NULL:
            after = k.next
            door_leave(k)
            k = after

    def watch(self, number, wanted):
        """Waits for the next request that is as `wanted` says: its `listener`, `method`, the beginning of its `path`,
        its `host`, a `header` and its `value`, as far as they are given. Raises ValueError."""
        cdef proxy_t *p = self._alive()
        if self._watches is None:
            self._watches = watches_of(p)
        self._watches.add(number, wanted)

    def unwatch(self, number):
        """Waits no more."""
        self._alive()
        if self._watches is not None:
            self._watches.remove(number)

    def accounts(self):
        """(number, what has become of the request), for each that is over; each once."""
        self._alive()
        return self._watches.take() if self._watches is not None else []

    def live(self):
        """How much of everything is in use: for tests, which expect zero at the end."""
        cdef proxy_t *p = self._alive()
        return {
            "connections": p.n_downs, "streams": p.streams.live, "upstreams": p.pool.slab.live,
            "relays": p.relays.live, "hedges": p.hedges.live, "idle": p.pool.n_idle, "blocks": p.reactor.blocks.live,
            "slices": p.reactor.slices.live, "ios": p.reactor.n_open, "timers": p.reactor.wheel.count,
            "snapshot": p.snap.version if p.snap is not NULL else 0,
        }

    def close(self):
        """Closes every connection and frees everything. Idempotent."""
        cdef proxy_t *p = self._p
        if p is not NULL:
            self._p = NULL
            with nogil:
                _close(p, &self._wake if self._wake_fd >= 0 else NULL, self._seat)
            if self._watches is not None:
                self._watches.p = NULL

    def __dealloc__(self):
        cdef proxy_t *p = self._p
        if p is not NULL:
            self._p = NULL
            _close(p, &self._wake if self._wake_fd >= 0 else NULL, self._seat)


cdef extern from "<sys/resource.h>" nogil:
    struct rlimit:
        unsigned long rlim_cur
        unsigned long rlim_max
    int RLIMIT_NOFILE
    int getrlimit(int what, rlimit *limits)


cdef uint32_t _connections_allowed() noexcept nogil:
    # A client connection may need an upstream one, a relay two pipes besides for a while.
    cdef rlimit limits
    if getrlimit(RLIMIT_NOFILE, &limits) != 0 or limits.rlim_cur < 256:
        return 64
    if limits.rlim_cur > 2000000:
        return 1000000
    return <uint32_t>((limits.rlim_cur - 128) // 2)


cdef void _shut_unused(proxy_t *p) noexcept nogil:
    """Closes the sockets that came for a snapshot that was refused."""
    cdef door_t *k
    cdef door_t *after
    k = p.doors
    while k is not NULL:
        after = k.next
        if not k.is_on and not k.is_leaving:
            io_close(&k.io)
            k.is_leaving = 1
        k = after


cdef void _see_off(proxy_t *p) noexcept nogil:
    """Turns until the doors that leave are closed: whoever asked for the change may rely on it."""
    cdef door_t *k
    cdef int turns
    for turns in range(64):
        k = p.doors
        while k is not NULL and not k.is_leaving:
            k = k.next
        if k is NULL and turns == 0:
            return
        reactor_turn(p.reactor, 0 if k is NULL else 1000000)
        if k is NULL:
            return
    # The last turn hands the close itself to the kernel.


cdef void _breathe(void *proxy) noexcept nogil:
    cdef proxy_t *p = <proxy_t *>proxy
    reactor_turn(p.reactor, 0)
    overload_turn(p)


cdef void _show_gauges(proxy_t *p, cluster_t *c) noexcept nogil:
    cdef cluster_row_t *row = &p.stats.clusters[c.id]
    row.active = c.live.active
    row.pending = c.live.pending
    row.connections = c.live.connections
    cluster_tell(c, &p.stats.balances[c.id])
    c.told.subsets = 0
    c.told.subset_left_out = 0
    c.told.panic = 0
    if c.subsets is not NULL:
        subsets_tell(c)


cdef void _hush(cluster_t *c) noexcept nogil:
    """Requests of the outgoing snapshot still pick by it: what is shown is of the new one alone."""
    cluster_tell(c, NULL)
    if c.subsets is not NULL:
        subsets_tell(c)


cdef void _retire(proxy_t *p, cluster_t *c) noexcept nogil:
    """Closes the idle connections of endpoints that only the outgoing snapshot names."""
    cdef uint32_t i
    cdef endpoint_live_t *live
    for i in range(c.n):
        live = c.endpoints[i].live
        if live.use is not NULL and live.use.n_idle != 0 and live.refs <= live.use.held + 1:
            pool_close_idle(&p.pool, live)
        if i & BREATH_MASK == BREATH_MASK:
            breath_take()


cdef void _close_idle(endpoint_live_t *live) noexcept nogil:
    """Its checks fail: what waits there would not be used before it has closed, or hangs."""
    if live.use is not NULL and live.use.idle is not NULL:
        pool_close_idle((<up_t *>live.use.idle).pool, live)


cdef bint _drain_step(proxy_t *p) noexcept nogil:
    """Closes what may be closed. True when nothing is left, or the time is up."""
    cdef down_t *d = p.downs
    cdef down_t *after
    cdef bint over = p.reactor.now_ns >= p.drain_until_ns
    while d is not NULL:
        after = d.next
        if over:
            if d.stream is not NULL:
                p.stats.globals[G_DRAIN_CUT] += 1
            _cut_down(d)
        else:
            mux_h1_down_drain(d)
        d = after
    if over:
        reactor_turn(p.reactor, 0)
        return True
    return p.n_downs == 0 and p.doors is NULL


cdef void _cut_down(down_t *d) noexcept nogil:
    cdef stream_t *s = d.stream
    down_close(d)
    if s is not NULL:
        d.stream = NULL
        s.flags |= FLAG_LR
        s.details = b"drain_time_over"
        stream_end(s)


cdef void _close(proxy_t *p, io_t *wake, int seat) noexcept nogil:
    cdef down_t *d = p.downs
    cdef down_t *after
    cdef door_t *k = p.doors
    cdef int turns = 0
    while d is not NULL:
        after = d.next
        _cut_down(d)
        d = after
    while k is not NULL:
        io_close(&k.io)
        k = k.next
    mirrors_close(p)
    pool_close_all(&p.pool)
    if wake is not NULL:
        io_close(wake)
    # The kernel gives back what it holds within a turn or two.
    if p.filters is not NULL:
        p.filters.close(p)
    while (p.reactor.n_open > 0 or p.mirrors is not NULL) and turns < 1000:
        reactor_turn(p.reactor, 1000000)
        turns += 1
    if p.snap is not NULL:
        snapshot_put(p.snap)
        p.snap = NULL
    leaving_end(p.registry)
    keeping_close(p)
    reactor_free(p.reactor)
    live_free(p.registry)
    if p.health is not NULL:
        seat_leave(&p.health.seats, seat)
    health_unmap(p.health)
    pool_fini(&p.pool)
    slab_fini(&p.downs_slab)
    slab_fini(&p.streams)
    slab_fini(&p.relays)
    slab_fini(&p.hedges)
    pipes_close()
    label_table_free(p.labelled)
    stats_unmap(p.stats)
    raw_give(p.path)
    raw_give(p)


# --- the wake descriptor ---------------------------------------------------------------------------

cdef void _on_ready(io_t *io, int events) noexcept nogil:
    # Nothing is ever sent through this io: its send counter is free to carry the news to `run`.
    io.tx_total = 1


cdef void _on_bytes(io_t *io, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    pass


cdef void _on_nothing(io_t *io) noexcept nogil:
    pass


cdef void _on_number(io_t *io, int number) noexcept nogil:
    pass


cdef io_ops_t WAKE
WAKE.on_bytes = _on_bytes
WAKE.on_eof = _on_nothing
WAKE.on_error = _on_number
WAKE.on_connect = _on_number
WAKE.on_drained = _on_nothing
WAKE.on_accept = _on_number
WAKE.on_ready = _on_ready
WAKE.on_closed = _on_nothing
