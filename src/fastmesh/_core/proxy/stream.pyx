"""See stream.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset
from fastmesh._core.http.edit cimport head_free, head_t
from fastmesh._core.http.h1 cimport h1_copy_fields
from fastmesh._core.http.msg cimport FRAME_NONE, MSG_EDITED
from fastmesh._core.http.token cimport method_is_idempotent
from fastmesh._core.io.reactor cimport IO_FIRM, IO_FLUSHING, io_reset, reactor_clock
from fastmesh._core.io.timer cimport timer_arm, timer_cancel, timer_init, timer_t, timer_unlink
from fastmesh._core.lb.cluster cimport cluster_pick, cluster_pick_key, cluster_t
from fastmesh._core.lb.ejection cimport ejection_sync
from fastmesh._core.lb.endpoint cimport endpoint_t, endpoint_use_t
from fastmesh._core.lb.use cimport endpoint_use
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new, block_put
from fastmesh._core.mem.counter cimport (
    FLAG_DC, FLAG_DPE, FLAG_SI, FLAG_UC, FLAG_UO, FLAG_UT, G_DEADLINE, G_DOWNSTREAM_RESET, G_HEAD_TOO_LARGE,
    G_OVERFLOW, G_PENDING_TIMEOUT, G_READ_PAUSED, G_REQUEST_TIMEOUT, G_STREAMS, G_TCP_IDLE_CLOSED, G_UPGRADES,
    SERIES_HTTP, SERIES_TCP, cluster_row_t, series_observe, series_row, series_row_t, times_observe)
from fastmesh._core.mem.segment cimport word_get
from fastmesh._core.mem.slab cimport slab_give, slab_take
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.proxy.access_log cimport access_log_put
from fastmesh._core.proxy.label_count cimport label_count_put
from fastmesh._core.proxy.copies cimport copies_begin, copies_body, copies_forget, copies_send
from fastmesh._core.proxy.cors cimport cors_without
from fastmesh._core.proxy.deadline cimport deadline_is_over
from fastmesh._core.proxy cimport fallback as fallback_module, fallback_head as fallback_head_module
from fastmesh._core.proxy.fallback cimport fallback_keeps_body, fallback_on_head
from fastmesh._core.proxy.hedge cimport hedge_arm, hedge_drop, hedge_may_repeat
from fastmesh._core.proxy.injecting cimport injecting_answers, injecting_holds, injecting_release
from fastmesh._core.proxy.keeping cimport keeping_body, keeping_drop, keeping_end
from fastmesh._core.proxy.local cimport (
    local_answer, local_give, local_no_endpoint, local_overloaded, local_say, local_turn_away)
from fastmesh._core.proxy.mux cimport (
    FILTER_GO, HEAD_INLINE, REPLAY_MAX, S_ANSWER_DONE, S_ANSWER_HEAD, S_BODY_SENT, S_CALL, S_CLOSE_DOWN, S_CLOSE_UP,
    S_ENDING, S_HTTP10, S_KEEP_REPLAY, S_MEASURED, S_REQUEST_DONE, S_TCP, S_TUNNEL, S_UP_ENDED, S_UP_PAUSED,
    S_WAITING, S_WANT_BODY, STEP_PICKED, STEP_SENT, TAP_ERROR, TAP_REQUEST_BODY, TAP_REQUEST_TRAILERS,
    TAP_RESPONSE_BODY, TAP_RESPONSE_TRAILERS, TAP_RETRY)
from fastmesh._core.proxy.outcome cimport outcome_of_silence, outcome_of_tunnel
from fastmesh._core.proxy.pacing cimport pacing_drop, pacing_on_drained
from fastmesh._core.proxy.pacing_up cimport pacing_up_drop, pacing_up_is_behind, pacing_up_on_drained
from fastmesh._core.proxy.route_acts cimport route_acts_location, route_acts_request, route_acts_response
from fastmesh._core.proxy.route_count cimport route_count
from fastmesh._core.proxy.relay cimport (
    RELAY_BROKEN, RELAY_BROKEN_UP, RELAY_IDLE, RELAY_STANDS, relay_free, relay_has_heard, relay_new, relay_t)
from fastmesh._core.proxy.request_key cimport request_key_find, request_key_home, request_key_stick
from fastmesh._core.proxy.room cimport room_find
from fastmesh._core.proxy.subsetting cimport subsetting_enter
from fastmesh._core.resil.adaptive cimport adaptive_admits, adaptive_observe
from fastmesh._core.resil.admission cimport admission_admits, admission_count
from fastmesh._core.resil.breaker cimport (
    OVER_ADAPTIVE, OVER_ADMISSION, OVER_ENDPOINT, OVER_REQUESTS, OVER_TIME, USED_REQUESTS, USED_RETRIES,
    breaker_details, breaker_refuses_request, breaker_tell, breaker_tell_endpoint, breaker_why)
from fastmesh._core.resil.budget cimport budget_earn
from fastmesh._core.resil.pressure cimport PRIORITY_HIGH
from fastmesh._core.snapshot.snapshot cimport snapshot_get, snapshot_put
from fastmesh._core.upstream.pool cimport (
    TAKE_FRESH, TAKE_HIGH, TAKE_VERIFY, pool_cancel, pool_drop, pool_give, pool_take, up_t)

cdef const char *CALL_LATE = b"response_timeout"

cdef enum:
    PIECE_MOST = 1 << 26      # bytes of a body that filters may give while there is no connection


cdef stream_t *stream_new(down_t *d, const down_ops_t *ops) noexcept nogil:
    cdef proxy_t *p = d.proxy
    cdef stream_t *s = <stream_t *>slab_take(&p.streams)
    memset(s, 0, <size_t>(<uint8_t *>s.inline_ - <uint8_t *>s))
    s.proxy = p
    s.down = d
    s.down_ops = ops
    s.up_ops = p.h1_up
    s.snap = snapshot_get(d.snap)
    s.listener = d.listener
    s.start_ns = p.reactor.now_ns
    s.wire = s.inline_
    s.wire_cap = HEAD_INLINE
    timer_init(&s.timer, _on_timer, s)
    timer_init(&s.try_timer, s.up_ops.late, s)
    p.stats.globals[G_STREAMS] += 1
    return s


cdef uint8_t *stream_wire_room(stream_t *s, uint32_t n) noexcept nogil:
    if n > s.wire_cap:
        if s.wire_blk is not NULL:
            block_put(s.wire_blk)
        s.wire_blk = block_new(&s.proxy.reactor.blocks,
                               BLOCK_SMALL if n <= BLOCK_SMALL else (BLOCK_LARGE if n <= BLOCK_LARGE else n))
        s.wire = s.wire_blk.bytes
        s.wire_cap = s.wire_blk.cap
    return s.wire


# --- choosing where it goes ----------------------------------------------------------------------

cdef void stream_go(stream_t *s, msg_t *m, span_t path) noexcept nogil:
    cdef head_t *h = NULL
    cdef msg_t *sent = m      # as the cluster gets it; what chooses an endpoint is what was asked for
    cdef span_t location = span_of(NULL, 0)
    cdef bint held
    if s.route.acts is not NULL:
        if s.route.acts.is_redirect:
            location = route_acts_location(s, m, path)
        elif s.cluster is not NULL:
            h = route_acts_request(s, m, &path)
            if h is NULL:
                s.proxy.stats.globals[G_HEAD_TOO_LARGE] += 1
                local_answer(s, 431, FLAG_DPE, b"request_headers_too_large",
                              b"with what the route adds the request is larger than a head may be")
                return
            sent = &h.m
    if s.snap.n_log_ops != 0 or s.cluster is not NULL or s.route.acts is not NULL:
        s.up_ops.prepare(s, sent, path)
    if h is not NULL:
        head_free(h)
    if s.cluster is NULL:
        s.details = b"direct_response"
        local_give(s, s.route.status, s.route.content_type, location, s.route.body)
        return
    if s.route.stream_idle_ns != s.listener.stream_idle_ns and s.down_ops.stands is not NULL:
        s.down_ops.stands(s)
    if s.route.fallback != 0:
        s.fallback = &s.snap.fallbacks[s.route.fallback - 1]
    if deadline_is_over(s):
        _late(s, b"deadline_exceeded_on_arrival")
        return
    if _is_too_many(s):
        return
    if s.cluster.subsets is not NULL:
        subsetting_enter(s, m)
    _enter_cluster(s)
    if s.cluster.settings.n_keys != 0:
        request_key_find(s, m)
    if s.cluster.names is not NULL:
        request_key_stick(s, m)
    if s.bits & S_REQUEST_DONE:
        _await_answer(s)
    elif s.deadline_ns != 0:
        _ring(s, s.deadline_ns)
    held = s.route.injection_list != 0 and injecting_holds(s, m, path)
    if s.route.mirror_list != 0 and s.injected == 0:
        copies_begin(s, m, path)
    if not held:
        stream_try(s)


cdef bint _is_too_many(stream_t *s) noexcept nogil:
    """For its cluster: then it has been answered."""
    cdef cluster_t *c = s.cluster
    cdef uint64_t now = s.proxy.reactor.now_ns
    if breaker_refuses_request(c, s.priority == PRIORITY_HIGH, now):
        stream_overflow(s, OVER_REQUESTS)
    elif s.bits & S_TCP:
        return False
    elif c.adaptive is not NULL and not adaptive_admits(c, c.live.active, now):
        stream_overflow(s, OVER_ADAPTIVE)
    elif c.admission is not NULL and not admission_admits(c, now, &s.proxy.rng):
        stream_overflow(s, OVER_ADMISSION)
    else:
        return False
    return True


cdef inline void _await_answer(stream_t *s) noexcept nogil:
    """The request is here: from now on the time runs that its answer may take."""
    cdef uint64_t until = s.deadline_ns
    if s.timeout_ns != 0 and (until == 0 or s.proxy.reactor.now_ns + s.timeout_ns < until):
        until = s.proxy.reactor.now_ns + s.timeout_ns
    if until != 0:
        _ring(s, until)


cdef void _await_anew(stream_t *s) noexcept nogil:
    _await_answer(s)


cdef inline void _ring(stream_t *s, uint64_t until_ns) noexcept nogil:
    s.until_ns = until_ns
    timer_arm(&s.proxy.reactor.wheel, &s.timer, until_ns)


cdef void _late(stream_t *s, const char *details) noexcept nogil:
    s.proxy.stats.globals[G_DEADLINE] += 1
    local_answer(s, 504, FLAG_UT, details, b"the time that the client gave for its request is over")


cdef inline void _await_attempt(stream_t *s) noexcept nogil:
    """The same for an attempt."""
    if s.retry is not NULL and s.retry.try_ns != 0:
        timer_arm(&s.proxy.reactor.wheel, &s.try_timer, s.proxy.reactor.now_ns + s.retry.try_ns)
    if s.hedge is not NULL:
        hedge_arm(s)


cdef void _enter_cluster(stream_t *s) noexcept nogil:
    cdef cluster_row_t *row = &s.proxy.stats.clusters[s.cluster.id]
    s.bits |= S_MEASURED
    s.cluster.live.active += 1
    row.active = s.cluster.live.active
    row.requests += 1
    breaker_tell(s.cluster.live, USED_REQUESTS, s.cluster.live.active)
    budget_earn(&s.cluster.live.retries, s.cluster.budget_share, s.proxy.reactor.now_ns)


cdef void _enter_another(stream_t *s) noexcept nogil:
    s.subset_how = 0
    if s.cluster.subsets is not NULL:
        subsetting_enter(s, NULL)
    _enter_cluster(s)


cdef void stream_overflow(stream_t *s, int over) noexcept nogil:
    cdef cluster_row_t *row = &s.proxy.stats.clusters[s.cluster.id]
    s.proxy.stats.globals[G_PENDING_TIMEOUT if over == OVER_TIME else G_OVERFLOW] += 1
    row.overflow += 1
    row.overflowed[over] += 1
    local_turn_away(s, FLAG_UO, breaker_details(over), local_overloaded(), breaker_why(over))


cdef void stream_try(stream_t *s) noexcept nogil:
    if s.injected != 0:
        injecting_answers(s)
        return
    if s.taps & TAP_RETRY and s.attempts != 0:
        if s.proxy.filters.retry(s) != FILTER_GO:
            return
    stream_connect(s)


cdef void stream_connect(stream_t *s) noexcept nogil:
    """Picks an endpoint and asks the pool. `s` may be gone afterwards."""
    cdef proxy_t *p = s.proxy
    cdef endpoint_t *e = NULL
    cdef endpoint_use_t *use
    cdef int flags = 0
    if s.cluster.is_watched and word_get(&s.cluster.health.epoch) != s.cluster.epoch:
        # Before a session or a policy chooses.
        ejection_sync(s.cluster, p.reactor.now_ns)
    if s.wanted is not NULL:
        e = request_key_home(s)
    if e is not NULL:
        pass
    elif s.cluster.is_picked_for and p.filters.pick(s, &e) != FILTER_GO:
        return
    if e is NULL and s.has_key:
        e = cluster_pick_key(s.cluster, s.key, p.reactor.now_ns, &p.rng, s.tried, s.n_tried)
    elif e is NULL:
        e = cluster_pick(s.cluster, p.reactor.now_ns, &p.rng, s.tried, s.n_tried)
    if e is NULL:
        local_no_endpoint(s)
        return
    if s.cluster.max_endpoint_requests != 0:
        e = room_find(s, e)
        if e is NULL:
            stream_overflow(s, OVER_ENDPOINT)
            return
    s.endpoint = e
    s.is_probe = e.live.is_claimed
    e.live.is_claimed = 0
    s.attempts += 1
    if s.account is not NULL:
        p.watch_ops.step(s, STEP_PICKED, NULL)
    e.live.active += 1
    use = endpoint_use(e.live)
    use.row.active = e.live.active
    breaker_tell_endpoint(e.live)
    use.row.total += 1
    s.wait.cluster = s.cluster
    s.wait.endpoint = e
    s.wait.ops = s.up_ops.user
    if s.retried_reused:
        flags = TAKE_FRESH
    elif not method_is_idempotent(s.method) or s.framing != FRAME_NONE:
        flags = TAKE_VERIFY
    if s.priority == PRIORITY_HIGH:
        flags |= TAKE_HIGH
    s.bits |= S_WAITING
    _await_attempt(s)
    pool_take(&p.pool, &s.wait, flags)


# --- the request on its way ------------------------------------------------------------------------

cdef inline bint _may_be_sent_again(const stream_t *s) noexcept nogil:
    """This connection may turn out to be one that closed while it was idle; or there is more to be tried."""
    if fallback_keeps_body(s) or (s.hedge is not NULL and hedge_may_repeat(s)):
        return True
    if not method_is_idempotent(s.method) and (s.retry is NULL or not s.retry.non_idempotent):
        return False
    return s.up.is_reused or s.taps & TAP_ERROR or (s.retry is not NULL and s.retry.attempts > 1)


cdef inline bint _is_lost(const stream_t *s) noexcept nogil:
    """Part of its body is nowhere any more."""
    return s.bits & (S_BODY_SENT | S_KEEP_REPLAY) == S_BODY_SENT


cdef void stream_send(stream_t *s) noexcept nogil:
    cdef bint full = False
    if s.bits & S_TCP:
        _tunnel(s)
        return
    if _is_lost(s):
        local_answer(s, 503, FLAG_UC, b"request_body_not_kept",
                      b"a filter made more of the request's body than is kept from one attempt for the next")
        return
    s.up_ops.head(s)
    if s.account is not NULL:
        s.proxy.watch_ops.step(s, STEP_SENT, NULL)
    if not s.bits & S_REQUEST_DONE:
        # How long the client takes is not the endpoint's fault: the time begins anew with the end of the request.
        timer_cancel(&s.try_timer)
    s.sent_ns = reactor_clock(s.proxy.reactor)
    s.is_unheard = s.cluster.ops.observe is not NULL or s.cluster.outlier.is_on
    s.proxy_ns += s.sent_ns - s.proxy.reactor.now_ns
    if s.framing == FRAME_NONE:
        return
    if not s.bits & S_BODY_SENT and _may_be_sent_again(s):
        s.bits |= S_KEEP_REPLAY
    if s.replay is not NULL and s.replay_len > 0:
        full = s.up_ops.body(s, s.replay.bytes, s.replay_len, s.replay)
    if s.bits & (S_UP_ENDED if s.taps & TAP_REQUEST_BODY else S_REQUEST_DONE):
        s.up_ops.end(s, NULL)
        return
    if not full:
        if s.taps & TAP_REQUEST_BODY:
            s.proxy.filters.request_room(s)
            return
        s.bits |= S_WANT_BODY
        s.down_ops.read(s)


cdef void stream_on_request_body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    s.received += n
    if s.taps & TAP_REQUEST_BODY:
        s.proxy.filters.request_body(s, p, n)
        return
    stream_put_request_body(s, p, n, blk)


cdef bint stream_put_request_body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    if s.copies is not NULL:
        copies_body(s, p, n)
    if s.up is NULL:
        _keep_for_next(s, p, n)
        return True
    if s.bits & S_KEEP_REPLAY:
        if s.replay_len + n <= REPLAY_MAX:
            if s.replay is NULL:
                s.replay = block_new(&s.proxy.reactor.blocks, BLOCK_LARGE)
            memcpy(s.replay.bytes + s.replay_len, p, n)
            s.replay_len += n
        else:
            _forget_replay(s)
    s.bits |= S_BODY_SENT
    if s.up_ops.body(s, p, n, blk):
        s.bits &= ~<uint32_t>S_WANT_BODY
        s.proxy.stats.globals[G_READ_PAUSED] += 1
        return True
    return False


cdef void _keep_for_next(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil:
    """A filter gives a piece that it has thought about, and the attempt that it was for has failed meanwhile. Nothing
    more comes until there is room at the next one."""
    cdef uint32_t size = s.replay_len + n
    cdef block_t *blk
    if _is_lost(s):
        return
    s.bits |= S_KEEP_REPLAY | S_BODY_SENT
    if n > PIECE_MOST or size > PIECE_MOST:
        _forget_replay(s)
        return
    if s.replay is NULL or size > s.replay.cap:
        blk = block_new(&s.proxy.reactor.blocks, BLOCK_LARGE if size <= BLOCK_LARGE else 2 * size)
        if s.replay is not NULL:
            memcpy(blk.bytes, s.replay.bytes, s.replay_len)
            block_put(s.replay)
        s.replay = blk
    memcpy(s.replay.bytes + s.replay_len, p, n)
    s.replay_len = size


cdef void _forget_replay(stream_t *s) noexcept nogil:
    s.bits &= ~<uint32_t>S_KEEP_REPLAY
    if s.replay is not NULL:
        block_put(s.replay)
        s.replay = NULL
        s.replay_len = 0


cdef void stream_on_request_end(stream_t *s, msg_t *trailers) noexcept nogil:
    if s.bits & S_REQUEST_DONE:
        return
    s.bits |= S_REQUEST_DONE
    _await_answer(s)
    if s.endpoint is not NULL:
        _await_attempt(s)
    if s.taps & TAP_REQUEST_BODY or (s.taps & TAP_REQUEST_TRAILERS and trailers is not NULL):
        s.proxy.filters.request_end(s, trailers)
        return
    stream_put_request_end(s, trailers)


cdef void stream_put_request_end(stream_t *s, msg_t *trailers) noexcept nogil:
    s.bits |= S_UP_ENDED
    if s.copies is not NULL:
        copies_send(s)
    if trailers is not NULL and trailers.n_fields != 0 and s.up is not NULL:
        # They are not kept: without them it would be another request.
        _forget_replay(s)
        s.bits |= S_BODY_SENT
    if s.up is not NULL:
        s.up_ops.end(s, trailers)


cdef void stream_on_upstream_drained(stream_t *s) noexcept nogil:
    if s.pace_up is not NULL and pacing_up_on_drained(s):
        return
    if s.taps & TAP_REQUEST_BODY and not s.bits & (S_UP_ENDED | S_TUNNEL):
        s.proxy.filters.request_room(s)
        return
    if s.bits & (S_REQUEST_DONE | S_WANT_BODY | S_TUNNEL):
        return
    s.bits |= S_WANT_BODY
    s.down_ops.read(s)


cdef void stream_on_client_drained(stream_t *s) noexcept nogil:
    if s.pace is not NULL and pacing_on_drained(s):
        return
    if s.taps & TAP_RESPONSE_BODY and not s.bits & S_TUNNEL:
        s.proxy.filters.answer_room(s)
        return
    if s.bits & S_UP_PAUSED and s.up is not NULL:
        s.bits &= ~<uint32_t>S_UP_PAUSED
        s.up_ops.read(s, True)


cdef void stream_on_client_gone(stream_t *s) noexcept nogil:
    s.proxy.stats.globals[G_DOWNSTREAM_RESET] += 1
    s.flags |= FLAG_DC
    if s.details is NULL:
        s.details = b"downstream_remote_disconnect"
    stream_end(s)


# --- the answer ------------------------------------------------------------------------------------

cdef void stream_on_interim(stream_t *s, msg_t *m) noexcept nogil:
    if not s.bits & S_HTTP10:
        s.down_ops.interim(s, m)


cdef void stream_put_answer_head(stream_t *s, msg_t *m) noexcept nogil:
    cdef head_t *h = NULL
    if s.route is NULL or m.status == 101:
        _put_answer_head(s, m)
        return
    if s.route.acts is not NULL and s.route.acts.response.n != 0:
        s.status = m.status
        h = route_acts_response(s, m)
    if s.route.cors != 0:
        h = cors_without(h, m)
    if h is NULL:
        _put_answer_head(s, m)
        return
    _put_answer_head(s, &h.m)
    head_free(h)


cdef void _put_answer_head(stream_t *s, msg_t *m) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef uint64_t took = s.first_ns - s.sent_ns if s.first_ns > s.sent_ns else 0
    s.status = m.status
    if s.replay is not NULL or s.bits & S_KEEP_REPLAY:
        _forget_replay(s)
    if s.snap.n_log_ops != 0:
        _keep_answer(s, m)
    if s.fallback is not NULL:
        fallback_on_head(s, m)
    s.bits |= S_ANSWER_HEAD
    if m.status == 101:
        p.stats.globals[G_UPGRADES] += 1
        s.down_ops.head(s, m, FRAME_NONE)
        _tunnel(s)
        return
    s.down_ops.head(s, m, m.framing)
    s.proxy_ns += reactor_clock(s.proxy.reactor) - p.reactor.now_ns
    times_observe(&p.stats.clusters[s.cluster.id], s.proxy_ns, took)


cdef void _keep_answer(stream_t *s, msg_t *m) noexcept nogil:
    if s.answer is not NULL:
        return
    s.answer = block_new(&s.proxy.reactor.blocks, BLOCK_SMALL if m.len <= BLOCK_SMALL else BLOCK_LARGE)
    if not m.bits & MSG_EDITED:
        memcpy(s.answer.bytes, m.base, m.len)
        s.answer_len = m.len
        return
    memcpy(s.answer.bytes, m.base, m.fields_off)
    s.answer_len = m.fields_off + h1_copy_fields(s.answer.bytes + m.fields_off, m)
    if s.answer_len + 2 <= s.answer.cap:
        memcpy(s.answer.bytes + s.answer_len, b"\r\n", 2)
        s.answer_len += 2


cdef int stream_on_answer_body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    if s.taps & TAP_RESPONSE_BODY:
        return s.proxy.filters.answer_body(s, p, n)
    stream_put_answer_body(s, p, n, blk)
    return FILTER_GO


cdef bint stream_put_answer_body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    s.sent += n
    if s.keeping is not NULL:
        keeping_body(s, p, n)
    if not s.down_ops.body(s, p, n, blk):
        return False
    if not s.bits & S_UP_PAUSED and s.up is not NULL:
        s.bits |= S_UP_PAUSED
        s.proxy.stats.globals[G_READ_PAUSED] += 1
        s.up_ops.read(s, False)
    return True


cdef void stream_on_answer_end(stream_t *s, msg_t *trailers) noexcept nogil:
    cdef up_t *up = s.up
    s.bits |= S_ANSWER_DONE
    s.up = NULL
    # A request that is not wholly sent leaves the connection in the middle of a message.
    if (not s.bits & S_REQUEST_DONE or s.bits & S_CLOSE_UP or
            (s.taps & (TAP_REQUEST_BODY | TAP_REQUEST_TRAILERS) and s.framing != FRAME_NONE and
             not s.bits & S_UP_ENDED) or (s.pace_up is not NULL and pacing_up_is_behind(s))):
        pool_drop(up)
    elif s.snap is not s.proxy.snap and up.live.refs <= up.live.use.held + 1:
        # Only this stream's old snapshot still names the endpoint.
        pool_drop(up)
    elif up.x.io.out_head is NULL:
        pool_give(up)
    elif up.x.io.flags & IO_FLUSHING:
        # The request is being copied from this stream's memory: should the kernel not have taken all of it, then
        # the connection is beyond repair.
        up.x.io.flags |= IO_FIRM
        pool_give(up)
    else:
        pool_drop(up)
    if s.taps & TAP_RESPONSE_BODY or (s.taps & TAP_RESPONSE_TRAILERS and trailers is not NULL):
        s.proxy.filters.answer_end(s, trailers)
        return
    _finish_down(s, trailers)


cdef void stream_put_answer_end(stream_t *s, msg_t *trailers) noexcept nogil:
    _finish_down(s, trailers)


cdef void stream_leave_upstream(stream_t *s) noexcept nogil:
    cdef up_t *up = s.up
    s.bits |= S_ANSWER_DONE
    if up is not NULL:
        s.up = NULL
        pool_drop(up)


cdef void _finish_down(stream_t *s, msg_t *trailers) noexcept nogil:
    if s.keeping is not NULL:
        keeping_end(s)
    s.down_ops.end(s, trailers)


# --- opaque bytes ----------------------------------------------------------------------------------

cdef void stream_on_tcp(stream_t *s) noexcept nogil:
    s.bits |= S_TCP | S_REQUEST_DONE
    if s.proxy.filters is not NULL and s.listener.chain >= 0:
        s.proxy.filters.request(s, NULL)
    s.cluster = &s.snap.clusters[s.listener.cluster]
    if _is_too_many(s):
        return
    if s.cluster.subsets is not NULL:
        subsetting_enter(s, NULL)
    _enter_cluster(s)
    if s.cluster.settings.n_keys != 0:
        request_key_find(s, NULL)
    # Protocols differ in who speaks first: nothing may be assumed of a connection used before.
    s.retried_reused = 1
    stream_try(s)


cdef void stream_on_call(stream_t *s) noexcept nogil:
    s.bits |= S_CALL | S_REQUEST_DONE | S_UP_ENDED
    if _is_too_many(s):
        return
    if s.cluster.subsets is not NULL:
        subsetting_enter(s, NULL)
    _enter_cluster(s)
    _await_answer(s)
    stream_try(s)


cdef void _tunnel(stream_t *s) noexcept nogil:
    cdef relay_t *r
    s.bits |= S_TUNNEL
    timer_unlink(&s.proxy.reactor.wheel, &s.timer)
    s.down_ops.tunnel(s)
    r = relay_new(s.proxy.reactor, &s.proxy.relays, &s.down.x.io, &s.down.inbox, &s.up.x.io, &s.up.inbox,
                  s.listener.tcp_idle_ns, s, _on_relay_report, _on_relay_end)
    s.relay = r
    if s.bits & S_TCP:
        r.on_heard = _on_relay_heard
        _series(s, SERIES_TCP, 0).count += 1


cdef void _on_relay_report(void *owner, relay_t *r) noexcept nogil:
    """Counts what has moved since the last time: a connection may stay for days."""
    cdef stream_t *s = <stream_t *>owner
    cdef cluster_row_t *row = &s.proxy.stats.clusters[s.cluster.id]
    cdef uint64_t received = r.lanes[0].moved - r.lanes[0].reported
    cdef uint64_t sent = r.lanes[1].moved - r.lanes[1].reported
    cdef series_row_t *series
    r.lanes[0].reported += received
    r.lanes[1].reported += sent
    s.received += received
    s.sent += sent
    row.bytes_sent += received
    row.bytes_received += sent
    if s.bits & S_TCP:
        series = _series(s, SERIES_TCP, 0)
        series.received += received
        series.sent += sent


cdef void _on_relay_heard(void *owner, relay_t *r) noexcept nogil:
    outcome_of_tunnel(<stream_t *>owner, r, RELAY_STANDS)


cdef void _on_relay_end(void *owner, relay_t *r, int how) noexcept nogil:
    cdef stream_t *s = <stream_t *>owner
    cdef bint has_heard = relay_has_heard(r)
    _on_relay_report(s, r)
    if r.on_heard is not NULL:
        outcome_of_tunnel(s, r, how)
    relay_free(r)
    s.relay = NULL
    s.bits |= S_ANSWER_DONE
    if how == RELAY_IDLE:
        s.flags |= FLAG_SI
        s.proxy.stats.globals[G_TCP_IDLE_CLOSED] += 1
        s.details = b"stream_idle_timeout"
    elif how == RELAY_BROKEN:
        # A reset is passed on: an orderly end would tell the other side that it has everything.
        io_reset(&s.up.x.io)
        s.flags |= FLAG_DC
        s.details = b"downstream_remote_disconnect"
    elif how == RELAY_BROKEN_UP:
        io_reset(&s.down.x.io)
        s.flags |= FLAG_UC
        if has_heard or not s.bits & S_TCP:
            s.details = b"upstream_reset_after_response_started{connection_termination}"
        else:
            s.details = b"upstream_reset_before_response_started{connection_termination}"
    s.bits |= S_CLOSE_DOWN
    s.down_ops.end(s, NULL)


# --- the end ------------------------------------------------------------------------------------------

cdef void _on_timer(timer_t *t, void *owner) noexcept nogil:
    cdef stream_t *s = <stream_t *>owner
    if s.is_asking:
        return      # who thinks about another answer has a time of its own, and no more than the client
    if s.until_ns == s.deadline_ns:
        _late(s, b"deadline_exceeded")
        return
    s.proxy.stats.globals[G_REQUEST_TIMEOUT] += 1
    if s.cluster is not NULL:
        s.proxy.stats.clusters[s.cluster.id].timeouts += 1
        if s.cluster.adaptive is not NULL and not s.bits & S_ANSWER_HEAD:
            adaptive_observe(s.cluster, s.cluster.live.active, s.proxy.reactor.now_ns - s.start_ns, True,
                             s.proxy.reactor.now_ns)
    local_answer(s, 504, FLAG_UT, s.timeout_by if s.timeout_by is not NULL else CALL_LATE,
                  b"the upstream did not answer within the request timeout")


cdef inline series_row_t *_series(stream_t *s, int protocol, uint32_t code) noexcept nogil:
    return series_row(s.proxy.stats, s.listener.id, s.cluster.id if s.cluster is not NULL else <uint32_t>0xFFFFFFFF,
                      protocol, code, s.flags)


cdef void stream_end(stream_t *s) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef uint64_t now = reactor_clock(s.proxy.reactor)
    cdef up_t *up = s.up
    cdef relay_t *r = <relay_t *>s.relay
    cdef series_row_t *row
    if s.bits & S_ENDING:
        return
    s.bits |= S_ENDING
    if s.run is not NULL:
        p.filters.complete(s)
    if s.hedge is not NULL:
        hedge_drop(s)
    if s.pace is not NULL:
        pacing_drop(s)
    if s.pace_up is not NULL:
        pacing_up_drop(s)
    if s.faults_held != 0:
        injecting_release(s)
    if r is not NULL:
        _on_relay_report(s, r)
        s.relay = NULL
        relay_free(r)
    if s.bits & S_WAITING:
        # Nobody reuses a connection of a TCP listener's.
        pool_cancel(&p.pool, &s.wait, not s.bits & S_TCP)
        if s.is_probe:
            outcome_of_silence(s, now)
    elif s.is_unheard:
        outcome_of_silence(s, now)
    if up is not NULL:
        s.up = NULL
        pool_drop(up)
    if s.timer.next is not NULL:
        timer_unlink(&p.reactor.wheel, &s.timer)
    if s.try_timer.next is not NULL:
        timer_unlink(&p.reactor.wheel, &s.try_timer)
    if s.bits & S_CALL:
        pass
    elif s.bits & S_TCP:
        row = _series(s, SERIES_TCP, 0)
        row.closed += 1
        row.count += not s.bits & S_TUNNEL
    else:
        series_observe(_series(s, SERIES_HTTP, s.status), now - s.start_ns, s.received, s.sent)
        route_count(s)
        if s.snap.metric_labels.n != 0:
            label_count_put(s, now)
    if s.snap.n_log_ops != 0 and not s.bits & S_CALL:
        access_log_put(s, now)
    if s.account is not NULL:
        p.watch_ops.ended(s, now)
    if s.run is not NULL:
        p.filters.release(s)
    stream_leave_endpoint(s)
    if s.bits & S_MEASURED:
        _leave_cluster(s, s.status, now)
    if s.copies is not NULL:
        copies_forget(s)
    if s.keeping is not NULL:
        keeping_drop(s)
    if s.fall_wire is not NULL:
        block_put(s.fall_wire)
    if s.origin_blk is not NULL:
        block_put(s.origin_blk)
    if s.wire_blk is not NULL:
        block_put(s.wire_blk)
    if s.replay is not NULL:
        block_put(s.replay)
    if s.answer is not NULL:
        block_put(s.answer)
    snapshot_put(s.snap)
    p.stats.globals[G_STREAMS] -= 1
    slab_give(&p.streams, s)


cdef void _leave_cluster(stream_t *s, int status, uint64_t now_ns) noexcept nogil:
    """`status`: what became of the request there."""
    cdef cluster_row_t *row = &s.proxy.stats.clusters[s.cluster.id]
    s.bits &= ~<uint32_t>S_MEASURED
    if s.first_ns == 0 and not s.bits & S_TCP:
        row.class_[0] += 1
    s.cluster.live.active -= 1
    row.active = s.cluster.live.active
    breaker_tell(s.cluster.live, USED_REQUESTS, s.cluster.live.active)
    if s.cluster.admission is not NULL and not s.bits & S_TCP and not s.flags & FLAG_DC:
        admission_count(s.cluster, status, now_ns)
    if s.is_retrying:
        s.is_retrying = 0
        s.cluster.live.retrying -= 1
        breaker_tell(s.cluster.live, USED_RETRIES, s.cluster.live.retrying)


cdef void _leave_endpoint(stream_t *s) noexcept nogil:
    stream_leave_endpoint(s)


fallback_head_module.fallback_head_room = stream_wire_room
fallback_module.fallback_up.go = stream_try
fallback_module.fallback_up.enter = _enter_another
fallback_module.fallback_up.leave = _leave_endpoint
fallback_module.fallback_up.wait = _await_anew
fallback_module.fallback_up.leave_cluster = _leave_cluster
fallback_module.fallback_up.refuses = _is_too_many
fallback_module.fallback_up.say = local_say
fallback_module.fallback_up.answer = local_give
