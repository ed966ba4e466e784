"""See drive.pxd.

Filters never change an exchange themselves: a phase returns, and what it returned or set is carried out here. So no
code of an author's runs while the stream is in the middle of something, and the stream is never entered from a filter.

Phases of heads are walked one filter after the other (`_walk`). One that waits is kept in a Lane with the place where
it stands; when it is done the walk goes on there, and at its end `_arrived` does what floor 8 would have done at once.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.filter cimport flow as flow_module
from fastmesh._core.filter cimport wait as wait_module
from fastmesh._core.filter.balance cimport balance_applied, balance_close, balance_free, balance_pick
from fastmesh._core.filter.call cimport calls_begin
from fastmesh._core.filter.chain cimport ON_ERROR_OPEN, ON_ERROR_SKIP, Slot, Table, slot_begin, slot_end, slot_t
from fastmesh._core.filter.degrade cimport degrade_ask, degrade_forget
from fastmesh._core.filter.ending cimport ending_close, ending_complete, ending_release
from fastmesh._core.filter.enlist cimport TAP_COMPLETE, chain_wanted, enlist, path_of, request_of, tap
from fastmesh._core.filter.entry cimport entry_accept, entry_left
from fastmesh._core.filter.flow cimport (
    flow_answer_body, flow_answer_end, flow_answer_room, flow_begin, flow_begin_answer, flow_changes, flow_forget,
    flow_keep_path, flow_put_head, flow_request_body, flow_request_end, flow_request_room, flow_say_continue)
from fastmesh._core.filter.headers cimport OwnHead, headers_of
from fastmesh._core.filter.pipe cimport Pipe, pipe_new
from fastmesh._core.filter.shadow cimport Shadow
from fastmesh._core.filter.facts cimport error_of
from fastmesh._core.filter.told cimport told_steered
from fastmesh._core.filter.view cimport Request, Response, response_of
from fastmesh._core.filter.wait cimport TASK_HELD, Task
from fastmesh._core.http.edit cimport head_drop_own, head_set_target
from fastmesh._core.http.h1 cimport h1_copy_fields, h1_reason
from fastmesh._core.http.msg cimport FRAME_CHUNKED, MSG_EXPECT_CONTINUE, msg_span, msg_t
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.mem.counter cimport (
    PHASE_REQUEST, PHASE_REQUEST_TRAILERS, PHASE_RESPONSE, PHASE_RESPONSE_TRAILERS, PHASE_RETRY, PHASE_ROUTE,
    PHASE_UPSTREAM_ERROR)
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.proxy.attempt cimport attempt_after_fault, attempt_again, attempt_is_granted
from fastmesh._core.proxy.fallback cimport fallback_replaces
from fastmesh._core.proxy.local cimport local_answer, local_answer_with, local_put
from fastmesh._core.proxy.mux cimport (
    FILTER_AGAIN, FILTER_COLLECT, FILTER_DEFAULT, FILTER_GIVE_UP, FILTER_GO, FILTER_HELD, FILTER_OVER,
    S_HOLD_IN, S_HOLD_OUT, S_LOCAL, S_LOCAL_SEEN, S_WANT_BODY, TAP_REQUEST_BODY, TAP_RESPONSE_TRAILERS,
    filter_ops_t, proxy_t, stream_t)
from fastmesh._core.proxy.routing cimport routing_go_on
from fastmesh._core.proxy.stream cimport stream_connect, stream_go, stream_put_answer_end, stream_put_request_end
from fastmesh._core.resil.retry cimport FAULT_STATUS
from fastmesh._core.snapshot.snapshot cimport snapshot_on_free

cdef extern from "Python.h":
    bint PyCoro_CheckExact(object o)


cdef enum:
    # Where a walk is.
    AT_REQUEST = 0            # listener's on_request
    AT_ROUTED = 1             # route's on_request, on_route of both, cluster's on_request
    AT_RESPONSE = 2           # on_response of the upstream's answer, last filter first
    AT_LOCAL = 3              # on_response of an answer of the proxy's or a filter's own
    AT_FAILED = 4             # on_upstream_error
    AT_STATUS = 5             # the same, of an answer with 5xx
    AT_RETRY = 6
    AT_REQUEST_TRAILERS = 7
    AT_RESPONSE_TRAILERS = 8


# --- a filter that waits ------------------------------------------------------------------------------------------


cdef class Lane(Task):
    """A walk that stands at a filter which waits."""
    cdef Request r
    cdef int at, part, stage, phase
    cdef slot_t *c
    cdef uint64_t begun_ns
    cdef Shadow shadow

    cdef void entering(self) noexcept:
        self.r.depth += 1
        self.r.phase = <uint8_t>self.phase
        self.begun_ns = slot_begin(self.c)

    cdef void leaving(self) noexcept:
        self.r.spend(self.stage, slot_end(self.c, self.phase, self.begun_ns, False))
        self.r.depth -= 1

    cdef void dropped(self) noexcept:
        if self.c.row is not NULL:
            self.c.row.in_flight -= 1
        if self.shadow is not None:
            self.shadow.give_back(self.r, None, None)
            self.shadow = None

    cdef void finished(self) noexcept:
        cdef Request r = self.r
        cdef int how
        if _is_out(self.at):
            r.task_out = None
        elif self.at == AT_RETRY:
            r.task_retry = None
        else:
            r.task_in = None
        if self.c.row is not NULL:
            self.c.row.in_flight -= 1
        if r.s is NULL:
            # The exchange has ended without it: nobody asks for what it came to, and its copies are all that is left.
            if self.shadow is not None:
                self.shadow.give_back(r, None, None)
                self.shadow = None
                if r.h is NULL:
                    r.m = NULL
            return
        _sign(r, self.c)
        if self.shadow is not None:
            self.shadow.give_back(r, self.result, self.error)
            self.shadow = None
            how = FILTER_GO
        elif self.error is not None:
            how = _failed(r, self.at, self.stage, self.phase, self.error)
        else:
            how = _took(r, self.at, self.stage, self.phase, self.result)
        if how == FILTER_GO:
            how = _walk(r, self.at, self.part, self.stage)
        if how != FILTER_HELD:
            _arrived(r, self.at, how)


cdef inline bint _is_out(int at) noexcept nogil:
    return AT_RESPONSE <= at <= AT_STATUS or at == AT_RESPONSE_TRAILERS


# --- which filters take part --------------------------------------------------------------------------------------


# --- the walk -----------------------------------------------------------------------------------------------------


cdef inline int _phase_of(int at, int part) noexcept:
    if at == AT_REQUEST:
        return PHASE_REQUEST
    if at == AT_ROUTED:
        return PHASE_ROUTE if part == 1 else PHASE_REQUEST
    if at == AT_RESPONSE or at == AT_LOCAL:
        return PHASE_RESPONSE
    if at == AT_FAILED or at == AT_STATUS:
        return PHASE_UPSTREAM_ERROR
    if at == AT_RETRY:
        return PHASE_RETRY
    return PHASE_REQUEST_TRAILERS if at == AT_REQUEST_TRAILERS else PHASE_RESPONSE_TRAILERS


cdef int _walk(Request r, int at, int part, int before) noexcept:
    """Asks the filters behind `before` (-1: from the first; in reverse: n_stages). FILTER_*, as `_took`."""
    cdef int i, first, last, phase, how
    cdef slot_t *c
    cdef bint is_reverse = at == AT_RESPONSE or at == AT_LOCAL or at == AT_RESPONSE_TRAILERS
    while True:
        first, last = 0, r.n_stages
        if at == AT_REQUEST:
            last = r.n_listener
        elif at == AT_ROUTED and part == 0:
            first, last = r.n_listener, r.n_listener + r.n_route
        elif at == AT_ROUTED and part == 1:
            last = r.n_listener + r.n_route
        elif at == AT_ROUTED:
            first = r.n_listener + r.n_route
        phase = _phase_of(at, part)
        i = before
        while True:
            i += -1 if is_reverse else 1
            if is_reverse:
                if i < 0:
                    break
            elif i < first:
                continue
            elif i >= last:
                break
            if not (r.live & ~r.skipped) >> i & 1:
                continue
            if is_reverse and not r.entered >> i & 1:
                continue
            if phase == PHASE_REQUEST:
                r.entered |= <uint64_t>1 << i
            c = r.slot(i)
            if not c.phases >> phase & 1:
                continue
            how = _ask(r, at, part, i, phase, c)
            if how != FILTER_GO:
                return how
        if at != AT_ROUTED or part == 2:
            return FILTER_GO
        part += 1
        before = -1
        if part == 2:
            how = _enter_cluster(r)
            if how != FILTER_GO:
                return how


cdef int _ask(Request r, int at, int part, int stage, int phase, slot_t *c) noexcept:
    cdef Lane lane
    cdef Shadow shadow = None
    cdef uint64_t begun
    try:
        if c.is_shadow:
            shadow = Shadow.__new__(Shadow)
            shadow.c = c
            shadow.phase = phase
            shadow.put_aside(r)
        method = <object>c.calls[phase]
        r.depth += 1
        r.phase = <uint8_t>phase
        begun = slot_begin(c)
        try:
            if phase == PHASE_RESPONSE:
                result = method(r, r.response)
            elif phase == PHASE_UPSTREAM_ERROR:
                result = method(r, r._error)
            elif phase == PHASE_RETRY:
                result = method(r, r.s.attempts + 1)
            elif phase == PHASE_REQUEST_TRAILERS or phase == PHASE_RESPONSE_TRAILERS:
                result = method(r, headers_of(r._trailers_in if phase == PHASE_REQUEST_TRAILERS else r._trailers_out))
            else:
                result = method(r)
        finally:
            r.spend(stage, slot_end(c, phase, begun, True))
            r.depth -= 1
        if result is not None and PyCoro_CheckExact(result):
            lane = Lane.__new__(Lane)
            lane.r, lane.at, lane.part, lane.stage, lane.phase, lane.c = r, at, part, stage, phase, c
            lane.reactor = r.s.proxy.reactor
            lane.coro = result
            if lane.step() == TASK_HELD:
                lane.shadow = shadow
                _hold(r, at, lane)
                return FILTER_HELD
            result = lane.result
        _sign(r, c)
    except BaseException as error:
        _sign(r, c)
        if shadow is not None:
            shadow.give_back(r, None, error)
            return FILTER_GO
        return _failed(r, at, stage, phase, error)
    if shadow is not None:
        shadow.give_back(r, result, None)
        return FILTER_GO
    return FILTER_GO if result is None else _took(r, at, stage, phase, result)


cdef inline void _sign(Request r, slot_t *c) noexcept:
    """The timeout that it may have set is known as its own."""
    if r.s is not NULL and r.s.route is not NULL and r.s.timeout_by is NULL:
        r.s.timeout_by = <const char *>(<Slot>c.owner).timed
    if r.steered != 0 and r.s is not NULL:
        told_steered(r, c)


cdef void _hold(Request r, int at, Lane lane) noexcept:
    """The walk stops here. What it looks at moves into memory of its own."""
    cdef stream_t *s = r.s
    cdef span_t query
    lane.arm(lane.c.timeout_ns)
    s.taps |= TAP_COMPLETE
    if lane.c.row is not NULL:
        lane.c.row.in_flight += 1
    if r.h is not NULL or r.m is not NULL:
        r.touch()
    if r.response is not None:
        r.response.touch()
    if _is_out(at):
        r.task_out = lane
        s.bits |= S_HOLD_OUT
        if s.up is not NULL and at != AT_FAILED:
            s.up_ops.read(s, False)
    else:
        if at == AT_RETRY:
            r.task_retry = lane
        else:
            r.task_in = lane
        s.bits |= S_HOLD_IN
        s.bits &= ~<uint32_t>S_WANT_BODY
        if r.path_normal.ptr is not NULL:
            # It lies in the worker's scratch.
            query = msg_span(r.m, r.m.query_off, r.m.query_len) if r.m.query_has else span_of(NULL, 0)
            head_set_target(r.h, r.path_normal, query)
            r.path_normal = span_of(NULL, 0)


cdef int _took(Request r, int at, int stage, int phase, object result) noexcept:
    """What a phase returned. FILTER_GO: the next one is asked."""
    if result is None:
        return FILTER_GO
    if phase == PHASE_UPSTREAM_ERROR and isinstance(result, bool):
        return FILTER_AGAIN if result else FILTER_GIVE_UP
    if isinstance(result, Response) and (phase == PHASE_REQUEST or phase == PHASE_ROUTE or phase == PHASE_RESPONSE):
        if phase == PHASE_RESPONSE:
            if result is r.response:
                return FILTER_GO
            _replace(r, <Response>result)
            r.answered_by = <const char *>(<Slot>r.slot(stage).owner).answered
            return FILTER_GO
        return _answer(r, <Response>result, stage)
    allowed = {PHASE_REQUEST: "None or a Response", PHASE_ROUTE: "None or a Response",
               PHASE_RESPONSE: "None or a Response", PHASE_UPSTREAM_ERROR: "None, True or False"}.get(phase, "None")
    return _failed(r, at, stage, phase, TypeError(f"returned a {type(result).__name__}: {allowed} is allowed"))


cdef int _failed(Request r, int at, int stage, int phase, BaseException error) noexcept:
    """A phase raised: its policy decides. FILTER_GO: as if it had returned None."""
    cdef slot_t *c = r.slot(stage)
    (<Slot>c.owner).failed(phase, error, reactor_clock(r.s.proxy.reactor))
    if c.on_error == ON_ERROR_OPEN:
        return FILTER_GO
    if c.on_error == ON_ERROR_SKIP:
        r.skipped |= <uint64_t>1 << stage
        return FILTER_GO
    if at == AT_FAILED or at == AT_STATUS:
        return FILTER_GIVE_UP
    _refuse(r, stage)
    return FILTER_OVER


cdef void _refuse(Request r, int stage) noexcept:
    """503, or a cut answer: a filter that fails closed has failed."""
    cdef stream_t *s = r.s
    r.skipped |= <uint64_t>1 << stage
    flow_forget(r)
    local_answer(s, 503, 0, <const char *>(<Slot>r.slot(stage).owner).details,
                  b"a filter that this request has to pass has failed")


# --- answers that filters give ------------------------------------------------------------------------------------


cdef void _replace(Request r, Response given) noexcept:
    if r.response is not None:
        r.response.request = r
    given.request = r
    given.is_own = True
    r.response = given
    r.is_local = True


cdef int _answer(Request r, Response given, int stage) noexcept:
    """A filter answers. Those in front of it see the answer, as they would the upstream's."""
    cdef int how
    flow_forget(r)
    _replace(r, given)
    r.answered_by = <const char *>(<Slot>r.slot(stage).owner).answered
    r.s.bits |= S_LOCAL_SEEN
    how = _walk(r, AT_LOCAL, 0, stage)
    if how == FILTER_GO:
        _put_given(r)
        return FILTER_OVER
    return how


cdef void _put_given(Request r) noexcept:
    """Puts the local answer that has come through the filters. The stream is over."""
    cdef stream_t *s = r.s
    cdef Response given = r.response
    cdef uint32_t n = 0
    cdef bytes room
    cdef bytes body = given.content if given.content is not None else b""
    if r.spent is not NULL:
        given.touch()
        r.put_timing(given.h)
    room = bytes(given.m.len + 2)
    n = h1_copy_fields(<uint8_t *><char *>room, given.m)
    r.is_answer_sent = True
    if s.bits & S_LOCAL:
        local_put(s, given.code, span_of(NULL, 0), span_of(<const uint8_t *><char *>room, n),
                         span_of(<const uint8_t *><char *>body, <uint32_t>len(body)))
        return
    local_answer_with(s, given.code, 0, r.answered_by, span_of(NULL, 0),
                       span_of(<const uint8_t *><char *>room, n),
                       span_of(<const uint8_t *><char *>body, <uint32_t>len(body)))


cdef int _trailers(Request r, bint is_out) noexcept:
    if is_out:
        return _walk(r, AT_RESPONSE_TRAILERS, 0, r.n_stages)
    return _walk(r, AT_REQUEST_TRAILERS, 0, -1)


# --- what floor 8 asks --------------------------------------------------------------------------------------------


cdef int _request(stream_t *s, msg_t **m) noexcept nogil:
    cdef uint64_t wanted
    cdef span_t path = span_of(NULL, 0)
    cdef int how
    if m is not NULL:
        path = path_of(s, m[0])
    wanted = chain_wanted(s, s.listener.chain, m[0] if m is not NULL else NULL, path)
    if wanted == 0:
        return FILTER_GO
    with gil:
        how = _begin(s, m, wanted)
    return how


cdef int _begin(stream_t *s, msg_t **m, uint64_t wanted) noexcept:
    cdef Request r = request_of(s, m[0] if m is not NULL else NULL)
    cdef int refused = enlist(r, s.listener.chain, wanted)
    cdef int how
    r.n_listener = r.n_stages
    if m is NULL:
        # TCP: nothing but its end.
        r.entered = r.live
        return FILTER_GO
    tap(r)
    if refused >= 0:
        _refuse(r, refused)
        return FILTER_OVER
    how = _walk(r, AT_REQUEST, 0, -1)
    if how == FILTER_GO:
        m[0] = r.m
    return how


cdef int _routed(stream_t *s, msg_t **m, span_t *path) noexcept nogil:
    cdef uint64_t wanted
    cdef uint64_t cluster_wanted = 0
    cdef span_t normal = path[0] if path.ptr is not NULL else msg_span(m[0], m[0].path_off, m[0].path_len)
    cdef int how
    if normal.len == 0:
        normal = span_of(b"/", 1)
    wanted = chain_wanted(s, s.route.chain, m[0], normal)
    if s.cluster is not NULL:
        cluster_wanted = chain_wanted(s, s.cluster.chain, m[0], normal)
    if wanted == 0 and s.run is NULL and cluster_wanted == 0:
        return FILTER_GO
    with gil:
        how = _enter_route(s, m, path, wanted, cluster_wanted)
    return how


cdef int _enter_route(stream_t *s, msg_t **m, span_t *path, uint64_t wanted, uint64_t cluster_wanted) noexcept:
    cdef Request r = request_of(s, m[0])
    cdef int refused
    cdef int how
    r.path_normal = path[0]
    r.cluster_wanted = cluster_wanted
    r.cluster_of = s.cluster
    refused = enlist(r, s.route.chain, wanted)
    r.n_route = r.n_stages - r.n_listener
    if refused >= 0:
        _refuse(r, refused)
        return FILTER_OVER
    how = _walk(r, AT_ROUTED, 0, -1)
    if how != FILTER_GO:
        return how
    how = _depart(r)
    m[0] = r.m
    path[0] = r.path_normal
    r.path_normal = span_of(NULL, 0)
    if how == FILTER_GO and r.h is NULL:
        if s.cluster is NULL and s.snap.n_log_ops == 0:
            r.touch()       # nothing of it is encoded that could be read again
            m[0] = r.m
        else:
            r.m = NULL
    return how


cdef int _enter_cluster(Request r) noexcept:
    """The cluster is final: its filters join."""
    cdef stream_t *s = r.s
    cdef span_t path
    cdef int refused
    if s.cluster is not NULL and s.cluster.chain >= 0:
        if r.cluster_of is not <void *>s.cluster:
            path = r.path_normal if r.path_normal.ptr is not NULL else path_of(s, r.m)
            r.cluster_wanted = chain_wanted(s, s.cluster.chain, r.m, path)
        refused = enlist(r, s.cluster.chain, r.cluster_wanted)
        if refused >= 0:
            _refuse(r, refused)
            return FILTER_OVER
    return FILTER_GO


cdef int _depart(Request r) noexcept:
    """All filters of the head have spoken. FILTER_GO: it may be sent now."""
    cdef stream_t *s = r.s
    cdef Pipe pipe
    tap(r)
    if not s.taps & TAP_REQUEST_BODY or s.cluster is NULL:
        s.taps &= ~<uint32_t>TAP_REQUEST_BODY
        r.is_sent = True
        return FILTER_GO
    pipe = pipe_new(r, False)
    r.pipe_in = pipe
    s.taps |= TAP_COMPLETE
    if pipe.collects:
        # The upstream is not chosen before the body has passed.
        r.touch()
        flow_keep_path(r)
        if r.m.bits & MSG_EXPECT_CONTINUE:
            flow_say_continue(s)
            head_drop_own(r.h, <const uint8_t *><char *>b"expect", 6)
        s.bits |= S_WANT_BODY
        s.down_ops.read(s)
        return FILTER_HELD
    if flow_changes(pipe):
        r.touch()
        head_drop_own(r.h, <const uint8_t *><char *>b"content-length", 14)
        r.m.framing = FRAME_CHUNKED
        s.framing = FRAME_CHUNKED
    r.is_sent = True
    return FILTER_GO


cdef void _arrived(Request r, int at, int how) noexcept:
    """A walk that had to wait is at its end: goes on where floor 8 would have gone on."""
    cdef stream_t *s = r.s
    cdef OwnHead trailers
    if s is NULL:
        return
    if at == AT_FAILED:
        s.bits &= ~<uint32_t>S_HOLD_OUT
        if how != FILTER_OVER:
            attempt_after_fault(s, FILTER_DEFAULT if how == FILTER_GO else how)
        return
    if how == FILTER_OVER:
        return
    if _is_out(at):
        s.bits &= ~<uint32_t>S_HOLD_OUT
    elif r.task_in is None and r.task_retry is None:
        s.bits &= ~<uint32_t>S_HOLD_IN
    if at == AT_REQUEST:
        routing_go_on(s, r.m)
    elif at == AT_ROUTED:
        if _depart(r) == FILTER_GO:
            stream_go(s, r.m, span_of(NULL, 0))
    elif at == AT_STATUS:
        if not _again(r, how) and not _is_replaced(r):
            how = _answer_head(r)
            if how == FILTER_GO:
                flow_put_head(r)
            if how == FILTER_GO or how == FILTER_COLLECT:
                _resume(s)
    elif at == AT_RESPONSE:
        if r.is_local:
            _put_given(r)
            return
        if flow_begin_answer(r) == FILTER_GO:
            flow_put_head(r)
        _resume(s)
    elif at == AT_LOCAL:
        _put_given(r)
    elif at == AT_RETRY:
        stream_connect(s)
    elif at == AT_REQUEST_TRAILERS:
        trailers = r._trailers_in
        r._trailers_in = None
        stream_put_request_end(s, &trailers.h.m)
    elif at == AT_RESPONSE_TRAILERS:
        trailers = r._trailers_out
        r._trailers_out = None
        stream_put_answer_end(s, &trailers.h.m)


cdef inline void _resume(stream_t *s) noexcept:
    if s.up is not NULL:
        s.up_ops.resume(s)


# --- failed attempts ----------------------------------------------------------------------------------------------


cdef int _on_fault(stream_t *s, int why) noexcept nogil:
    cdef int how
    with gil:
        how = _ask_about(s, why)
    return how


cdef int _ask_about(stream_t *s, int why) noexcept:
    cdef Request r = <Request>s.run
    cdef int how
    cdef str endpoint = ""
    if s.n_tried:
        endpoint = s.tried[s.n_tried - 1].text.ptr[:s.tried[s.n_tried - 1].text.len].decode()
    r._error = error_of(s, why, endpoint)
    how = _walk(r, AT_FAILED, 0, -1)
    return FILTER_DEFAULT if how == FILTER_GO else how


cdef int _retry(stream_t *s) noexcept nogil:
    cdef int how
    with gil:
        how = _walk(<Request>s.run, AT_RETRY, 0, -1)
    return how


# --- answers ------------------------------------------------------------------------------------------------------


cdef int _response(stream_t *s, msg_t **m) noexcept nogil:
    cdef int how
    with gil:
        how = _answered(s, m)
    return how


cdef int _answered(stream_t *s, msg_t **m) noexcept:
    cdef Request r = <Request>s.run
    cdef int how
    r.response = response_of(r, m[0])
    r.is_local = False
    if s.fault_status != 0:
        s.fault_why = b"the upstream answered with an error"
        r._error = error_of(s, FAULT_STATUS, s.endpoint.text.ptr[:s.endpoint.text.len].decode())
        how = _walk(r, AT_STATUS, 0, -1)
        if how == FILTER_HELD or how == FILTER_OVER:
            return how
        if _again(r, how) or _is_replaced(r):
            return FILTER_OVER
    how = _answer_head(r)
    if how == FILTER_GO:
        if r.spent is not NULL:
            r.response.touch()
            r.put_timing(r.response.h)
        m[0] = r.response.m
        r.is_answer_sent = True
        _let_go(r)
    return how


cdef void _let_go(Request r) noexcept:
    # The head in the worker's scratch is gone after this event. Who sees the body may look at the head as well.
    if r.response.h is NULL:
        if r.pipe_out is not None or r.s.taps & TAP_RESPONSE_TRAILERS:
            r.response.touch()
        else:
            r.response.m = NULL


cdef bint _again(Request r, int how) noexcept:
    """An error that was answered: True when the request is on its way again."""
    if not attempt_is_granted(r.s, FILTER_DEFAULT if how == FILTER_GO else how):
        return False
    r.response = None
    attempt_again(r.s)
    return True


cdef bint _is_replaced(Request r) noexcept:
    """Likewise, when the route has something better."""
    cdef Response answer = r.response
    if r.s.fallback is NULL:
        return False
    # Given back where it stays the answer.
    r.response = None
    if fallback_replaces(r.s, answer.m):
        return True
    r.response = answer
    return False


cdef int _answer_head(Request r) noexcept:
    """on_response of all, and the beginning of the body. FILTER_GO: the head may be put."""
    cdef int how = _walk(r, AT_RESPONSE, 0, r.n_stages)
    if how != FILTER_GO:
        return how
    if r.is_local:
        _put_given(r)
        return FILTER_OVER
    return flow_begin_answer(r)


cdef int _local(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil:
    cdef int how
    with gil:
        how = _answered_locally(s, status, content_type, fields, body)
    return how


cdef int _answered_locally(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept:
    cdef Request r = <Request>s.run
    cdef Response made
    cdef bytes text, field
    cdef int how
    flow_forget(r)
    for how in range(r.n_stages):
        if (r.entered & r.live & ~r.skipped) >> how & 1 and r.slot(how).phases >> PHASE_RESPONSE & 1:
            break
    else:
        return FILTER_GO
    if body.ptr is NULL:
        text = (<bytes>h1_reason(status)) if status not in (204, 205, 304) else b""
    else:
        text = body.ptr[:body.len]
    try:
        made = Response(status, body=text, content_type=(
            content_type.ptr[:content_type.len].decode() if content_type.len else "text/plain; charset=utf-8"))
        for field in fields.ptr[:fields.len].split(b"\r\n") if fields.len else ():
            if field:
                text, field = field.split(b": ", 1)
                made.headers.add(text.decode("latin-1"), field.decode("latin-1"))
    except ValueError:
        made = Response(status)
    _replace(r, made)
    how = _walk(r, AT_LOCAL, 0, r.n_stages)
    if how == FILTER_GO:
        _put_given(r)
        return FILTER_OVER
    return how


cdef void _degraded(stream_t *s) noexcept nogil:
    with gil:
        _put_degraded(<Request>s.run)


cdef void _put_degraded(Request r) noexcept:
    """The answer of a fallback's policy: the proxy's own to filters and to the log."""
    cdef stream_t *s = r.s
    cdef Response given = r.degraded
    r.degraded = None
    s.bits |= S_LOCAL | S_LOCAL_SEEN
    s.status = given.code
    flow_forget(r)
    _replace(r, given)
    if _walk(r, AT_LOCAL, 0, r.n_stages) == FILTER_GO:
        _put_given(r)


cdef filter_ops_t OPS
OPS.accept = entry_accept
OPS.left = entry_left
OPS.request = _request
OPS.routed = _routed
OPS.pick = balance_pick
OPS.request_body = flow_request_body
OPS.request_end = flow_request_end
OPS.request_room = flow_request_room
OPS.failed = _on_fault
OPS.retry = _retry
OPS.response = _response
OPS.answer_body = flow_answer_body
OPS.answer_end = flow_answer_end
OPS.answer_room = flow_answer_room
OPS.local = _local
OPS.complete = ending_complete
OPS.release = ending_release
OPS.applied = balance_applied
OPS.close = _close
OPS.degrade_ask = degrade_ask
OPS.degrade_put = _degraded
OPS.degrade_forget = degrade_forget


cdef void _close(proxy_t *p) noexcept nogil:
    with gil:
        balance_close(p)
        ending_close()
        calls_begin(NULL)
        wait_module.wait_reactor = NULL


cdef void _free_table(void *filters) noexcept nogil:
    with gil:
        table = <Table>filters
        balance_free(table)
        Py_DECREF(table)
        try:
            if table.on_free is not None:
                table.on_free(table)
        except BaseException:
            pass


def begin(proxy, Table table):
    """Makes a worker's proxy ask the filters of its snapshots; `proxy`: a capsule of the worker's own."""
    cdef proxy_t *p = <proxy_t *>PyCapsule_GetPointer(proxy, b"proxy")
    wait_module.wait_reactor = p.reactor
    calls_begin(p)
    flow_module.flow_up.trailers = _trailers
    flow_module.flow_up.refuse = _refuse
    flow_module.flow_up.answer = _answer
    flow_begin()
    snapshot_on_free(_free_table)
    table.attach(p.stats)
    p.filters = &OPS
