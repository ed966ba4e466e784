"""See attempt.pxd."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport FRAME_CLOSE, MSG_CLOSE, MSG_KEEPALIVE, msg_value
from fastmesh._core.http.retry_after cimport retry_after_of
from fastmesh._core.http.token cimport method_is_idempotent
from fastmesh._core.io.reactor cimport IO_FLUSHING
from fastmesh._core.io.timer cimport timer_arm, timer_cancel
from fastmesh._core.lb.cluster cimport endpoint_is_usable
from fastmesh._core.lb.endpoint cimport endpoint_use_t
from fastmesh._core.mem.counter cimport (
    FLAG_OM, FLAG_UC, FLAG_UF, FLAG_UO, FLAG_UPE, FLAG_URX, FLAG_UT, G_RETRY_CONNECT, G_RETRY_REUSED,
    G_UPSTREAM_PROTOCOL, G_UPSTREAM_RESET, cluster_row_t)
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.attempt_mark cimport attempt_mark_is_retry
from fastmesh._core.proxy.deadline cimport deadline_left
from fastmesh._core.proxy.fallback cimport fallback_replaces
from fastmesh._core.proxy.hedge cimport hedge_goes_on, hedge_has_side, hedge_keeps_waiting, hedge_settle
from fastmesh._core.proxy.local cimport local_answer
from fastmesh._core.proxy.mux cimport (
    FILTER_AGAIN, FILTER_COLLECT, FILTER_DEFAULT, FILTER_GO, FILTER_HELD, FILTER_OVER, S_ANSWER_HEAD, S_BODY_SENT,
    S_CLOSE_UP, S_KEEP_REPLAY, S_LOCAL, S_PAUSED, S_WAITING, S_WANT_BODY, STEP_AGAIN, STEP_ANSWERED, STEP_FAILED,
    TAP_ERROR, TAP_RESPONSE, TAP_RESPONSE_BODY, TRIED_MAX, proxy_t)
from fastmesh._core.proxy.outcome cimport outcome_of_answer, outcome_of_connect, outcome_of_fault
from fastmesh._core.proxy.stream cimport (
    stream_leave_endpoint, stream_note_sent, stream_overflow, stream_put_answer_head, stream_send, stream_try)
from fastmesh._core.resil.adaptive cimport adaptive_observe
from fastmesh._core.resil.breaker cimport (
    OVER_CONNECTIONS, OVER_PENDING, OVER_RETRIES, OVER_TIME, USED_RETRIES, breaker_refuses_retry, breaker_tell)
from fastmesh._core.resil.budget cimport budget_spend
from fastmesh._core.resil.outlier cimport SEEN_GATEWAY, SEEN_TIMEOUT
from fastmesh._core.resil.retry cimport (
    FAULT_CONNECT, FAULT_CONNECT_TIMEOUT, FAULT_PROTOCOL, FAULT_RESET, FAULT_STATUS, FAULT_TIMEOUT, RETRY_GRPC_COUNT,
    retry_names, retry_pause, retry_spread, retry_t)
from fastmesh._core.upstream.pool cimport (
    POOL_CROWDED, POOL_FULL, POOL_LATE, POOL_REFUSED, POOL_TIMEOUT, pool_cancel, pool_drop)

cdef enum:
    SECOND = 1000000000
    REUSE_RETRIES = 3         # stale connections a request may meet before that counts as a failure

    # stream_t.fault_default
    NO = 0
    AGAIN = 1
    USED_UP = 2               # there would be another attempt, had there not been so many
    TOO_LATE = 3              # … had the answer not asked to be left alone for too long
    AT_ONCE = 4               # another endpoint, after a failed connect: free, and without a pause

    # cluster_row_t.retried
    RETRIED_CONNECT = 0
    RETRIED_RESET = 1
    RETRIED_PROTOCOL = 2
    RETRIED_STATUS = 3
    RETRIED_TIMEOUT = 4


# --- what is decided ------------------------------------------------------------------------------------------------

cdef inline uint32_t _attempts(const stream_t *s) noexcept nogil:
    # A connection that had been closed while it was idle was none.
    # Nor is one beside another: those have limits of their own.
    return <uint32_t>(s.attempts - s.retried_reused - s.hedges)


cdef uint64_t _left(const stream_t *s) noexcept nogil:
    """Nanoseconds that the client can be kept waiting."""
    cdef uint64_t left = deadline_left(s)
    cdef uint64_t idle = s.route.stream_idle_ns if s.route is not NULL else s.listener.stream_idle_ns
    return idle if idle != 0 and idle < left else left


cdef inline bint _is_connect(int fault) noexcept nogil:
    return fault == FAULT_CONNECT or fault == FAULT_CONNECT_TIMEOUT


cdef bint _may_send_again(const stream_t *s, const up_t *up) noexcept nogil:
    """Not a byte of it left this process, or the method is one that may be repeated (RFC 9110 section 9.2.2), or it was
    said that this one may."""
    cdef bint unsent = up.x.io.tx_total == up.tx_mark and not up.x.io.flags & IO_FLUSHING
    if s.bits & S_BODY_SENT and not s.bits & S_KEEP_REPLAY:
        return False
    return unsent or method_is_idempotent(s.method) or (s.retry is not NULL and s.retry.non_idempotent)


cdef inline bint _is_named(const stream_t *s, int fault) noexcept nogil:
    """The request's rule is about such a failure."""
    return s.retry is not NULL and retry_names(s.retry, fault, 0)


cdef bint _names_grpc(const retry_t *r, const msg_t *m) noexcept nogil:
    """A head that tells how a call has ended is all there is of the answer (gRPC over HTTP/2, "Trailers-Only")."""
    cdef uint32_t status = 0
    cdef span_t said
    cdef int at = head_find(m, <const uint8_t *>b"grpc-status", 11, 0)
    cdef uint32_t i
    if at < 0:
        return False
    said = msg_value(m, at)
    if not 1 <= said.len <= 2:
        return False
    for i in range(said.len):
        if not c'0' <= said.ptr[i] <= c'9':
            return False
        status = status * 10 + said.ptr[i] - 48
    return status < RETRY_GRPC_COUNT and r.grpc >> status & 1


cdef bint _names_answer(const stream_t *s, const msg_t *m) noexcept nogil:
    """The same of an answer."""
    cdef const retry_t *r = s.retry
    cdef uint32_t i
    if r is NULL:
        return False
    if retry_names(r, FAULT_STATUS, m.status):
        return True
    if r.grpc != 0 and m.status == 200 and _names_grpc(r, m):
        return True
    for i in range(r.n_headers):
        if m.status >= 200 and head_find(m, r.headers[i].ptr, r.headers[i].len, 0) >= 0:
            return True
    return False


cdef bint attempt_is_good(const stream_t *s, const msg_t *m) noexcept nogil:
    return m.status < 500 and not _names_answer(s, m)


cdef uint8_t _by_itself(stream_t *s, int fault, bint is_named, bint may_repeat) noexcept nogil:
    """What the proxy does if no filter decides. The endpoint that has failed is in `tried` already, unless it has
    answered."""
    cdef const retry_t *r = s.retry
    if not may_repeat:
        return NO
    if _is_connect(fault) and (r is NULL or r.is_route) and _has_another(s):
        return AT_ONCE
    if r is NULL:
        return AGAIN if fault == FAULT_RESET and _has_another(s) and not attempt_mark_is_retry(s) else NO
    if not is_named or r.attempts < 2 or (r.is_route and not r.of_retries and attempt_mark_is_retry(s)):
        return NO
    return AGAIN if _attempts(s) < r.attempts else USED_UP


cdef inline bint _has_another(const stream_t *s) noexcept nogil:
    """An endpoint that the settings of the cluster give besides those that were tried."""
    return s.n_tried < s.cluster.max_connect_attempts and s.n_tried < TRIED_MAX and s.n_tried < s.cluster.n


cdef inline void _begin_retrying(stream_t *s) noexcept nogil:
    """It counts among the cluster's retries until its end."""
    if s.is_retrying:
        return
    s.is_retrying = 1
    s.cluster.live.retrying += 1
    breaker_tell(s.cluster.live, USED_RETRIES, s.cluster.live.retrying)


cdef bint attempt_is_granted(stream_t *s, int how) noexcept nogil:
    cdef cluster_row_t *row = &s.proxy.stats.clusters[s.cluster.id]
    cdef bint wants = how == FILTER_AGAIN
    if how == FILTER_DEFAULT:
        wants = s.fault_default == AGAIN or s.fault_default == AT_ONCE
    if wants and s.fault_may_repeat:
        if s.fault_default == AT_ONCE:
            return True
        if not s.is_retrying and breaker_refuses_retry(s.cluster, s.proxy.reactor.now_ns):
            row.overflowed[OVER_RETRIES] += 1
        elif budget_spend(&s.cluster.live.retries, s.cluster.budget_rate, s.proxy.reactor.now_ns):
            _begin_retrying(s)
            return True
        row.retry_overflow += 1
        s.flags |= FLAG_UO
    elif how == FILTER_DEFAULT and s.fault_default == USED_UP:
        row.retry_limit_exceeded += 1
        s.flags |= FLAG_URX
    elif how == FILTER_DEFAULT and s.fault_default == TOO_LATE:
        row.retry_too_late += 1
    return False


# --- from one attempt to the next -------------------------------------------------------------------------------------

cdef void _set_aside(stream_t *s) noexcept nogil:
    """The endpoint has failed: it is not picked again while there is another, and nothing hangs on it any more."""
    cdef up_t *up = s.up
    timer_cancel(&s.try_timer)
    if s.n_tried < TRIED_MAX:
        s.tried[s.n_tried] = s.endpoint
        s.n_tried += 1
    _let_go(s, up)


cdef void _let_go(stream_t *s, up_t *up) noexcept nogil:
    stream_leave_endpoint(s)
    s.endpoint = NULL
    s.is_unheard = 0
    if up is not NULL:
        s.up = NULL
        s.bits &= ~<uint32_t>(S_WANT_BODY | S_CLOSE_UP)
        stream_note_sent(s, up)
        pool_drop(up)


cdef void _begin_anew(stream_t *s) noexcept nogil:
    """All endpoints were tried: better one of them once more than none. Not the one that has just failed, if there is
    another that is not avoided."""
    cdef uint32_t n = s.n_tried
    cdef uint32_t i
    s.n_tried = 0
    if n == 0:
        return
    s.tried[0] = s.tried[n - 1]
    for i in range(s.cluster.n):
        if endpoint_is_usable(&s.cluster.endpoints[i], s.proxy.reactor.now_ns, s.tried, 1):
            s.n_tried = 1
            return


cdef uint64_t _pause(stream_t *s) noexcept nogil:
    """Nanoseconds before the next attempt."""
    cdef proxy_t *p = s.proxy
    cdef uint64_t now = p.reactor.now_ns
    cdef uint64_t wait, left
    if s.retry is NULL or s.fault_default == AT_ONCE:
        return 0
    if s.fault_until_ns <= now:
        return retry_pause(s.retry, _attempts(s), &p.rng)
    wait = s.fault_until_ns - now
    p.stats.clusters[s.cluster.id].retry_waits += 1
    left = _left(s)
    return wait + retry_spread(wait, left - wait if left > wait else 0, &p.rng)


cdef inline int _reason(const stream_t *s) noexcept nogil:
    if _is_connect(s.fault):
        return RETRIED_CONNECT
    if s.fault == FAULT_RESET:
        return RETRIED_RESET
    if s.fault == FAULT_PROTOCOL:
        return RETRIED_PROTOCOL
    return RETRIED_STATUS if s.fault == FAULT_STATUS else RETRIED_TIMEOUT


cdef void attempt_again(stream_t *s) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef uint64_t pause
    p.stats.clusters[s.cluster.id].retries += 1
    p.stats.clusters[s.cluster.id].retried[_reason(s)] += 1
    if s.endpoint is not NULL:
        _set_aside(s)
    s.up_ended = 0
    s.status = 0
    if s.n_tried >= s.cluster.n or s.n_tried >= TRIED_MAX:
        _begin_anew(s)
    pause = _pause(s)
    if s.account is not NULL:
        p.watch_ops.step(s, STEP_AGAIN, NULL)
    if pause == 0:
        stream_try(s)
        return
    s.bits |= S_PAUSED
    timer_arm(&p.reactor.wheel, &s.try_timer, p.reactor.now_ns + pause)


cdef void _fresh(stream_t *s, up_t *up) noexcept nogil:
    """The same once more, on another connection: the endpoint did nothing wrong."""
    s.proxy.stats.globals[G_RETRY_REUSED] += 1
    s.proxy.stats.clusters[s.cluster.id].retries += 1
    s.retried_reused += 1
    timer_cancel(&s.try_timer)
    _let_go(s, up)
    stream_try(s)


# --- an attempt that brought no answer --------------------------------------------------------------------------------

cdef void _failed(stream_t *s, int fault, bint may_repeat, uint16_t status, uint32_t flags, const char *details,
                  const char *why) noexcept nogil:
    """Nothing hangs on it any more; it is decided what becomes of the request."""
    cdef int how = FILTER_DEFAULT
    if s.hedge is not NULL and hedge_goes_on(s):
        return
    s.fault = <uint8_t>fault
    s.fault_default = _by_itself(s, fault, _is_named(s, fault), may_repeat)
    s.fault_may_repeat = may_repeat and _attempts(s) < TRIED_MAX
    s.fault_until_ns = 0
    s.fault_status = status
    s.fault_flags = flags
    s.fault_details = details
    s.fault_why = why
    if s.account is not NULL:
        s.proxy.watch_ops.step(s, STEP_FAILED, why)
    if s.taps & TAP_ERROR:
        how = s.proxy.filters.failed(s, fault)
        if how == FILTER_HELD or how == FILTER_OVER:
            return
    attempt_after_fault(s, how)


cdef void attempt_after_fault(stream_t *s, int how) noexcept nogil:
    if not attempt_is_granted(s, how):
        local_answer(s, s.fault_status, s.fault_flags, s.fault_details, s.fault_why)
        return
    if _is_connect(s.fault):
        s.proxy.stats.globals[G_RETRY_CONNECT] += 1
    attempt_again(s)


cdef void attempt_on_pool(pool_wait_t *w, up_t *up, int result, int err) noexcept nogil:
    cdef stream_t *s = <stream_t *>w
    cdef uint32_t flags = FLAG_UF
    s.bits &= ~<uint32_t>S_WAITING
    if up is not NULL:
        s.up = up
        stream_send(s)
        return
    if result == POOL_REFUSED or result == POOL_TIMEOUT:
        outcome_of_connect(s)
        _set_aside(s)
        if s.retry is NULL or (s.retry.is_route and not _is_named(s, FAULT_CONNECT)):
            # Whatever there was to be tried by the settings of the cluster.
            flags |= FLAG_URX
        if result == POOL_TIMEOUT:
            _failed(s, FAULT_CONNECT_TIMEOUT, True, 504, flags,
                    b"upstream_reset_before_response_started{connection_timeout}",
                    b"connecting to the upstream took longer than connect_timeout")
        else:
            _failed(s, FAULT_CONNECT, True, 503, flags,
                    b"upstream_reset_before_response_started{connection_failure}",
                    b"the upstream refused the connection")
        return
    _let_go(s, NULL)
    if s.hedge is not NULL and hedge_goes_on(s):
        return
    if result == POOL_FULL:
        stream_overflow(s, OVER_PENDING)
    elif result == POOL_CROWDED:
        stream_overflow(s, OVER_CONNECTIONS)
    elif result == POOL_LATE:
        stream_overflow(s, OVER_TIME)
    else:
        local_answer(s, 503, FLAG_UF | FLAG_OM, b"out_of_descriptors",
                      b"this proxy has no descriptor left for a connection")


cdef bint attempt_on_stale(stream_t *s) noexcept nogil:
    cdef up_t *up = s.up
    if s.retried_reused >= REUSE_RETRIES or not _may_send_again(s, up):
        return False
    _fresh(s, up)
    return True


cdef void attempt_on_fault(stream_t *s, bint is_protocol, const char *why) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef up_t *up = s.up
    cdef bint may_repeat = not up.has_head and up.interims == 0 and _may_send_again(s, up)
    if (may_repeat and not is_protocol and up.inbox.len == 0 and up.is_reused and
            s.retried_reused < REUSE_RETRIES):
        # It closed an idle connection while the request was on its way.
        _fresh(s, up)
        return
    if s.is_unheard:
        outcome_of_fault(s, SEEN_GATEWAY)
    p.stats.globals[G_UPSTREAM_PROTOCOL if is_protocol else G_UPSTREAM_RESET] += 1
    p.stats.clusters[s.cluster.id].resets += 1
    s.endpoint.live.use.row.failures += 1
    if s.bits & S_ANSWER_HEAD:
        s.flags |= FLAG_UPE if is_protocol else FLAG_UC
        s.details = b"upstream_reset_after_response_started{connection_termination}"
        s.down_ops.cut(s)
        return
    if up.has_head:
        # The answer waits for a filter: attempts are over.
        may_repeat = False
        s.taps &= ~<uint32_t>TAP_ERROR
    _set_aside(s)
    if is_protocol:
        _failed(s, FAULT_PROTOCOL, may_repeat, 502, FLAG_UPE,
                b"upstream_reset_before_response_started{protocol_error}", why)
    else:
        _failed(s, FAULT_RESET, may_repeat, 503, FLAG_UC,
                b"upstream_reset_before_response_started{connection_termination}", why)


cdef void attempt_on_timer(timer_t *t, void *owner) noexcept nogil:
    cdef stream_t *s = <stream_t *>owner
    cdef up_t *up = s.up
    cdef bint may_repeat
    if s.bits & S_PAUSED:
        s.bits &= ~<uint32_t>S_PAUSED
        stream_try(s)
        return
    if s.bits & (S_ANSWER_HEAD | S_LOCAL) or s.endpoint is NULL or (up is not NULL and up.has_head):
        return
    if s.hedge is not NULL and hedge_keeps_waiting(s):
        return
    if s.is_unheard or s.is_probe:
        outcome_of_fault(s, SEEN_TIMEOUT)
    s.proxy.stats.clusters[s.cluster.id].try_timeouts += 1
    if s.cluster.adaptive is not NULL and s.retry is not NULL:
        adaptive_observe(s.cluster, s.cluster.live.active, s.retry.try_ns, True, s.proxy.reactor.now_ns)
    s.endpoint.live.use.row.failures += 1
    if s.bits & S_WAITING:
        s.bits &= ~<uint32_t>S_WAITING
        pool_cancel(&s.proxy.pool, &s.wait, True)
    may_repeat = up is NULL or (up.interims == 0 and _may_send_again(s, up))
    _set_aside(s)
    _failed(s, FAULT_TIMEOUT, may_repeat, 504, FLAG_UT, b"upstream_per_try_timeout",
            b"the upstream did not begin to answer within the time that an attempt may take")


# --- an attempt that was answered -------------------------------------------------------------------------------------

cdef int attempt_on_answer(stream_t *s, msg_t *m) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef cluster_row_t *row = &p.stats.clusters[s.cluster.id]
    cdef endpoint_use_t *use = s.endpoint.live.use
    cdef uint64_t took
    cdef bint is_named
    cdef int how
    timer_cancel(&s.try_timer)
    s.first_ns = p.reactor.now_ns
    s.status = m.status
    row.class_[m.status // 100 if m.status < 600 else 0] += 1
    took = s.first_ns - s.sent_ns if s.first_ns > s.sent_ns else 0
    # An eighth of the difference, as TCP smooths its round trips (RFC 6298).
    if use.ewma_ns == 0:
        use.ewma_ns = took
    else:
        use.ewma_ns += took // 8 - use.ewma_ns // 8
    use.row.ewma_ns = use.ewma_ns
    use.answers += 1
    use.answers_ns += took
    if s.account is not NULL:
        p.watch_ops.step(s, STEP_ANSWERED, NULL)
    if s.cluster.adaptive is not NULL and m.status < 500:
        # Failures are quick, and say nothing of how long work takes.
        adaptive_observe(s.cluster, s.cluster.live.active, took, False, s.first_ns)
    if s.is_unheard:
        outcome_of_answer(s, m, took)
    if m.status >= 500:
        use.row.failures += 1
    if m.framing == FRAME_CLOSE or m.bits & MSG_CLOSE or (m.minor == 0 and not m.bits & MSG_KEEPALIVE):
        s.bits |= S_CLOSE_UP
    s.fault_status = 0
    is_named = _names_answer(s, m)
    if s.hedge is not NULL and (is_named or m.status >= 500) and hedge_has_side(s):
        _set_aside(s)
        s.status = 0
        hedge_goes_on(s)
        return FILTER_OVER
    if (is_named or (m.status >= 400 and s.taps & TAP_ERROR)) and _is_repeated(s, m, is_named):
        attempt_again(s)
        return FILTER_OVER
    if s.hedge is not NULL:
        hedge_settle(s)
    if s.fallback is not NULL and s.fault_status == 0 and fallback_replaces(s, m):
        return FILTER_OVER
    if m.status < 500 and _attempts(s) > 1 and not is_named:
        row.retry_success += 1
    if s.taps & (TAP_RESPONSE | TAP_RESPONSE_BODY) or s.fault_status != 0:
        how = p.filters.response(s, &m)
        if how != FILTER_GO:
            return FILTER_GO if how == FILTER_COLLECT else how
    stream_put_answer_head(s, m)
    return FILTER_GO


cdef void _heed(stream_t *s, const msg_t *m) noexcept nogil:
    """What the answer asks for is kept if there is the time; else it is the answer, unless a filter says otherwise."""
    cdef uint64_t wait = retry_after_of(m) * SECOND
    s.fault_until_ns = 0
    if wait == 0:
        return
    if wait <= s.retry.wait_most_ns and wait < _left(s):
        s.fault_until_ns = s.proxy.reactor.now_ns + wait
    elif s.fault_default == AGAIN:
        s.fault_default = TOO_LATE


cdef bint _is_repeated(stream_t *s, const msg_t *m, bint is_named) noexcept nogil:
    """Whether this answer is none, and the request is to be made again. Where filters are to be asked first, they are
    asked later, and fault_status is set."""
    cdef bint may_repeat = _may_send_again(s, s.up)
    cdef uint16_t status = m.status
    s.fault = FAULT_STATUS
    s.fault_default = _by_itself(s, FAULT_STATUS, is_named, may_repeat)
    s.fault_may_repeat = may_repeat and _attempts(s) < TRIED_MAX
    if s.retry is not NULL and s.retry.wait_most_ns != 0:
        _heed(s, m)
    if s.taps & TAP_ERROR and (status >= 500 or is_named):
        s.fault_status = status
        return False
    return attempt_is_granted(s, FILTER_DEFAULT)
