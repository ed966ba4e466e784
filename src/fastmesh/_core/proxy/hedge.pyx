"""See hedge.pxd."""
from fastmesh._core.http.msg cimport FRAME_NONE
from fastmesh._core.http.token cimport method_is_idempotent
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.io.timer cimport timer_arm, timer_cancel, timer_init, timer_unlink
from fastmesh._core.lb.cluster cimport cluster_pick, cluster_pick_key, cluster_t
from fastmesh._core.lb.ejection cimport ejection_release
from fastmesh._core.lb.endpoint cimport endpoint_use_t
from fastmesh._core.lb.use cimport endpoint_use
from fastmesh._core.mem.counter cimport G_UPSTREAM_PROTOCOL, G_UPSTREAM_RESET, cluster_row_t
from fastmesh._core.mem.raw cimport raw_zeroed
from fastmesh._core.mem.recent cimport recent_add
from fastmesh._core.mem.slab cimport slab_give, slab_take
from fastmesh._core.proxy.attempt_mark cimport attempt_mark_is_retry
from fastmesh._core.proxy.deadline cimport DEADLINE_NONE, deadline_left
from fastmesh._core.proxy.mux cimport (
    REPLAY_MAX, S_ANSWER_HEAD, S_CLOSE_UP, S_KEEP_REPLAY, S_LOCAL, S_REQUEST_DONE, S_UPGRADE, S_UP_ENDED, S_WAITING,
    S_WANT_BODY, STEP_ALONE, STEP_BESIDE, STEP_BESIDE_LOST, STEP_BESIDE_WON, TRIED_MAX, proxy_t)
from fastmesh._core.proxy.outcome cimport (
    outcome_of_answer, outcome_of_cancel, outcome_of_connect, outcome_of_fault)
from fastmesh._core.resil.breaker cimport (
    USED_REQUESTS, breaker_refuses_endpoint, breaker_refuses_request, breaker_tell, breaker_tell_endpoint)
from fastmesh._core.resil.budget cimport budget_earn, budget_spend
from fastmesh._core.resil.hedge_rule cimport hedge_delay, hedging_t
from fastmesh._core.resil.outlier cimport SEEN_GATEWAY, SEEN_TIMEOUT
from fastmesh._core.resil.pressure cimport PRIORITY_HIGH
from fastmesh._core.upstream.pool cimport (
    POOL_REFUSED, POOL_TIMEOUT, TAKE_VERIFY, pool_cancel, pool_drop, pool_hand_over, pool_take)

cdef enum:
    AVOIDED_MOST = 12         # TRIED_MAX and all that are under way


cdef inline hedge_t *_of(const stream_t *s) noexcept nogil:
    return <hedge_t *>s.hedge


cdef inline cluster_row_t *_row(const stream_t *s) noexcept nogil:
    return &s.proxy.stats.clusters[s.cluster.id]


cdef hedging_t *_seen(const stream_t *s) noexcept nogil:
    if s.cluster.live.hedging is NULL:
        # Once for each cluster and worker.
        s.cluster.live.hedging = raw_zeroed(sizeof(hedging_t))
    return <hedging_t *>s.cluster.live.hedging


# --- for who watches ----------------------------------------------------------------------------------------------

cdef inline void _tell(stream_t *s, int what, const endpoint_t *e, uint64_t began_ns, const char *why) noexcept nogil:
    """`began_ns`: from when on time is told; 0 = none is."""
    cdef uint64_t now
    if s.account is not NULL:
        now = reactor_clock(s.proxy.reactor)
        s.proxy.watch_ops.beside(s, what, e, now - began_ns if began_ns != 0 and now > began_ns else 0, why)


cdef const char *_why_never(stream_t *s) noexcept nogil:
    """What does not change any more: who asks for one endpoint and no other is not sent to another. NULL: it may."""
    if not hedge_may_repeat(s):
        return b"its method is none that may be done twice"
    if s.bits & S_UPGRADE:
        return b"it asks for an upgrade"
    if s.wanted is not NULL:
        return b"its session is at that endpoint"
    if s.cluster.is_picked_for:
        return b"a policy picks its endpoint"
    if attempt_mark_is_retry(s):
        return b"another proxy has sent it more than once already"
    return NULL


# --- the hedge of a stream ------------------------------------------------------------------------------------------

cdef void hedge_plan(stream_t *s, const hedge_rule_t *rule) noexcept nogil:
    cdef hedge_t *h = <hedge_t *>slab_take(&s.proxy.hedges)
    cdef int i
    s.hedge = h
    h.stream = s
    h.rule = rule
    h.began_ns = 0
    h.n = 0
    h.n_left = rule.attempts - 1
    h.is_looked_at = 0
    h.is_counted = 0
    h.own_is_side = 0
    timer_init(&h.timer, _on_due, h)
    for i in range(SIDES_MOST):
        h.sides[i].hedge = h
        h.sides[i].endpoint = NULL
        h.sides[i].up = NULL
        timer_init(&h.sides[i].timer, _on_late, &h.sides[i])


cdef bint hedge_is_told(const stream_t *s) noexcept nogil:
    return _of(s).rule.is_told


cdef bint hedge_may_repeat(const stream_t *s) noexcept nogil:
    return method_is_idempotent(s.method) or _of(s).rule.non_idempotent


cdef void hedge_arm(stream_t *s) noexcept nogil:
    cdef hedge_t *h = _of(s)
    cdef uint64_t now = s.proxy.reactor.now_ns
    cdef uint64_t delay
    cdef const char *why
    h.began_ns = now
    if not s.bits & S_REQUEST_DONE:
        return
    if not h.is_looked_at:
        h.is_looked_at = 1
        why = _why_never(s)
        if why is NULL:
            h.is_counted = 1
            budget_earn(&_seen(s).budget, h.rule.share, now)
        else:
            h.n_left = 0
            _tell(s, STEP_ALONE, NULL, 0, why)
    if h.n_left == 0 or h.rule.on_try_timeout:
        return
    delay = hedge_delay(h.rule, _seen(s), now)
    if delay != 0:
        timer_arm(&s.proxy.reactor.wheel, &h.timer, now + delay)
    else:
        _tell(s, STEP_ALONE, NULL, 0, b"too few times of the cluster are known for a percentile")


cdef inline void _forget_timer(stream_t *s, timer_t *t) noexcept nogil:
    if t.next is not NULL:
        timer_unlink(&s.proxy.reactor.wheel, t)


cdef void hedge_drop(stream_t *s) noexcept nogil:
    cdef hedge_t *h = _of(s)
    cdef int i
    s.hedge = NULL
    if h.own_is_side:
        _row(s).hedge_lost += 1
    for i in range(SIDES_MOST):
        if h.sides[i].endpoint is not NULL:
            _cancel(s, &h.sides[i])
        _forget_timer(s, &h.sides[i].timer)
    _forget_timer(s, &h.timer)
    slab_give(&s.proxy.hedges, h)


# --- one more attempt ---------------------------------------------------------------------------------------------

cdef bint _is_whole(const stream_t *s) noexcept nogil:
    """All of the request is here, and kept."""
    if not s.bits & S_REQUEST_DONE:
        return False
    return s.framing == FRAME_NONE or (s.bits & S_UP_ENDED and s.bits & S_KEEP_REPLAY and s.replay_len <= REPLAY_MAX)


cdef bint _still_waits(const stream_t *s) noexcept nogil:
    """For an answer of which nothing is here."""
    return (s.endpoint is not NULL and not s.bits & (S_ANSWER_HEAD | S_LOCAL) and
            (s.up is NULL or (not s.up.has_head and s.up.interims == 0)))


cdef endpoint_t *_pick(stream_t *s) noexcept nogil:
    """An endpoint that is well, and that this request was not sent to. NULL: there is none."""
    cdef hedge_t *h = _of(s)
    cdef endpoint_t *avoided[AVOIDED_MOST]
    cdef endpoint_t *e
    cdef uint64_t now = s.proxy.reactor.now_ns
    cdef uint32_t n = 0
    cdef uint32_t i
    for i in range(s.n_tried):
        avoided[n] = s.tried[i]
        n += 1
    avoided[n] = s.endpoint
    n += 1
    for i in range(SIDES_MOST):
        if h.sides[i].endpoint is not NULL:
            avoided[n] = h.sides[i].endpoint
            n += 1
    if s.has_key:
        e = cluster_pick_key(s.cluster, s.key, now, &s.proxy.rng, avoided, n)
    else:
        e = cluster_pick(s.cluster, now, &s.proxy.rng, avoided, n)
    if e is NULL:
        return NULL
    if e.live.is_claimed:
        # A probe is better made by a request that has nothing else to wait for.
        e.live.is_claimed = 0
        ejection_release(s.cluster, e)
        return NULL
    return e if e.live.avoid_until_ns <= now else NULL


cdef bint _has_room(stream_t *s, const endpoint_t *e) noexcept nogil:
    """Whether no limit of the cluster is reached: it never stands in a line, where others would wait behind it."""
    cdef cluster_t *c = s.cluster
    cdef const endpoint_use_t *use = e.live.use
    if breaker_refuses_request(c, s.priority == PRIORITY_HIGH, s.proxy.reactor.now_ns):
        return False
    if breaker_refuses_endpoint(c, e.live):
        return False
    if use is not NULL and use.idle is not NULL:
        return True
    return c.live.pending < c.max_pending and (c.max_connections == 0 or use is NULL or
                                               use.connections < c.max_connections)


cdef bint _begin(stream_t *s) noexcept nogil:
    """False: there is no further attempt now. `s` is there in any case."""
    cdef hedge_t *h = _of(s)
    cdef proxy_t *p = s.proxy
    cdef cluster_row_t *row = _row(s)
    cdef endpoint_t *e
    cdef endpoint_use_t *use
    cdef side_t *k = &h.sides[0]
    if h.n_left == 0:
        return False
    if not _is_whole(s):
        _tell(s, STEP_ALONE, NULL, h.began_ns, b"its body is still coming, or larger than what is kept")
        return False
    if not _still_waits(s):
        _tell(s, STEP_ALONE, NULL, h.began_ns, b"its answer has begun")
        return False
    e = _pick(s)
    if e is NULL:
        _tell(s, STEP_ALONE, NULL, h.began_ns, b"there is no other endpoint that is well")
        return False
    if not _has_room(s, e):
        row.hedge_overflow += 1
        _tell(s, STEP_ALONE, e, h.began_ns, b"a limit of the cluster is reached")
        return False
    if not budget_spend(&_seen(s).budget, h.rule.rate, p.reactor.now_ns):
        row.hedge_overflow += 1
        _tell(s, STEP_ALONE, e, h.began_ns, b"the budget for such attempts is spent")
        return False
    _tell(s, STEP_BESIDE, e, h.began_ns, b"per_try_timeout" if h.rule.on_try_timeout else b"delay")
    while k.endpoint is not NULL:
        k += 1
    h.n += 1
    h.n_left -= 1
    s.attempts += 1
    s.hedges += 1
    row.hedges += 1
    k.endpoint = e
    k.up = NULL
    k.began_ns = p.reactor.now_ns
    k.sent_ns = 0
    k.number = s.attempts - s.retried_reused
    k.is_unheard = 0
    k.is_probe = 0
    e.live.active += 1
    use = endpoint_use(e.live)
    use.row.active = e.live.active
    breaker_tell_endpoint(e.live)
    use.row.total += 1
    s.cluster.live.active += 1
    row.active = s.cluster.live.active
    breaker_tell(s.cluster.live, USED_REQUESTS, s.cluster.live.active)
    # It may turn out to be the one that reached somebody.
    s.was_sent = 1
    k.wait.cluster = s.cluster
    k.wait.endpoint = e
    k.wait.ops = s.up_ops.beside
    k.is_waiting = 1
    if s.retry is not NULL and s.retry.try_ns != 0 and not h.rule.on_try_timeout:
        timer_arm(&p.reactor.wheel, &k.timer, k.began_ns + s.retry.try_ns)
    pool_take(&p.pool, &k.wait, TAKE_VERIFY)
    if k.endpoint is not NULL and k.is_waiting and k.wait.is_queued:
        # The idle connection that there was turned out to be closed.
        _lost(s, k, b"its connection was closed while it was idle")
    return True


cdef void _on_due(timer_t *t, void *owner) noexcept nogil:
    cdef hedge_t *h = <hedge_t *>owner
    cdef stream_t *s = h.stream
    cdef uint64_t delay
    if _begin(s) and h.n_left != 0:
        delay = hedge_delay(h.rule, _seen(s), s.proxy.reactor.now_ns)
        if delay != 0:
            timer_arm(&s.proxy.reactor.wheel, &h.timer, s.proxy.reactor.now_ns + delay)


# --- the end of one that was begun beside -------------------------------------------------------------------------

cdef void _leave(stream_t *s, side_t *k) noexcept nogil:
    """Nothing hangs on it any more."""
    cdef endpoint_t *e = k.endpoint
    cdef up_t *up = k.up
    k.endpoint = NULL
    k.up = NULL
    timer_cancel(&k.timer)
    k.hedge.n -= 1
    e.live.active -= 1
    e.live.use.row.active = e.live.active
    breaker_tell_endpoint(e.live)
    s.cluster.live.active -= 1
    _row(s).active = s.cluster.live.active
    breaker_tell(s.cluster.live, USED_REQUESTS, s.cluster.live.active)
    if k.is_waiting:
        k.is_waiting = 0
        pool_cancel(&s.proxy.pool, &k.wait, True)
    elif up is not NULL:
        # With HTTP/1 there is no other way to say that nobody waits for an answer any more.
        pool_drop(up)


cdef inline void _swap(stream_t *s, side_t *k) noexcept nogil:
    """What an outcome is told of changes places, for as long as it is told."""
    cdef endpoint_t *endpoint = s.endpoint
    cdef uint64_t sent_ns = s.sent_ns
    cdef uint8_t is_unheard = s.is_unheard
    cdef uint8_t is_probe = s.is_probe
    s.endpoint = k.endpoint
    s.sent_ns = k.sent_ns
    s.is_unheard = k.is_unheard
    s.is_probe = k.is_probe
    k.endpoint = endpoint
    k.sent_ns = sent_ns
    k.is_unheard = is_unheard
    k.is_probe = is_probe


cdef void _cancel(stream_t *s, side_t *k) noexcept nogil:
    """Nobody waits for it any more; how long it was waited for is known."""
    cdef uint64_t now = reactor_clock(s.proxy.reactor)
    if k.is_unheard:
        _swap(s, k)
        outcome_of_cancel(s, now)
        _swap(s, k)
    recent_add(&_seen(s).times, now - k.began_ns, now)
    _row(s).hedge_lost += 1
    _tell(s, STEP_BESIDE_LOST, k.endpoint, k.began_ns, b"nobody waits for it any more")
    _leave(s, k)


cdef void _lost(stream_t *s, side_t *k, const char *why) noexcept nogil:
    """It failed: its endpoint is not asked again for this request."""
    _row(s).hedge_lost += 1
    _tell(s, STEP_BESIDE_LOST, k.endpoint, k.began_ns, why)
    if s.n_tried < TRIED_MAX:
        s.tried[s.n_tried] = k.endpoint
        s.n_tried += 1
    _leave(s, k)


cdef void hedge_on_pool(pool_wait_t *w, up_t *up, int result, int err) noexcept nogil:
    cdef side_t *k = <side_t *>w
    cdef stream_t *s = k.hedge.stream
    k.is_waiting = 0
    if up is NULL:
        if result == POOL_REFUSED or result == POOL_TIMEOUT:
            _swap(s, k)
            outcome_of_connect(s)
            _swap(s, k)
        _lost(s, k, b"there was no connection to be had")
        return
    k.up = up
    s.up_ops.again(s, up, k.number)
    k.sent_ns = reactor_clock(s.proxy.reactor)
    k.is_unheard = s.cluster.ops.observe is not NULL or s.cluster.outlier.is_on


cdef void _failed(stream_t *s, side_t *k, int seen, const char *why) noexcept nogil:
    if k.is_unheard:
        _swap(s, k)
        outcome_of_fault(s, seen)
        _swap(s, k)
    k.endpoint.live.use.row.failures += 1
    _lost(s, k, why)


cdef void hedge_on_fault(side_t *k, bint is_protocol, bint is_stale) noexcept nogil:
    cdef stream_t *s = k.hedge.stream
    if is_stale:
        # The endpoint did nothing wrong.
        _lost(s, k, b"its connection was closed while it was idle")
        return
    s.proxy.stats.globals[G_UPSTREAM_PROTOCOL if is_protocol else G_UPSTREAM_RESET] += 1
    _row(s).resets += 1
    _failed(s, k, SEEN_GATEWAY, b"what came was no HTTP" if is_protocol else b"the upstream closed the connection")


cdef void _on_late(timer_t *t, void *owner) noexcept nogil:
    cdef side_t *k = <side_t *>owner
    cdef stream_t *s = k.hedge.stream
    _row(s).try_timeouts += 1
    _failed(s, k, SEEN_TIMEOUT, b"it took longer than per_try_timeout")


cdef void hedge_on_bad_answer(side_t *k, const msg_t *m) noexcept nogil:
    cdef stream_t *s = k.hedge.stream
    cdef uint64_t first_ns = s.first_ns
    s.first_ns = s.proxy.reactor.now_ns
    _row(s).class_[m.status // 100 if m.status < 600 else 0] += 1
    if m.status >= 500:
        k.endpoint.live.use.row.failures += 1
    if k.is_unheard:
        _swap(s, k)
        outcome_of_answer(s, m, s.first_ns - s.sent_ns if s.first_ns > s.sent_ns else 0)
        _swap(s, k)
    s.first_ns = first_ns
    recent_add(&_seen(s).times, s.proxy.reactor.now_ns - k.began_ns, s.proxy.reactor.now_ns)
    _lost(s, k, b"its answer is an error")


# --- changing places ------------------------------------------------------------------------------------------------

cdef void _become_own(stream_t *s, side_t *k) noexcept nogil:
    """The stream has no attempt of its own; this is it from now on."""
    cdef hedge_t *h = k.hedge
    timer_cancel(&k.timer)
    h.n -= 1
    h.own_is_side = 1
    h.began_ns = k.began_ns
    s.cluster.live.active -= 1
    _row(s).active = s.cluster.live.active
    breaker_tell(s.cluster.live, USED_REQUESTS, s.cluster.live.active)
    s.endpoint = k.endpoint
    s.up = k.up
    s.sent_ns = k.sent_ns
    s.is_unheard = k.is_unheard
    s.is_probe = k.is_probe
    s.bits &= ~<uint32_t>(S_CLOSE_UP | S_WANT_BODY)
    s.wait.cluster = s.cluster
    s.wait.endpoint = k.endpoint
    s.wait.ops = s.up_ops.user
    if k.is_waiting:
        k.is_waiting = 0
        s.bits |= S_WAITING
        pool_hand_over(&k.wait, &s.wait)
    else:
        s.up.user = &s.wait
        s.up.ops = s.up_ops.user
    k.endpoint = NULL
    k.up = NULL


cdef bint hedge_has_side(const stream_t *s) noexcept nogil:
    return _of(s).n != 0


cdef bint hedge_goes_on(stream_t *s) noexcept nogil:
    cdef hedge_t *h = _of(s)
    cdef side_t *first = NULL
    cdef uint64_t until
    cdef int i
    if h.own_is_side:
        h.own_is_side = 0
        _row(s).hedge_lost += 1
    for i in range(SIDES_MOST):
        if h.sides[i].endpoint is not NULL and (first is NULL or h.sides[i].began_ns < first.began_ns):
            first = &h.sides[i]
    if first is NULL:
        return False
    # Its endpoint was set aside.
    _tell(s, STEP_BESIDE_LOST, s.tried[s.n_tried - 1] if s.n_tried != 0 else NULL, h.began_ns,
          b"it failed, and another one goes on")
    _become_own(s, first)
    if s.retry is not NULL and s.retry.try_ns != 0:
        until = first.began_ns + s.retry.try_ns
        timer_arm(&s.proxy.reactor.wheel, &s.try_timer, until if until > s.proxy.reactor.now_ns else
                  s.proxy.reactor.now_ns)
    return True


cdef bint hedge_keeps_waiting(stream_t *s) noexcept nogil:
    cdef hedge_t *h = _of(s)
    if not h.rule.on_try_timeout:
        return False
    if _begin(s):
        _row(s).try_timeouts += 1
        timer_arm(&s.proxy.reactor.wheel, &s.try_timer, s.proxy.reactor.now_ns + s.retry.try_ns)
        return True
    # Those under way have as long as the request has. One without a limit would wait for ever for who stands still.
    return h.n != 0 and deadline_left(s) != DEADLINE_NONE


cdef void hedge_settle(stream_t *s) noexcept nogil:
    cdef hedge_t *h = _of(s)
    cdef uint64_t now = s.proxy.reactor.now_ns
    if h.own_is_side:
        h.own_is_side = 0
        _row(s).hedge_won += 1
        _tell(s, STEP_BESIDE_WON, s.endpoint, h.began_ns, NULL)
    if h.is_counted:
        recent_add(&_seen(s).times, now - h.began_ns, now)
    hedge_drop(s)


cdef void hedge_take_over(side_t *k) noexcept nogil:
    cdef hedge_t *h = k.hedge
    cdef stream_t *s = h.stream
    cdef uint64_t now = reactor_clock(s.proxy.reactor)
    cdef up_t *up = s.up
    timer_cancel(&s.try_timer)
    if h.own_is_side:
        _row(s).hedge_lost += 1
    recent_add(&_seen(s).times, now - h.began_ns, now)
    _tell(s, STEP_BESIDE_LOST, s.endpoint, h.began_ns, b"another one has the answer")
    if s.bits & S_WAITING:
        s.bits &= ~<uint32_t>S_WAITING
        pool_cancel(&s.proxy.pool, &s.wait, True)
    elif s.is_unheard:
        outcome_of_cancel(s, now)
    if s.is_probe:
        s.is_probe = 0
        ejection_release(s.cluster, s.endpoint)
    s.endpoint.live.active -= 1
    s.endpoint.live.use.row.active = s.endpoint.live.active
    breaker_tell_endpoint(s.endpoint.live)
    s.endpoint = NULL
    s.up = NULL
    _become_own(s, k)
    if up is not NULL:
        pool_drop(up)
