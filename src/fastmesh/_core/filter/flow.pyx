"""See flow.pxd."""
from libc.stdint cimport uint64_t
from libc.string cimport memcpy
from fastmesh._core.filter cimport pipe as pipe_module
from fastmesh._core.filter.chain cimport Slot, slot_t
from fastmesh._core.filter.degrade cimport degrade_cancel
from fastmesh._core.filter.enlist cimport TAP_COMPLETE
from fastmesh._core.filter.headers cimport OwnHead
from fastmesh._core.filter.pipe cimport PIPE_ANSWERED, PIPE_FAILED, PIPE_HELD, PIPE_TOO_LARGE, Stage, pipe_new
from fastmesh._core.http.edit cimport head_add_own, head_copy, head_drop_own, head_free, head_set_target, head_t
from fastmesh._core.http.h1 cimport h1_limits_t, h1_parse_response
from fastmesh._core.http.msg cimport FRAME_CHUNKED, FRAME_LENGTH, FRAME_NONE, msg_span
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new, block_put, block_t
from fastmesh._core.mem.counter cimport PHASE_REQUEST_BODY, PHASE_RESPONSE_BODY
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.proxy.local cimport local_answer
from fastmesh._core.proxy.mux cimport (
    FILTER_COLLECT, FILTER_GO, FILTER_HELD, FILTER_OVER, S_HOLD_IN, S_HOLD_OUT, S_REQUEST_DONE, S_UP_ENDED,
    S_UP_PAUSED, S_WANT_BODY, TAP_ERROR, TAP_REQUEST_BODY, TAP_REQUEST_TRAILERS, TAP_RESPONSE_BODY,
    TAP_RESPONSE_TRAILERS)
from fastmesh._core.proxy.stream cimport (
    stream_go, stream_leave_upstream, stream_put_answer_body, stream_put_answer_end, stream_put_answer_head,
    stream_put_request_body, stream_put_request_end)

cdef enum:
    SMALL = 2048              # pieces up to this are copied on their way out anyway


cdef void flow_keep_path(Request r) noexcept:
    cdef span_t query
    if r.path_normal.ptr is not NULL:
        query = msg_span(r.m, r.m.query_off, r.m.query_len) if r.m.query_has else span_of(NULL, 0)
        head_set_target(r.h, r.path_normal, query)
        r.path_normal = span_of(NULL, 0)


cdef bint flow_changes(Pipe pipe):
    cdef Stage stage
    for stage in pipe.stages:
        if stage.c.changes_body and not stage.c.is_shadow:
            return True
    return False


cdef void flow_say_continue(stream_t *s) noexcept:
    cdef h1_limits_t limits
    limits.head_bytes = limits.line_bytes = 1024
    limits.fields = 8
    cdef const char *head = b"HTTP/1.1 100 Continue\r\n\r\n"
    if h1_parse_response(&s.proxy.answer, <const uint8_t *>head, 25, 0, &limits, s.method) > 0:
        s.down_ops.interim(s, &s.proxy.answer)


cdef void flow_forget(Request r) noexcept:
    """The bodies that were on their way are nobody's any more."""
    r.s.taps &= ~<uint32_t>(TAP_REQUEST_BODY | TAP_RESPONSE_BODY | TAP_REQUEST_TRAILERS | TAP_RESPONSE_TRAILERS |
                            TAP_ERROR)
    r.s.bits &= ~<uint32_t>(S_HOLD_IN | S_HOLD_OUT | S_WANT_BODY)
    if r.pipe_in is not None:
        (<Pipe>r.pipe_in).cancel()
    if r.pipe_out is not None:
        (<Pipe>r.pipe_out).cancel()
    r.pipe_in = r.pipe_out = None
    if r.task_in is not None:
        r.task_in.cancel()
    if r.task_out is not None:
        r.task_out.cancel()
    if r.task_retry is not None:
        r.task_retry.cancel()
    r.task_in = r.task_out = r.task_retry = None
    degrade_cancel(r)


cdef int flow_request_body(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil:
    with gil:
        _feed(<Pipe>(<Request>s.run).pipe_in, s, p, n, False)
    return FILTER_GO


cdef void _feed(Pipe pipe, stream_t *s, const uint8_t *p, uint32_t n, bint is_out) noexcept:
    """More of a body has come."""
    cdef int how
    if pipe is None:
        _put_bytes(s, p, n, is_out)
        return
    try:
        pipe.feed((<const char *>p)[:n])
        how = pipe.run()
    except BaseException as error:
        how = _pipe_broke(pipe, error)
    _moved(pipe, how)


cdef int flow_request_end(stream_t *s, msg_t *trailers) noexcept nogil:
    with gil:
        _end_input(s, trailers, False)
    return FILTER_GO


cdef void _end_input(stream_t *s, msg_t *trailers, bint is_out) noexcept:
    """All of a body has come."""
    cdef Request r = <Request>s.run
    cdef Pipe pipe = <Pipe>r.pipe_out if is_out else <Pipe>r.pipe_in
    cdef int how
    cdef OwnHead own
    if trailers is not NULL:
        own = OwnHead()
        head_free(own.h)
        own.h = head_copy(trailers)
        if is_out:
            r._trailers_out = own
        else:
            r._trailers_in = own
    if pipe is None or (pipe.has_ended and not pipe.collects):
        if pipe is not None:
            pipe.input_ended = True
        _end_output(r, is_out)
        return
    try:
        pipe.finish()
        how = pipe.run()
    except BaseException as error:
        how = _pipe_broke(pipe, error)
    _moved(pipe, how)


cdef void _end_output(Request r, bint is_out) noexcept:
    """The body has passed: the trailers, and then the end."""
    cdef OwnHead trailers = r._trailers_out if is_out else r._trailers_in
    cdef Pipe pipe = <Pipe>r.pipe_out if is_out else <Pipe>r.pipe_in
    cdef msg_t *m = NULL
    if pipe is not None:
        pipe.is_done = True
    if trailers is not None:
        if (r.s.taps & (TAP_RESPONSE_TRAILERS if is_out else TAP_REQUEST_TRAILERS)
                and flow_up.trailers(r, is_out) != FILTER_GO):
            return
        if is_out:
            r._trailers_out = None
        else:
            r._trailers_in = None
        m = &trailers.h.m
    if is_out:
        stream_put_answer_end(r.s, m)
    else:
        stream_put_request_end(r.s, m)


cdef int _pipe_broke(Pipe pipe, BaseException error) noexcept:
    cdef slot_t *c = pipe.r.slot(pipe.fault)
    (<Slot>c.owner).failed(PHASE_RESPONSE_BODY if pipe.is_out else PHASE_REQUEST_BODY, error,
                           reactor_clock(pipe.r.s.proxy.reactor))
    return PIPE_FAILED


cdef void flow_request_room(stream_t *s) noexcept nogil:
    with gil:
        _room((<Pipe>(<Request>s.run).pipe_in), s)


cdef void flow_answer_room(stream_t *s) noexcept nogil:
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
    return _put_bytes(pipe.r.s, <const uint8_t *><char *>data, <uint32_t>len(data), pipe.is_out)


cdef bint _put_bytes(stream_t *s, const uint8_t *p, uint32_t n, bint is_out) noexcept nogil:
    cdef block_t *blk
    cdef uint32_t part
    cdef bint full = False
    if n <= SMALL:
        return stream_put_answer_body(s, p, n, NULL) if is_out else stream_put_request_body(s, p, n, NULL)
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
    if s is NULL or pipe.is_done:
        return
    if how == PIPE_FAILED:
        flow_up.refuse(r, pipe.fault)
    elif how == PIPE_ANSWERED:
        flow_up.answer(r, pipe.given, pipe.fault)
    elif how == PIPE_TOO_LARGE:
        _too_large(r, pipe)
    elif pipe.is_out:
        _answer_moved(r, pipe, how)
    else:
        _request_moved(r, pipe, how)


cdef void _too_large(Request r, Pipe pipe) noexcept:
    cdef bint is_out = pipe.is_out
    r.skipped |= <uint64_t>1 << pipe.fault
    flow_forget(r)
    if is_out:
        local_answer(r.s, 502, 0, b"filter_body_too_large", b"the answer's body is larger than a filter's body_limit")
    else:
        local_answer(r.s, 413, 0, b"filter_body_too_large", b"the request's body is larger than a filter's body_limit")


cdef void _request_moved(Request r, Pipe pipe, int how) noexcept:
    cdef stream_t *s = r.s
    if pipe.has_ended:
        s.bits &= ~<uint32_t>S_HOLD_IN
        if pipe.collects:
            _send_collected(r, pipe)
        elif pipe.input_ended:
            # One that ended early waits for the client's end: only then is the connection free.
            _end_output(r, False)
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
    pipe.is_done = True
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


cdef int flow_begin_answer(Request r) noexcept:
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
    s.taps |= TAP_COMPLETE
    r.response.touch()
    if pipe.collects:
        return FILTER_COLLECT
    if flow_changes(pipe):
        head_drop_own(r.response.h, <const uint8_t *><char *>b"content-length", 14)
        r.response.m.framing = FRAME_CHUNKED
    return FILTER_GO


cdef void flow_put_head(Request r) noexcept:
    r.response.touch()
    if not r.is_answer_sent:
        r.put_timing(r.response.h)
    r.is_answer_sent = True
    stream_put_answer_head(r.s, r.response.m)


cdef int flow_answer_body(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil:
    cdef int how
    with gil:
        how = _feed_answer(s, p, n)
    return how


cdef int _feed_answer(stream_t *s, const uint8_t *p, uint32_t n) noexcept:
    cdef Request r = <Request>s.run
    cdef Pipe pipe = <Pipe>r.pipe_out
    _feed(pipe, s, p, n, True)
    if pipe is None:
        return FILTER_GO
    if r.s is NULL or r.s.up is NULL:
        return FILTER_OVER
    return FILTER_HELD if s.bits & S_HOLD_OUT else FILTER_GO


cdef int flow_answer_end(stream_t *s, msg_t *trailers) noexcept nogil:
    with gil:
        _end_input(s, trailers, True)
    return FILTER_OVER


cdef void _answer_moved(Request r, Pipe pipe, int how) noexcept:
    cdef stream_t *s = r.s
    cdef bint was_held = s.bits & S_HOLD_OUT != 0
    if pipe.has_ended:
        s.bits &= ~<uint32_t>S_HOLD_OUT
        # It ends once, however often the client makes room from here on.
        s.taps &= ~<uint32_t>TAP_RESPONSE_BODY
        if not pipe.input_ended:
            # A generator that has returned: nobody wants the rest of it.
            stream_leave_upstream(s)
        if pipe.collects:
            _put_collected(r, pipe)
        else:
            _end_output(r, True)
        return
    if how == PIPE_HELD:
        if s.up is not NULL and not was_held:
            s.up_ops.read(s, False)
        s.bits |= S_HOLD_OUT
        return
    if was_held and pipe.is_full and s.up is not NULL:
        return      # what the upstream has said meanwhile goes on when the client takes this
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
    pipe.is_done = True
    r._trailers_out = None    # the answer has a length now: it cannot have any
    _set_length(r.response.h, n)
    flow_put_head(r)
    if n:
        _put_bytes(s, <const uint8_t *><char *>data, n, True)
    stream_put_answer_end(s, NULL)


cdef void flow_begin() noexcept:
    pipe_module.pipe_put = _put
    pipe_module.pipe_moved = _moved
