"""See drive.pxd.

Filters never change an exchange themselves: a phase returns, and what it returned or set is carried out here. So no
code of an author's runs while the stream is in the middle of something, and the stream is never entered from a filter.

Phases of heads are walked one filter after the other (`_walk`). One that waits is kept in a Lane with the place where
it stands; when it is done the walk goes on there, and at its end `_arrived` does what floor 8 would have done at once.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastmesh._core.filter.body cimport (
    PIPE_ANSWERED, PIPE_FAILED, PIPE_HELD, PIPE_MOVED, PIPE_TOO_LARGE, Pipe, Stage, pipe_moved, pipe_new, pipe_put)
from fastmesh._core.filter.call cimport calls_begin
from fastmesh._core.filter cimport body as body_module
from fastmesh._core.filter cimport wait as wait_module
from fastmesh._core.filter.chain cimport (
    ON_ERROR_CLOSED, ON_ERROR_OPEN, ON_ERROR_SKIP, STAGES_MAX, Slot, Table, slot_begin, slot_end, slot_is_bypassed, slot_t)
from fastmesh._core.filter.headers cimport OwnHead, headers_of
from fastmesh._core.filter.view cimport (
    Connection, Labels, Outcome, Request, Response, connection_of, error_of, outcome_of, response_of)
from fastmesh._core.filter.wait cimport TASK_HELD, Task, Wait
from fastmesh._core.http.edit cimport head_add_own, head_copy, head_drop_own, head_free, head_set_target, head_t
from fastmesh._core.http.h1 cimport h1_copy_fields, h1_limits_t, h1_parse_response, h1_reason
from fastmesh._core.http.msg cimport (
    FRAME_CHUNKED, FRAME_LENGTH, FRAME_NONE, MSG_EDITED, MSG_EXPECT_CONTINUE, MSG_LINE, msg_span, msg_t)
from fastmesh._core.http.uri cimport URI_SAME, uri_normalize
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new, block_put, block_t
from fastmesh._core.mem.counter cimport (
    PHASE_COMPLETE, PHASE_CONNECTION, PHASE_REQUEST, PHASE_REQUEST_BODY, PHASE_REQUEST_TRAILERS, PHASE_RESPONSE,
    PHASE_RESPONSE_BODY, PHASE_RESPONSE_TRAILERS, PHASE_RETRY, PHASE_ROUTE, PHASE_UPSTREAM_ERROR)
from fastmesh._core.mem.rng cimport rng_below
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.proxy.down cimport down_close
from fastmesh._core.proxy.listener cimport door_admit
from fastmesh._core.proxy.mux cimport (
    FAULT_STATUS, FILTER_AGAIN, FILTER_COLLECT, FILTER_DEFAULT, FILTER_GIVE_UP, FILTER_GO, FILTER_HELD, FILTER_OVER, S_ANSWER_HEAD,
    S_HOLD_IN, S_HOLD_OUT, S_LOCAL, S_LOCAL_SEEN, S_REQUEST_DONE, S_TCP, S_UP_ENDED, S_UP_PAUSED, S_WANT_BODY, TAP_ERROR,
    TAP_REQUEST_BODY, TAP_REQUEST_TRAILERS, TAP_RESPONSE, TAP_RESPONSE_BODY, TAP_RESPONSE_TRAILERS, TAP_RETRY, down_t,
    filter_ops_t, proxy_t, stream_t)
from fastmesh._core.proxy.stream cimport (
    stream_after_fault, stream_answer, stream_answer_with, stream_connect, stream_go, stream_put_answer_body,
    stream_put_answer_end, stream_put_answer_head, stream_put_local, stream_put_request_body, stream_put_request_end,
    stream_route, stream_send_again)
from fastmesh._core.route.route_table cimport route_find
from fastmesh._core.snapshot.snapshot cimport filter_chain_t, filter_rule_t, snapshot_on_free

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

    SMALL = 2048              # pieces up to this are copied on their way out anyway
    DETACHED_MOST = 10000     # on_complete phases that wait after their exchange

cdef uint32_t n_detached = 0
cdef set detached = set()


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
        slot_end(self.c, self.phase, self.begun_ns)
        self.r.depth -= 1

    cdef void finished(self) noexcept:
        cdef Request r = self.r
        cdef int how
        if _is_out(self.at):
            r.task_out = None
        else:
            r.task_in = None
        if self.c.row is not NULL:
            self.c.row.in_flight -= 1
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


cdef class Shadow:
    """What a filter must not change: put aside before it, put back after it, and compared."""
    cdef head_t *h
    cdef msg_t *m
    cdef head_t *rh
    cdef msg_t *rm
    cdef uint16_t code
    cdef cluster_t *cluster
    cdef uint64_t timeout_ns
    cdef object state
    cdef Labels labels
    cdef Response response
    cdef slot_t *c
    cdef int phase

    cdef int put_aside(self, Request r) except -1:
        r.touch()
        self.h, self.m = r.h, r.m
        if r.h is not NULL:
            r.h = head_copy(r.m)
            r.m = &r.h.m
            r.m.bits &= ~<uint32_t>(MSG_EDITED | MSG_LINE)
        self.cluster, self.timeout_ns = r.s.cluster, r.s.timeout_ns
        self.state, self.labels = r._state, r._labels
        r._state = dict(r._state) if r._state is not None else None
        r._labels = None
        self.response = r.response
        if r.response is not None:
            r.response.touch()
            self.rh, self.rm, self.code = r.response.h, r.response.m, r.response.code
            r.response.h = head_copy(r.response.m)
            r.response.m = &r.response.h.m
            r.response.m.bits &= ~<uint32_t>(MSG_EDITED | MSG_LINE)
        return 0

    cdef void give_back(self, Request r, object result, BaseException error) noexcept:
        cdef list would = []
        if r.h is not NULL and self.h is not NULL:
            if r.h.m.bits & (MSG_EDITED | MSG_LINE):
                would.append("change the request's head")
            head_free(r.h)
        r.h, r.m = self.h, self.m
        if r.s is not NULL:
            if r.s.cluster is not self.cluster or r.s.timeout_ns != self.timeout_ns:
                would.append("route it in another way")
            r.s.cluster = self.cluster
            r.s.timeout_ns = self.timeout_ns
            r.s.labels = NULL
            r.s.labels_len = 0
            if self.labels is not None:
                r.s.labels = self.labels.packed
                r.s.labels_len = self.labels.size
        r._state, r._labels = self.state, self.labels
        if self.response is not None:
            if self.response.h is not NULL:
                if self.response.h.m.bits & (MSG_EDITED | MSG_LINE):
                    would.append("change the answer's head")
                head_free(self.response.h)
            self.response.h, self.response.m, self.response.code = self.rh, self.rm, self.code
        if error is not None:
            (<Slot>self.c.owner).failed(self.phase, error, reactor_clock(r.s.proxy.reactor))
            return
        if isinstance(result, Response):
            would.append(f"answer {(<Response>result).code}")
        elif self.phase == PHASE_UPSTREAM_ERROR and result is not None:
            would.append("try again" if result else "not try again")
        if would:
            (<Slot>self.c.owner).shadowed(self.phase, would)


cdef inline bint _is_out(int at) noexcept nogil:
    return AT_RESPONSE <= at <= AT_STATUS or at == AT_RESPONSE_TRAILERS


# --- which filters take part --------------------------------------------------------------------------------------

cdef inline bint _matches(const filter_rule_t *rule, stream_t *s, msg_t *m, span_t path) noexcept nogil:
    if rule.share < 1000000 and rng_below(&s.proxy.rng, 1000000) >= rule.share:
        return False
    return rule.match is NULL or (m is not NULL and route_find(rule.match, m, path) is not NULL)


cdef uint64_t _wanted(stream_t *s, int chain, msg_t *m, span_t path) noexcept nogil:
    """A bit per filter of the chain that takes the request: decided before Python is entered."""
    cdef const filter_chain_t *k
    cdef uint64_t wanted = 0
    cdef uint32_t i
    if chain < 0:
        return 0
    k = &s.snap.chains[chain]
    for i in range(k.n):
        if _matches(&s.snap.rules[k.slots[i]], s, m, path):
            wanted |= <uint64_t>1 << i
    return wanted


cdef Request _request_of(stream_t *s, msg_t *m):
    cdef Request r
    if s.run is not NULL:
        r = <Request>s.run
    else:
        r = Request.__new__(Request)
        r.table = <Table>s.snap.filters
        r.s = s
        Py_INCREF(r)
        s.run = <void *>r
    if r.h is NULL:
        r.m = m
    return r


cdef int _enlist(Request r, int chain, uint64_t wanted) noexcept:
    """Adds the filters of a chain. A quarantined one that fails closed is returned: its place, else -1."""
    cdef const filter_chain_t *k
    cdef uint64_t now = r.s.proxy.reactor.now_ns
    cdef slot_t *c
    cdef uint32_t i
    cdef int refused = -1
    if chain < 0:
        return -1
    k = &r.s.snap.chains[chain]
    for i in range(k.n):
        if r.n_stages >= STAGES_MAX:
            break
        c = r.table.c[k.slots[i]]
        if not wanted >> i & 1:
            if c.row is not NULL:
                c.row.skipped += 1
            continue
        if c.bypassed_until_ns and slot_is_bypassed(c, now):
            if c.on_error == ON_ERROR_CLOSED and refused < 0 and not c.is_shadow:
                refused = r.n_stages
            else:
                continue
        r.stages[r.n_stages] = k.slots[i]
        r.live |= <uint64_t>1 << r.n_stages
        r.n_stages += 1
    return refused


cdef void _tap(Request r) noexcept:
    """What floor 8 is to ask about from now on."""
    cdef uint32_t phases = 0
    cdef uint32_t taps = 0
    cdef int i
    for i in range(r.n_stages):
        if (r.live & ~r.skipped) >> i & 1:
            phases |= r.slot(i).phases
    if phases >> PHASE_REQUEST_TRAILERS & 1:
        taps |= TAP_REQUEST_TRAILERS
    if phases >> PHASE_UPSTREAM_ERROR & 1:
        taps |= TAP_ERROR
    if phases >> PHASE_RETRY & 1:
        taps |= TAP_RETRY
    if phases >> PHASE_RESPONSE & 1:
        taps |= TAP_RESPONSE
    if phases >> PHASE_RESPONSE_BODY & 1:
        taps |= TAP_RESPONSE_BODY
    if phases >> PHASE_RESPONSE_TRAILERS & 1:
        taps |= TAP_RESPONSE_TRAILERS
    if phases >> PHASE_REQUEST_BODY & 1 and r.m is not NULL and r.m.framing != FRAME_NONE:
        taps |= TAP_REQUEST_BODY
    r.s.taps = taps


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
                result = method(r, headers_of(r._trailers))
            else:
                result = method(r)
        finally:
            slot_end(c, phase, begun)
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
    except BaseException as error:
        if shadow is not None:
            shadow.give_back(r, None, error)
            return FILTER_GO
        return _failed(r, at, stage, phase, error)
    if shadow is not None:
        shadow.give_back(r, result, None)
        return FILTER_GO
    return FILTER_GO if result is None else _took(r, at, stage, phase, result)


cdef void _hold(Request r, int at, Lane lane) noexcept:
    """The walk stops here. What it looks at moves into memory of its own."""
    cdef stream_t *s = r.s
    cdef span_t query
    lane.arm(lane.c.timeout_ns)
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
    _forget_pipes(r)
    stream_answer(s, 503, 0, <const char *>(<Slot>r.slot(stage).owner).details,
                  b"a filter that this request has to pass has failed")


cdef void _forget_pipes(Request r) noexcept:
    """The bodies that were on their way are nobody's any more."""
    cdef Pipe pipe
    r.s.taps &= ~<uint32_t>(TAP_REQUEST_BODY | TAP_RESPONSE_BODY | TAP_REQUEST_TRAILERS | TAP_RESPONSE_TRAILERS | TAP_ERROR)
    r.s.bits &= ~<uint32_t>(S_HOLD_IN | S_HOLD_OUT)
    for pipe in (r.pipe_in, r.pipe_out):
        if pipe is not None:
            pipe.cancel()
    r.pipe_in = r.pipe_out = None
    for task in (r.task_in, r.task_out):
        if task is not None:
            _cancel(<Task>task)
    r.task_in = r.task_out = None


cdef void _cancel(Task task) noexcept:
    cdef Lane lane
    if isinstance(task, Lane):
        lane = <Lane>task
        if lane.c.row is not NULL and not lane.is_over:
            lane.c.row.in_flight -= 1
        lane.cancel()
        if lane.shadow is not None:
            lane.shadow.give_back(lane.r, None, None)
            lane.shadow = None
        return
    task.cancel()


# --- answers that filters give ------------------------------------------------------------------------------------

cdef void _replace(Request r, Response given) noexcept:
    if r.response is not None:
        r.response.request = r
    given.request = r
    given.is_local = True
    r.response = given
    r.is_local = True


cdef int _answer(Request r, Response given, int stage) noexcept:
    """A filter answers. Those in front of it see the answer, as they would the upstream's."""
    cdef int how
    _forget_pipes(r)
    _replace(r, given)
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
    cdef bytes room = bytes(given.m.len + 2)
    cdef bytes body = given.body if given.body is not None else b""
    n = h1_copy_fields(<uint8_t *><char *>room, given.m)
    r.is_answer_sent = True
    if s.bits & S_LOCAL:
        stream_put_local(s, given.code, span_of(NULL, 0), span_of(<const uint8_t *><char *>room, n),
                         span_of(<const uint8_t *><char *>body, <uint32_t>len(body)))
        return
    stream_answer_with(s, given.code, 0, b"filter_answered", span_of(NULL, 0),
                       span_of(<const uint8_t *><char *>room, n),
                       span_of(<const uint8_t *><char *>body, <uint32_t>len(body)))


# --- what floor 8 asks --------------------------------------------------------------------------------------------

cdef int _request(stream_t *s, msg_t **m) noexcept nogil:
    cdef uint64_t wanted
    cdef span_t path = span_of(NULL, 0)
    cdef int how
    if m is not NULL:
        path = _normal(s, m[0])
    wanted = _wanted(s, s.listener.chain, m[0] if m is not NULL else NULL, path)
    if wanted == 0:
        return FILTER_GO
    with gil:
        how = _begin(s, m, wanted)
    return how


cdef span_t _normal(stream_t *s, msg_t *m) noexcept nogil:
    """The path that rules are compared with; a broken one is compared as it is, and refused afterwards."""
    cdef uint32_t n = 0
    cdef span_t path = msg_span(m, m.path_off, m.path_len)
    cdef int rc
    if path.len == 0:
        return span_of(b"/", 1)
    rc = uri_normalize(path.ptr, path.len, s.proxy.path, &n)
    return path if rc < 0 or rc == URI_SAME else span_of(s.proxy.path, n)


cdef int _begin(stream_t *s, msg_t **m, uint64_t wanted) noexcept:
    cdef Request r = _request_of(s, m[0] if m is not NULL else NULL)
    cdef int refused = _enlist(r, s.listener.chain, wanted)
    cdef int how
    r.n_listener = r.n_stages
    if m is NULL:
        # TCP: nothing but its end.
        r.entered = r.live
        return FILTER_GO
    _tap(r)
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
    wanted = _wanted(s, s.route.chain, m[0], normal)
    if s.cluster is not NULL:
        cluster_wanted = _wanted(s, s.cluster.chain, m[0], normal)
    if wanted == 0 and s.run is NULL and cluster_wanted == 0:
        return FILTER_GO
    with gil:
        how = _enter_route(s, m, path, wanted, cluster_wanted)
    return how


cdef int _enter_route(stream_t *s, msg_t **m, span_t *path, uint64_t wanted, uint64_t cluster_wanted) noexcept:
    cdef Request r = _request_of(s, m[0])
    cdef int refused
    cdef int how
    r.path_normal = path[0]
    r.cluster_wanted = cluster_wanted
    r.cluster_of = s.cluster
    refused = _enlist(r, s.route.chain, wanted)
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
            path = r.path_normal if r.path_normal.ptr is not NULL else _normal(s, r.m)
            r.cluster_wanted = _wanted(s, s.cluster.chain, r.m, path)
        refused = _enlist(r, s.cluster.chain, r.cluster_wanted)
        if refused >= 0:
            _refuse(r, refused)
            return FILTER_OVER
    return FILTER_GO


cdef int _depart(Request r) noexcept:
    """All filters of the head have spoken. FILTER_GO: it may be sent now."""
    cdef stream_t *s = r.s
    cdef Pipe pipe
    _tap(r)
    if not s.taps & TAP_REQUEST_BODY or s.cluster is NULL:
        s.taps &= ~<uint32_t>TAP_REQUEST_BODY
        r.is_sent = True
        return FILTER_GO
    pipe = pipe_new(r, False)
    r.pipe_in = pipe
    if pipe.collects:
        # The upstream is not chosen before the body has passed.
        r.touch()
        _keep_path(r)
        if r.m.bits & MSG_EXPECT_CONTINUE:
            _say_continue(s)
            head_drop_own(r.h, <const uint8_t *><char *>b"expect", 6)
        s.bits |= S_WANT_BODY
        s.down_ops.read(s)
        return FILTER_HELD
    if _changes(pipe):
        r.touch()
        head_drop_own(r.h, <const uint8_t *><char *>b"content-length", 14)
        r.m.framing = FRAME_CHUNKED
        s.framing = FRAME_CHUNKED
    r.is_sent = True
    return FILTER_GO


cdef void _keep_path(Request r) noexcept:
    cdef span_t query
    if r.path_normal.ptr is not NULL:
        query = msg_span(r.m, r.m.query_off, r.m.query_len) if r.m.query_has else span_of(NULL, 0)
        head_set_target(r.h, r.path_normal, query)
        r.path_normal = span_of(NULL, 0)


cdef bint _changes(Pipe pipe):
    cdef Stage stage
    for stage in pipe.stages:
        if stage.c.changes_body and not stage.c.is_shadow:
            return True
    return False


cdef void _say_continue(stream_t *s) noexcept:
    cdef h1_limits_t limits
    limits.head_bytes = limits.line_bytes = 1024
    limits.fields = 8
    if h1_parse_response(&s.proxy.answer, <const uint8_t *><const char *>b"HTTP/1.1 100 Continue\r\n\r\n", 25, 0, &limits, s.method) > 0:
        s.down_ops.interim(s, &s.proxy.answer)


cdef void _arrived(Request r, int at, int how) noexcept:
    """A walk that had to wait is at its end: goes on where floor 8 would have gone on."""
    cdef stream_t *s = r.s
    cdef OwnHead trailers
    if s is NULL:
        return
    if at == AT_FAILED:
        s.bits &= ~<uint32_t>S_HOLD_OUT
        if how != FILTER_OVER:
            stream_after_fault(s, FILTER_DEFAULT if how == FILTER_GO else how)
        return
    if how == FILTER_OVER:
        return
    if _is_out(at):
        s.bits &= ~<uint32_t>S_HOLD_OUT
    else:
        s.bits &= ~<uint32_t>S_HOLD_IN
    if at == AT_REQUEST:
        stream_route(s, r.m)
    elif at == AT_ROUTED:
        if _depart(r) == FILTER_GO:
            stream_go(s, r.m, span_of(NULL, 0))
    elif at == AT_STATUS:
        if how == FILTER_AGAIN and s.fault_may_repeat:
            _again(r)
        else:
            how = _answer_head(r)
            if how == FILTER_GO:
                _put_head(r)
            if how == FILTER_GO or how == FILTER_COLLECT:
                _resume(s)
    elif at == AT_RESPONSE:
        if r.is_local:
            _put_given(r)
            return
        if _begin_answer_body(r) == FILTER_GO:
            _put_head(r)
        _resume(s)
    elif at == AT_LOCAL:
        _put_given(r)
    elif at == AT_RETRY:
        stream_connect(s)
    elif at == AT_REQUEST_TRAILERS:
        trailers = r._trailers
        r._trailers = None
        stream_put_request_end(s, &trailers.h.m)
    elif at == AT_RESPONSE_TRAILERS:
        trailers = r._trailers
        r._trailers = None
        stream_put_answer_end(s, &trailers.h.m)


cdef inline void _resume(stream_t *s) noexcept:
    if s.up is not NULL:
        s.up_ops.resume(s)


# --- request bodies -----------------------------------------------------------------------------------------------

cdef int _request_body(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil:
    with gil:
        r = <Request>s.run
        pipe = <Pipe>r.pipe_in
        if pipe is None:
            stream_put_request_body(s, p, n, NULL) if n <= SMALL else _put_large(s, p, n, False)
            return FILTER_GO
        try:
            pipe.feed((<const char *>p)[:n])
            how = pipe.run()
        except BaseException as error:
            how = _pipe_broke(pipe, error)
        _moved(pipe, how)
    return FILTER_GO


cdef int _request_end(stream_t *s, msg_t *trailers) noexcept nogil:
    with gil:
        r = <Request>s.run
        pipe = <Pipe>r.pipe_in
        if trailers is not NULL:
            r._trailers = OwnHead()
            head_free((<OwnHead>r._trailers).h)
            (<OwnHead>r._trailers).h = head_copy(trailers)
        if pipe is None or (pipe.has_ended and not pipe.collects):
            if pipe is not None:
                pipe.input_ended = True
            _end_request(r)
            return FILTER_GO
        try:
            pipe.finish()
            how = pipe.run()
        except BaseException as error:
            how = _pipe_broke(pipe, error)
        _moved(pipe, how)
    return FILTER_GO


cdef void _end_request(Request r) noexcept:
    """The body has passed: the trailers, and then the end."""
    cdef stream_t *s = r.s
    cdef OwnHead trailers
    if r._trailers is None:
        stream_put_request_end(s, NULL)
        return
    if s.taps & TAP_REQUEST_TRAILERS and _walk(r, AT_REQUEST_TRAILERS, 0, -1) != FILTER_GO:
        return
    trailers = r._trailers
    r._trailers = None
    stream_put_request_end(s, &trailers.h.m)


cdef int _pipe_broke(Pipe pipe, BaseException error) noexcept:
    cdef slot_t *c = pipe.r.slot(pipe.fault)
    (<Slot>c.owner).failed(PHASE_RESPONSE_BODY if pipe.is_out else PHASE_REQUEST_BODY, error,
                           reactor_clock(pipe.r.s.proxy.reactor))
    return PIPE_FAILED


cdef void _request_room(stream_t *s) noexcept nogil:
    with gil:
        _room((<Pipe>(<Request>s.run).pipe_in), s)


cdef void _answer_room(stream_t *s) noexcept nogil:
    with gil:
        _room((<Pipe>(<Request>s.run).pipe_out), s)


cdef void _room(Pipe pipe, stream_t *s) noexcept:
    cdef int how
    if pipe is None:
        # Filtered bodies whose message turned out to have none.
        if s.bits & S_UP_PAUSED and s.up is not NULL:
            s.bits &= ~<uint32_t>S_UP_PAUSED
            s.up_ops.read(s, True)
        return
    pipe.is_full = False
    try:
        how = pipe.run()
    except BaseException as error:
        how = _pipe_broke(pipe, error)
    _moved(pipe, how)


cdef bint _put(Pipe pipe, bytes data) noexcept:
    """One piece onto the wire. True: it takes no more."""
    cdef stream_t *s = pipe.r.s
    cdef const uint8_t *p = <const uint8_t *><char *>data
    cdef uint32_t n = <uint32_t>len(data)
    if n <= SMALL:
        return stream_put_answer_body(s, p, n, NULL) if pipe.is_out else stream_put_request_body(s, p, n, NULL)
    return _put_large(s, p, n, pipe.is_out)


cdef bint _put_large(stream_t *s, const uint8_t *p, uint32_t n, bint is_out) noexcept nogil:
    cdef block_t *blk
    cdef uint32_t part
    cdef bint full = False
    while n > 0:
        part = n if n < BLOCK_LARGE else BLOCK_LARGE
        blk = block_new(&s.proxy.reactor.blocks, BLOCK_SMALL if part <= BLOCK_SMALL else BLOCK_LARGE)
        memcpy(blk.bytes, p, part)
        if is_out:
            full = stream_put_answer_body(s, blk.bytes, part, blk)
        else:
            full = stream_put_request_body(s, blk.bytes, part, blk)
        block_put(blk)
        p += part
        n -= part
    return full


cdef void _moved(Pipe pipe, int how) noexcept:
    """A pipe has done what it could."""
    cdef Request r = pipe.r
    cdef stream_t *s = r.s
    if s is NULL:
        return
    if how == PIPE_FAILED:
        _refuse(r, pipe.fault)
    elif how == PIPE_ANSWERED:
        _answer(r, pipe.given, pipe.fault)
    elif how == PIPE_TOO_LARGE:
        _too_large(r, pipe)
    elif pipe.is_out:
        _answer_moved(r, pipe, how)
    else:
        _request_moved(r, pipe, how)


cdef void _too_large(Request r, Pipe pipe) noexcept:
    cdef bint is_out = pipe.is_out
    r.skipped |= <uint64_t>1 << pipe.fault
    _forget_pipes(r)
    if is_out:
        stream_answer(r.s, 502, 0, b"filter_body_too_large", b"the answer's body is larger than a filter's body_limit")
    else:
        stream_answer(r.s, 413, 0, b"filter_body_too_large", b"the request's body is larger than a filter's body_limit")


cdef void _request_moved(Request r, Pipe pipe, int how) noexcept:
    cdef stream_t *s = r.s
    if pipe.has_ended:
        s.bits &= ~<uint32_t>S_HOLD_IN
        if pipe.collects:
            _send_collected(r, pipe)
        elif pipe.input_ended:
            # One that ended early waits for the client's end: only then is the connection free.
            _end_request(r)
        elif not s.bits & S_WANT_BODY:
            s.bits |= S_WANT_BODY
            s.down_ops.read(s)
        return
    if how == PIPE_HELD:
        s.bits |= S_HOLD_IN
        s.bits &= ~<uint32_t>S_WANT_BODY
        return
    s.bits &= ~<uint32_t>S_HOLD_IN
    if not pipe.is_full and not s.bits & (S_REQUEST_DONE | S_WANT_BODY):
        s.bits |= S_WANT_BODY
        s.down_ops.read(s)


cdef void _send_collected(Request r, Pipe pipe) noexcept:
    """The whole body is here, and becomes what may be sent again."""
    cdef stream_t *s = r.s
    cdef bytes data
    cdef uint32_t n
    if s.bits & S_UP_ENDED:
        return
    if not pipe.input_ended:
        s.bits |= S_WANT_BODY
        s.down_ops.read(s)
        return
    data = b"".join(pipe.collected)
    pipe.collected = []
    n = <uint32_t>len(data)
    if n:
        s.replay = block_new(&s.proxy.reactor.blocks,
                             BLOCK_SMALL if n <= BLOCK_SMALL else BLOCK_LARGE if n <= BLOCK_LARGE else n)
        memcpy(s.replay.bytes, <char *>data, n)
    s.replay_len = n
    s.bits |= S_UP_ENDED
    s.framing = FRAME_LENGTH
    _set_length(r.h, n)
    r.is_sent = True
    stream_go(s, r.m, span_of(NULL, 0))


cdef void _set_length(head_t *h, uint64_t n) noexcept:
    cdef bytes text = str(n).encode()
    head_drop_own(h, <const uint8_t *><char *>b"content-length", 14)
    head_add_own(h, <const uint8_t *><char *>b"content-length", 14,
                 span_of(<const uint8_t *><char *>text, <uint32_t>len(text)))
    h.m.framing = FRAME_LENGTH
    h.m.length = n


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
    if s.taps & TAP_ERROR and m[0].status >= 500:
        s.fault_why = b"the upstream answered with a server error"
        r._error = error_of(s, FAULT_STATUS, s.endpoint.text.ptr[:s.endpoint.text.len].decode())
        how = _walk(r, AT_STATUS, 0, -1)
        if how == FILTER_HELD or how == FILTER_OVER:
            return how
        if how == FILTER_AGAIN and s.fault_may_repeat:
            _again(r)
            return FILTER_OVER
    how = _answer_head(r)
    if how == FILTER_GO:
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


cdef void _again(Request r) noexcept:
    r.response = None
    stream_send_again(r.s)


cdef int _answer_head(Request r) noexcept:
    """on_response of all, and the beginning of the body. FILTER_GO: the head may be put."""
    cdef int how = _walk(r, AT_RESPONSE, 0, r.n_stages)
    if how != FILTER_GO:
        return how
    if r.is_local:
        _put_given(r)
        return FILTER_OVER
    return _begin_answer_body(r)


cdef int _begin_answer_body(Request r) noexcept:
    cdef stream_t *s = r.s
    cdef Pipe pipe
    if not s.taps & TAP_RESPONSE_BODY:
        return FILTER_GO
    if r.response.m.status == 101 or r.response.m.framing == FRAME_NONE or (
            r.response.m.framing == FRAME_LENGTH and r.response.m.length == 0):
        s.taps &= ~<uint32_t>TAP_RESPONSE_BODY
        return FILTER_GO
    pipe = pipe_new(r, True)
    if pipe is None:
        s.taps &= ~<uint32_t>TAP_RESPONSE_BODY
        return FILTER_GO
    r.pipe_out = pipe
    r.response.touch()
    if pipe.collects:
        return FILTER_COLLECT
    if _changes(pipe):
        head_drop_own(r.response.h, <const uint8_t *><char *>b"content-length", 14)
        r.response.m.framing = FRAME_CHUNKED
    return FILTER_GO


cdef void _put_head(Request r) noexcept:
    r.response.touch()
    r.is_answer_sent = True
    stream_put_answer_head(r.s, r.response.m)


cdef int _answer_body(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil:
    cdef int how
    with gil:
        how = _feed_answer(s, p, n)
    return how


cdef int _feed_answer(stream_t *s, const uint8_t *p, uint32_t n) noexcept:
    cdef Request r = <Request>s.run
    cdef Pipe pipe = r.pipe_out
    cdef int how
    if pipe is None:
        if n <= SMALL:
            stream_put_answer_body(s, p, n, NULL)
        else:
            _put_large(s, p, n, True)
        return FILTER_GO
    if pipe.has_ended:
        return FILTER_GO        # what comes behind its end is dropped
    try:
        pipe.feed((<const char *>p)[:n])
        how = pipe.run()
    except BaseException as error:
        how = _pipe_broke(pipe, error)
    _moved(pipe, how)
    if r.s is NULL or r.s.up is NULL:
        return FILTER_OVER
    return FILTER_HELD if s.bits & S_HOLD_OUT else FILTER_GO


cdef int _answer_end(stream_t *s, msg_t *trailers) noexcept nogil:
    with gil:
        _end_answer_input(s, trailers)
    return FILTER_OVER


cdef void _end_answer_input(stream_t *s, msg_t *trailers) noexcept:
    cdef Request r = <Request>s.run
    cdef Pipe pipe = r.pipe_out
    cdef int how
    if trailers is not NULL:
        r._trailers = OwnHead()
        head_free((<OwnHead>r._trailers).h)
        (<OwnHead>r._trailers).h = head_copy(trailers)
    if pipe is None or (pipe.has_ended and not pipe.collects):
        _end_answer(r)
        return
    try:
        pipe.finish()
        how = pipe.run()
    except BaseException as error:
        how = _pipe_broke(pipe, error)
    _moved(pipe, how)


cdef void _answer_moved(Request r, Pipe pipe, int how) noexcept:
    cdef stream_t *s = r.s
    cdef bint was_held = s.bits & S_HOLD_OUT != 0
    if pipe.has_ended and pipe.input_ended:
        s.bits &= ~<uint32_t>S_HOLD_OUT
        if pipe.collects:
            _put_collected(r, pipe)
        else:
            _end_answer(r)
        return
    if how == PIPE_HELD and not pipe.has_ended:
        if s.up is not NULL and not was_held:
            s.up_ops.read(s, False)
        s.bits |= S_HOLD_OUT
        return
    s.bits &= ~<uint32_t>S_HOLD_OUT
    if pipe.is_full or s.up is NULL:
        return
    if s.bits & S_UP_PAUSED:
        s.bits &= ~<uint32_t>S_UP_PAUSED
        if not was_held:
            s.up_ops.read(s, True)
    if was_held:
        s.up_ops.resume(s)


cdef void _put_collected(Request r, Pipe pipe) noexcept:
    cdef stream_t *s = r.s
    cdef bytes data = b"".join(pipe.collected)
    cdef uint32_t n = <uint32_t>len(data)
    pipe.collected = []
    pipe.collects = False
    r._trailers = None        # the answer has a length now: it cannot have any
    _set_length(r.response.h, n)
    _put_head(r)
    if n:
        if n <= SMALL:
            stream_put_answer_body(s, <const uint8_t *><char *>data, n, NULL)
        else:
            _put_large(s, <const uint8_t *><char *>data, n, True)
    stream_put_answer_end(s, NULL)


cdef void _end_answer(Request r) noexcept:
    cdef stream_t *s = r.s
    cdef OwnHead trailers
    if r._trailers is None:
        stream_put_answer_end(s, NULL)
        return
    if s.taps & TAP_RESPONSE_TRAILERS and _walk(r, AT_RESPONSE_TRAILERS, 0, r.n_stages) != FILTER_GO:
        return
    trailers = r._trailers
    r._trailers = None
    stream_put_answer_end(s, &trailers.h.m)


cdef int _local(stream_t *s, int status, span_t content_type, span_t body) noexcept nogil:
    cdef int how
    with gil:
        how = _answered_locally(s, status, content_type, body)
    return how


cdef int _answered_locally(stream_t *s, int status, span_t content_type, span_t body) noexcept:
    cdef Request r = <Request>s.run
    cdef Response made
    cdef bytes text
    cdef int how
    _forget_pipes(r)
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
    except ValueError:
        made = Response(status)
    _replace(r, made)
    how = _walk(r, AT_LOCAL, 0, r.n_stages)
    if how == FILTER_GO:
        _put_given(r)
        return FILTER_OVER
    return how


# --- the end ------------------------------------------------------------------------------------------------------

cdef class Detached(Task):
    """An on_complete that waits for something after its exchange."""
    cdef slot_t *c
    cdef Table table          # keeps the slot
    cdef uint64_t begun_ns

    cdef void entering(self) noexcept:
        self.begun_ns = slot_begin(self.c)

    cdef void leaving(self) noexcept:
        slot_end(self.c, PHASE_COMPLETE, self.begun_ns)

    cdef void finished(self) noexcept:
        detached.discard(self)
        if self.c.row is not NULL:
            self.c.row.in_flight -= 1
        if self.error is not None:
            (<Slot>self.c.owner).failed(PHASE_COMPLETE, self.error, reactor_clock(self.reactor))


cdef void _complete(stream_t *s) noexcept nogil:
    with gil:
        _completed(<Request>s.run)


cdef void _completed(Request r) noexcept:
    cdef stream_t *s = r.s
    cdef uint64_t now = reactor_clock(s.proxy.reactor)
    cdef Outcome outcome = None
    cdef Detached task
    cdef slot_t *c
    cdef uint64_t begun
    cdef int i
    _forget_pipes(r)
    r.is_sent = True
    r.is_answer_sent = True
    for i in range(r.n_stages - 1, -1, -1):
        c = r.slot(i)
        if not r.entered >> i & 1 or not c.phases >> PHASE_COMPLETE & 1:
            continue
        try:
            if outcome is None:
                outcome = outcome_of(s, now)
            r.depth += 1
            r.phase = PHASE_COMPLETE
            begun = slot_begin(c)
            try:
                result = (<object>c.calls[PHASE_COMPLETE])(r, outcome)
                if result is not None and PyCoro_CheckExact(result):
                    task = Detached.__new__(Detached)
                    task.reactor = s.proxy.reactor
                    task.c = c
                    task.table = r.table
                    task.coro = result
                    if len(detached) >= DETACHED_MOST:
                        result.close()
                        raise RuntimeError(f"{DETACHED_MOST} of its on_complete phases wait already: this one is left out")
                    if task.step() == TASK_HELD:
                        detached.add(task)
                        task.arm(c.timeout_ns)
                        if c.row is not NULL:
                            c.row.in_flight += 1
                    result = task.result
            finally:
                slot_end(c, PHASE_COMPLETE, begun)
                r.depth -= 1
            if result is not None:
                raise TypeError(f"returned a {type(result).__name__}: None is allowed")
        except BaseException as error:
            (<Slot>c.owner).failed(PHASE_COMPLETE, error, now)


cdef void _release(stream_t *s) noexcept nogil:
    with gil:
        r = <Request>s.run
        s.run = NULL
        s.labels = NULL
        if r.response is not None and r.response.h is NULL:
            r.response.m = NULL
        r.s = NULL
        if r.h is NULL:
            r.m = NULL
        r.response = None
        r._state = None
        r._labels = None
        r._connection = None
        r._error = None
        r._trailers = None
        Py_DECREF(r)


# --- connections --------------------------------------------------------------------------------------------------

cdef class Entry(Task):
    """A connection whose on_connection waits."""
    cdef down_t *d
    cdef Table table
    cdef int chain, place
    cdef slot_t *c
    cdef Connection connection
    cdef uint64_t begun_ns

    cdef void entering(self) noexcept:
        self.begun_ns = slot_begin(self.c)

    cdef void leaving(self) noexcept:
        slot_end(self.c, PHASE_CONNECTION, self.begun_ns)

    cdef void finished(self) noexcept:
        cdef down_t *d = self.d
        cdef int how
        if d is NULL:
            return
        self.d = NULL
        d.run = NULL
        Py_DECREF(self)
        how = _entered(self.c, self.result, self.error, d)
        if how == FILTER_GO:
            how = _enter(d, self.chain, self.place + 1, self.connection)
        if how == FILTER_GO:
            door_admit(d)


cdef int _entered(slot_t *c, object result, BaseException error, down_t *d) noexcept:
    if error is None and result is not None and not isinstance(result, bool):
        error = TypeError(f"returned a {type(result).__name__}: None, True or False is allowed")
    if error is not None:
        (<Slot>c.owner).failed(PHASE_CONNECTION, error, reactor_clock(d.proxy.reactor))
        result = c.on_error != ON_ERROR_CLOSED
    if result is False and not c.is_shadow:
        down_close(d)
        return FILTER_OVER
    return FILTER_GO


cdef int _enter(down_t *d, int chain, int place, Connection connection) noexcept:
    cdef const filter_chain_t *k = &d.snap.chains[chain]
    cdef Table table = <Table>d.snap.filters
    cdef Entry entry
    cdef slot_t *c
    cdef BaseException failed
    cdef uint64_t begun
    while place < k.n:
        c = table.c[k.slots[place]]
        place += 1
        if not c.phases >> PHASE_CONNECTION & 1 or slot_is_bypassed(c, d.proxy.reactor.now_ns):
            continue
        failed = None
        result = None
        try:
            if connection is None:
                connection = connection_of(d)
            begun = slot_begin(c)
            try:
                result = (<object>c.calls[PHASE_CONNECTION])(connection)
            finally:
                slot_end(c, PHASE_CONNECTION, begun)
            if result is not None and PyCoro_CheckExact(result):
                entry = Entry.__new__(Entry)
                entry.reactor = d.proxy.reactor
                entry.coro = result
                entry.c = c
                entry.table = table
                entry.chain = chain
                entry.place = place - 1
                entry.connection = connection
                if entry.step() == TASK_HELD:
                    entry.d = d
                    entry.arm(c.timeout_ns)
                    d.run = <void *>entry
                    Py_INCREF(entry)
                    return FILTER_HELD
                result = entry.result
        except BaseException as error:
            failed = error
        if _entered(c, result, failed, d) != FILTER_GO:
            return FILTER_OVER
    return FILTER_GO


cdef int _accept(down_t *d) noexcept nogil:
    cdef int how
    with gil:
        how = _enter(d, d.listener.chain, 0, None)
    return how


cdef void _left(down_t *d) noexcept nogil:
    with gil:
        entry = <Entry>d.run
        d.run = NULL
        entry.d = NULL
        entry.cancel()
        Py_DECREF(entry)


cdef filter_ops_t OPS
OPS.accept = _accept
OPS.left = _left
OPS.request = _request
OPS.routed = _routed
OPS.request_body = _request_body
OPS.request_end = _request_end
OPS.request_room = _request_room
OPS.failed = _on_fault
OPS.retry = _retry
OPS.response = _response
OPS.answer_body = _answer_body
OPS.answer_end = _answer_end
OPS.answer_room = _answer_room
OPS.local = _local
OPS.complete = _complete
OPS.release = _release
OPS.close = _close


cdef void _close() noexcept nogil:
    with gil:
        for task in list(detached):
            (<Task>task).cancel()
        detached.clear()
        calls_begin(NULL)
        wait_module.wait_reactor = NULL


cdef void _free_table(void *filters) noexcept nogil:
    with gil:
        table = <Table>filters
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
    body_module.pipe_put = _put
    body_module.pipe_moved = _moved
    snapshot_on_free(_free_table)
    table.attach(p.stats)
    p.filters = &OPS
