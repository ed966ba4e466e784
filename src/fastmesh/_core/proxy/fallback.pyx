"""See fallback.pxd."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp
from fastmesh._core.http.edit cimport head_free, head_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.timer cimport timer_cancel
from fastmesh._core.mem.counter cimport (
    FLAG_FB, FLAG_FI, FLAG_OM, FLAG_RL, FLAG_SI, FLAG_UC, FLAG_UF, FLAG_UH, FLAG_UO, FLAG_UPE, FLAG_UT, G_LOCAL_ANSWERS)
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.proxy.deadline cimport deadline_is_over
from fastmesh._core.proxy.degraded cimport degraded_count
from fastmesh._core.proxy.emit cimport put_bytes
from fastmesh._core.proxy.fallback_head cimport fallback_head_make
from fastmesh._core.proxy.keeping cimport keeping_begin, keeping_find, keeping_parts
from fastmesh._core.proxy.mux cimport (
    FILTER_GO, FILTER_HELD, FILTER_OVER, S_BODY_SENT, S_CALL, S_CLOSE_UP, S_HOLD_IN, S_HOLD_OUT, S_KEEP_REPLAY,
    S_MEASURED, S_REQUEST_DONE, S_TCP, S_UPGRADE, S_WANT_BODY, STEP_EXHAUSTED, STEP_FALLBACK, proxy_t)
from fastmesh._core.proxy.outcome cimport outcome_of_silence
from fastmesh._core.proxy.request_key cimport request_key_find, request_key_stick
from fastmesh._core.proxy.route_acts cimport (
    ROUTE_ACTS_PIECE, route_acts_lines, route_acts_piece, route_acts_request)
from fastmesh._core.proxy.subsetting cimport subsetting_goal
from fastmesh._core.proxy.wire_head cimport wire_head
from fastmesh._core.resil.fallback_rule cimport (
    ESCAPE_HTML, ESCAPE_JSON, ESCAPE_NONE, REASON_CONNECT, REASON_DEADLINE, REASON_NO_ENDPOINT, REASON_OVERFLOW,
    REASON_OVERLOAD, REASON_PROTOCOL, REASON_RATE_LIMIT, REASON_RESET, REASON_STATUS, REASON_TIMEOUT, STEP_CLUSTER,
    STEP_STALE, STEP_USE, fallback_t, step_names, step_t)
from fastmesh._core.resil.stale cimport copy_t
from fastmesh._core.route.acts cimport piece_t
from fastmesh._core.upstream.pool cimport pool_drop, up_t

cdef enum:
    NONE = -1
    BODY_MAX = 131072         # of an answer with variables; what does not fit is cut

# One at a time: a worker has one thread.
cdef uint8_t body_room[BODY_MAX + 8]


# --- why ---

cdef int _reason(int status, uint32_t flags, const char *details) noexcept nogil:
    """NONE for an answer that tells the client what it did wrong, or that somebody else has given."""
    if flags & FLAG_UH:
        return REASON_NO_ENDPOINT
    if flags & FLAG_OM:
        return REASON_OVERLOAD
    if flags & FLAG_RL:
        return REASON_RATE_LIMIT
    if flags & FLAG_UF:
        return REASON_CONNECT
    if flags & FLAG_UC:
        return REASON_RESET
    if flags & FLAG_UPE:
        return REASON_PROTOCOL
    if flags & FLAG_UO:
        return REASON_OVERFLOW
    if flags & FLAG_UT:
        return REASON_DEADLINE if memcmp(details, b"deadline", 8) == 0 else REASON_TIMEOUT
    if flags & FLAG_SI:
        return REASON_TIMEOUT if status == 504 else NONE
    return REASON_STATUS if flags & FLAG_FI else NONE


cdef inline bint _is_about(const stream_t *s, const step_t *step, int reason, int code) noexcept nogil:
    """The failure that began the chain, or the last one."""
    return step_names(step, reason, <uint32_t>code) or (
        s.fall_step != 0 and step_names(step, s.fall_reason, s.fall_code))


# --- which step ---

cdef inline bint _has_passed(const stream_t *s) noexcept nogil:
    """No filter has yet to say whether it may go anywhere."""
    return not s.is_unasked and not s.bits & (S_HOLD_IN | S_HOLD_OUT)


cdef inline bint _has_just_failed(const stream_t *s, const step_t *step) noexcept nogil:
    """What the step leads to."""
    return step.cluster == s.cluster.index and (
        step.subset is NULL or subsetting_goal(&s.snap.clusters[step.cluster], step.subset) is s.cluster)


cdef bint _may_enter(const stream_t *s, const step_t *step) noexcept nogil:
    cdef uint64_t now = s.proxy.reactor.now_ns
    if not _has_passed(s):
        return False
    if _has_just_failed(s, step) or s.bits & (S_BODY_SENT | S_KEEP_REPLAY) == S_BODY_SENT:
        return False
    if s.was_sent and not step.non_idempotent and not method_is_idempotent(s.method):
        return False
    if deadline_is_over(s):
        return False
    return step.timeout_ns != 0 or not s.bits & S_REQUEST_DONE or s.until_ns == 0 or now < s.until_ns


cdef int _next(stream_t *s, int reason, int code, copy_t **copy) noexcept nogil:
    """The place of the first step that can answer, or NONE."""
    cdef const fallback_t *f = s.fallback
    cdef const step_t *step
    cdef int i
    copy[0] = NULL
    for i in range(s.fall_step, f.n):
        step = &f.steps[i]
        if not _is_about(s, step, reason, code):
            continue
        if step.kind == STEP_CLUSTER and not _may_enter(s, step):
            continue
        if step.kind == STEP_USE and not (step.before_filters or _has_passed(s)):
            continue
        if step.kind == STEP_STALE:
            copy[0] = keeping_find(s, step)
            if copy[0] is NULL:
                continue
        return i
    return NONE


# --- another cluster ---

cdef void _leave(stream_t *s) noexcept nogil:
    """The cluster that the request was for."""
    if s.is_unheard or s.is_probe:
        outcome_of_silence(s, s.proxy.reactor.now_ns)
    fallback_up.leave(s)
    s.endpoint = NULL
    s.is_unheard = 0
    if s.bits & S_MEASURED:
        fallback_up.leave_cluster(s, s.fall_status, s.proxy.reactor.now_ns)


cdef inline void _told(stream_t *s) noexcept nogil:
    """Which step it is, to who watches the request."""
    if s.account is not NULL:
        s.proxy.watch_ops.step(s, STEP_FALLBACK, s.fall_last_why)


cdef void _enter(stream_t *s, const step_t *step) noexcept nogil:
    """The head is the step's already. `s` may be gone afterwards."""
    cdef const msg_t *m
    _leave(s)
    s.cluster = &s.snap.clusters[step.cluster]
    s.subset = step.subset
    s.degraded = STEP_CLUSTER
    _told(s)
    s.bits &= ~<uint32_t>(S_WANT_BODY | S_CLOSE_UP)
    s.fall_attempts += s.attempts
    s.attempts = 0
    s.retried_reused = 0
    s.n_tried = 0
    s.up_ended = 0
    s.status = 0
    s.injected = 0
    s.fault_status = 0
    s.fault_until_ns = 0
    s.first_ns = 0
    s.sent_ns = 0
    s.has_key = 0
    s.told = NULL
    s.wanted = NULL
    if fallback_up.refuses(s):
        return
    fallback_up.enter(s)
    if s.cluster.settings.n_keys != 0 or s.cluster.names is not NULL:
        m = wire_head(s)
        if m is not NULL and s.cluster.settings.n_keys != 0:
            request_key_find(s, m)
        if m is not NULL and s.cluster.names is not NULL:
            request_key_stick(s, m)
    if step.timeout_ns != 0:
        s.timeout_ns = step.timeout_ns
        s.timeout_by = b"response_timeout{fallback}"
    # Of a request that a rate limit has refused no time runs yet.
    if s.bits & S_REQUEST_DONE and (step.timeout_ns != 0 or s.until_ns == 0):
        fallback_up.wait(s)
    fallback_up.go(s)


# --- an answer from here ---

cdef uint8_t *_escaped(uint8_t *to, uint8_t *end, span_t v, int how) noexcept nogil:
    cdef uint32_t i
    cdef uint8_t c
    for i in range(v.len):
        if to >= end:
            break
        c = v.ptr[i]
        if how == ESCAPE_JSON and (c == c'"' or c == c'\\'):
            to[0] = c'\\'
            to[1] = c
            to += 2
        elif how == ESCAPE_JSON and (c < 32 or c >= 127):
            # As the code points of Latin-1: valid JSON whatever the client sent.
            to = put_bytes(to, b"\\u00", 4)
            to[0] = b"0123456789abcdef"[c >> 4]
            to[1] = b"0123456789abcdef"[c & 15]
            to += 2
        elif how == ESCAPE_HTML and (c == c'<' or c == c'>' or c == c'&' or c == c'"' or c == c"'"):
            if c == c'<':
                to = put_bytes(to, b"&lt;", 4)
            elif c == c'>':
                to = put_bytes(to, b"&gt;", 4)
            elif c == c'&':
                to = put_bytes(to, b"&amp;", 5)
            elif c == c'"':
                to = put_bytes(to, b"&quot;", 6)
            else:
                to = put_bytes(to, b"&#39;", 5)
        else:
            to[0] = c
            to += 1
    return to


cdef void _respond(stream_t *s, const step_t *step) noexcept nogil:
    cdef const msg_t *m = wire_head(s)
    cdef const piece_t *piece
    cdef uint8_t *to = body_room
    cdef uint8_t *end = body_room + BODY_MAX
    cdef char room[ROUTE_ACTS_PIECE]
    cdef span_t part, fields
    cdef uint32_t i
    s.status = step.status
    for i in range(step.n_pieces):
        piece = &step.pieces[i]
        part = route_acts_piece(piece, s, m, room)
        if piece.field == 0:
            to = _escaped(to, end, part, ESCAPE_NONE)
        elif part.len == 0:
            to = _escaped(to, end, span_of(<const uint8_t *>b"-", 1), ESCAPE_NONE)
        else:
            to = _escaped(to, end, part, step.escape)
    fields = route_acts_lines(&step.headers, s, m, span_of(NULL, 0))
    fallback_up.answer(s, step.status, step.content_type, fields, span_of(body_room, <uint32_t>(to - body_room)))


cdef void _answer(stream_t *s, const step_t *step, const copy_t *copy) noexcept nogil:
    cdef span_t content_type, fields, body
    s.degraded = step.kind
    _told(s)
    s.proxy.stats.globals[G_LOCAL_ANSWERS] += 1
    degraded_count(s)
    if step.kind == STEP_USE:
        s.proxy.filters.degrade_put(s)
        return
    if step.kind != STEP_STALE:
        _respond(s, step)
        return
    keeping_parts(s, copy, &content_type, &fields, &body)
    fallback_up.answer(s, copy.status, content_type, fields, body)


# --- the chain ---

cdef inline void _exhausted(stream_t *s, uint32_t cluster, int reason) noexcept nogil:
    s.proxy.stats.fallbacks[cluster].exhausted[reason] += 1


cdef void _begin(stream_t *s, int reason, int code, int status, uint32_t flags, const char *details,
                 const char *why) noexcept nogil:
    s.fall_reason = <uint8_t>reason
    s.fall_code = <uint16_t>code
    s.fall_status = <uint16_t>status
    s.fall_flags = flags
    s.fall_details = details
    s.fall_why = why
    s.fall_cluster = s.cluster.id
    s.fall_from = s.cluster


cdef void _drop_answer(stream_t *s) noexcept nogil:
    # What is left of it is not read: the connection would be busy with an answer that nobody wants.
    cdef up_t *up = s.up
    s.was_sent = 1
    timer_cancel(&s.try_timer)
    s.bits &= ~<uint32_t>(S_WANT_BODY | S_CLOSE_UP)
    if up is not NULL:
        s.up = NULL
        pool_drop(up)


cdef int _ask(stream_t *s, const step_t *step) noexcept nogil:
    if s.proxy.filters is NULL or s.snap.filters is NULL:
        return FILTER_GO
    return s.proxy.filters.degrade_ask(s, step.slot)


cdef void _wait_for_answer(stream_t *s) noexcept nogil:
    """A policy thinks. Meanwhile the request is in flight nowhere."""
    s.is_asking = 1
    s.bits &= ~<uint32_t>S_WANT_BODY
    _leave(s)


cdef bint _take(stream_t *s, int at, copy_t *copy, bint *has_answer) noexcept nogil:
    """False when the step cannot do it after all. `has_answer`: one of the upstream's is here; it is given up."""
    cdef const step_t *step = &s.fallback.steps[at]
    cdef int how = FILTER_OVER
    if step.kind == STEP_USE:
        s.fall_step = <uint8_t>(at + 1)
        how = _ask(s, step)
        if how == FILTER_GO:
            return False
    if has_answer[0]:
        has_answer[0] = False
        _drop_answer(s)
    if step.kind == STEP_CLUSTER and not fallback_head_make(s, step):
        return False
    s.fall_step = <uint8_t>(at + 1)
    if step.kind == STEP_CLUSTER:
        _enter(s, step)
    elif how == FILTER_HELD:
        _wait_for_answer(s)
    else:
        _answer(s, step, copy)
    return True


cdef bint _take_any(stream_t *s, bint *has_answer) noexcept nogil:
    """The first of the steps that are left."""
    cdef copy_t *copy = NULL
    cdef int at = _next(s, s.fall_last, s.fall_last_code, &copy)
    while at != NONE:
        if _take(s, at, copy, has_answer):
            return True
        s.fall_step = <uint8_t>(at + 1)
        at = _next(s, s.fall_last, s.fall_last_code, &copy)
    return False


cdef void _give_up(stream_t *s) noexcept nogil:
    """What began the chain is the answer."""
    _exhausted(s, s.fall_cluster, s.fall_reason)
    s.fallback = NULL
    s.degraded = 0
    s.flags = (s.flags & ~<uint32_t>FLAG_FB) | s.fall_flags
    s.details = s.fall_details
    s.proxy.stats.globals[G_LOCAL_ANSWERS] += 1
    if s.account is not NULL:
        s.proxy.watch_ops.step(s, STEP_EXHAUSTED, s.fall_last_why)
    fallback_up.say(s, s.fall_status, s.fall_why)


cdef bint _go_on(stream_t *s, int reason, int code, int status, uint32_t flags, const char *details, const char *why,
                 bint *has_answer) noexcept nogil:
    """False when the chain has not begun, and does not."""
    cdef bint is_first = s.fall_step == 0
    if is_first:
        _begin(s, reason, code, status, flags, details, why)
    s.fall_last = <uint8_t>reason
    s.fall_last_code = <uint16_t>code
    s.fall_last_why = why
    if _take_any(s, has_answer):
        return True
    if is_first:
        s.fall_step = 0
        return False
    if has_answer[0]:
        _drop_answer(s)
    _give_up(s)
    return True


cdef void fallback_on_answer(stream_t *s, bint has_answer) noexcept nogil:
    cdef bint is_upstreams = False
    s.is_asking = 0
    if has_answer:
        _answer(s, &s.fallback.steps[s.fall_step - 1], NULL)
    elif not _take_any(s, &is_upstreams):
        _give_up(s)


cdef inline bint _has_chain(const stream_t *s) noexcept nogil:
    return not s.bits & (S_UPGRADE | S_CALL | S_TCP) and s.cluster is not NULL


cdef bint _is_named(const stream_t *s, int reason, int code) noexcept nogil:
    """Some step is about it; of a chain that goes on, the last one or a later one."""
    cdef int i
    for i in range(s.fall_step - 1 if s.fall_step != 0 else 0, s.fallback.n):
        if step_names(&s.fallback.steps[i], reason, <uint32_t>code):
            return True
    return False


cdef bint fallback_takes(stream_t *s, int status, uint32_t flags, const char *details, const char *why) noexcept nogil:
    cdef int reason = _reason(status, flags, details)
    cdef bint has_answer = False
    if s.is_asking:
        # Something else has come to an end meanwhile.
        s.is_asking = 0
        s.proxy.filters.degrade_forget(s)
    if reason == NONE or not _has_chain(s):
        s.degraded = 0
        return False
    if s.fall_step == 0 and not _is_named(s, reason, status):
        return False
    # Counted by whoever calls; it may yet be another's.
    s.proxy.stats.globals[G_LOCAL_ANSWERS] -= 1
    if _go_on(s, reason, status, status, flags, details, why, &has_answer):
        return True
    s.proxy.stats.globals[G_LOCAL_ANSWERS] += 1
    _exhausted(s, s.cluster.id, reason)
    return False


cdef bint fallback_replaces(stream_t *s, const msg_t *m) noexcept nogil:
    cdef int status = m.status
    cdef copy_t *copy = NULL
    cdef bint has_answer = True
    cdef const char *why = b"the upstream answered with an error, and no step of the fallback could answer"
    if status < 400 or not _has_chain(s) or not _is_named(s, REASON_STATUS, status):
        return False
    s.was_sent = 1
    if _next(s, REASON_STATUS, status, &copy) == NONE and s.fall_step == 0:
        _exhausted(s, s.cluster.id, REASON_STATUS)
        return False
    if _go_on(s, REASON_STATUS, status, status, 0, b"via_upstream", why, &has_answer):
        return True
    if has_answer:
        # All who were asked had nothing to say: it stays the answer.
        _exhausted(s, s.cluster.id, REASON_STATUS)
        return False
    # A step that should have been able to was not: its head would have been too large.
    _begin(s, REASON_STATUS, status, status, 0, b"via_upstream", why)
    _give_up(s)
    return True


cdef void fallback_on_head(stream_t *s, const msg_t *m) noexcept nogil:
    if s.degraded == STEP_CLUSTER:
        degraded_count(s)
    elif s.fallback.stale is not NULL:
        keeping_begin(s, m)


cdef void fallback_begin_early(stream_t *s, msg_t *m, span_t path) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef msg_t *sent = m
    cdef head_t *h = NULL
    s.fallback = &s.snap.fallbacks[s.route.fallback - 1]
    s.is_unasked = p.filters is not NULL and (
        s.run is not NULL or s.route.chain >= 0 or (s.cluster is not NULL and s.cluster.chain >= 0))
    if s.route.acts is not NULL and not s.route.acts.is_redirect:
        h = route_acts_request(s, m, &path)
        if h is not NULL:
            sent = &h.m
    s.up_ops.prepare(s, sent, path)
    if h is not NULL:
        head_free(h)
