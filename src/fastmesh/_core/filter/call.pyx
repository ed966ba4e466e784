"""Requests that filters make: through the mesh's clusters, with their balancing, pools, limits and time-outs.

A call is a stream without a client: its other side is this file, which collects the answer and finishes a wait. No
filters see it.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastmesh._core.filter.headers cimport OwnHead, headers_of
from fastmesh._core.filter.wait cimport Wait
from fastmesh._core.http.edit cimport head_copy, head_free
from fastmesh._core.http.msg cimport FRAME_LENGTH, FRAME_NONE, msg_t
from fastmesh._core.io.reactor cimport reactor_soon, soon_t
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new, block_t
from fastmesh._core.mem.counter cimport FLAG_DC
from fastmesh._core.mem.raw cimport raw_give, raw_zeroed
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.proxy.mux cimport down_ops_t, down_t, proxy_t, stream_t
from fastmesh._core.proxy.stream cimport stream_end, stream_new, stream_on_call, stream_wire_room
from fastmesh._core.route.route_table cimport method_in_capitals
from fastmesh._core.snapshot.snapshot cimport snapshot_get, snapshot_put, snapshot_t

cdef enum:
    CALLS_MOST = 10000        # at a time, per worker

cdef proxy_t *proxy = NULL
cdef uint32_t n_calls = 0


class CallFailed(Exception):
    """A call got no answer: its cluster has no endpoint, the connection failed, it took too long, or it was too large.

    `status` is what a client would have been answered with, `reason` the response code details.
    """

    def __init__(self, status, reason, message):
        super().__init__(message)
        self.status = status
        self.reason = reason


ctypedef struct call_t:
    down_t down               # first: what stands in a client's place
    soon_t soon
    void *call                # the Call, borrowed: it lives as long as this
    bint is_over


cdef class Call(Wait):
    """One request and its answer: (status, headers, body)."""
    cdef call_t *c
    cdef str cluster
    cdef bytes head
    cdef bytes body
    cdef bytes method
    cdef uint64_t timeout_ns
    cdef uint64_t limit
    cdef OwnHead answer
    cdef list pieces
    cdef uint64_t size

    def __init__(self, str cluster, bytes method, bytes head, bytes body, double timeout, uint64_t limit):
        self.cluster = cluster
        self.method = method
        self.head = head
        self.body = body
        self.timeout_ns = <uint64_t>(timeout * 1e9)
        self.limit = limit
        self.pieces = []

    def __dealloc__(self):
        if self.c is not NULL:
            _drop(self.c)

    cdef int begin(self) except -1:
        global n_calls
        cdef proxy_t *p = proxy
        cdef snapshot_t *snap = p.snap if p is not NULL else NULL
        cdef bytes name = self.cluster.encode()
        cdef call_t *c
        cdef stream_t *s
        cdef uint32_t n = <uint32_t>len(self.head)
        cdef uint32_t i
        cdef int found = -1
        if snap is NULL or snap.n_listeners == 0:
            raise CallFailed(503, "no_worker", "calls through the mesh work in a worker that serves, not in start()")
        for i in range(snap.n_clusters):
            if snap.clusters[i].name.ptr[:snap.clusters[i].name.len] == name:
                found = <int>i
        if found < 0:
            raise CallFailed(503, "cluster_not_found", f"there is no cluster {self.cluster!r} in the configuration")
        if n_calls >= CALLS_MOST:
            raise CallFailed(503, "overflow", f"{CALLS_MOST} calls of filters are under way in this worker")
        c = <call_t *>raw_zeroed(sizeof(call_t))
        n_calls += 1
        self.c = c
        c.call = <void *>self
        c.soon.run = _on_soon
        c.down.proxy = p
        c.down.snap = snapshot_get(snap)
        c.down.listener = &snap.listeners[0]
        s = stream_new(&c.down, &CALL)
        c.down.stream = s
        s.cluster = &s.snap.clusters[found]
        s.method = <uint8_t>method_in_capitals(
            span_of(<const uint8_t *><char *>self.method, <uint32_t>len(self.method)))
        s.timeout_ns = self.timeout_ns
        memcpy(stream_wire_room(s, n), <const char *>self.head, n)
        s.wire_len = n
        s.framing = FRAME_NONE
        n = <uint32_t>len(self.body)
        if n:
            s.framing = FRAME_LENGTH
            s.replay = block_new(&p.reactor.blocks,
                                 BLOCK_SMALL if n <= BLOCK_SMALL else BLOCK_LARGE if n <= BLOCK_LARGE else n)
            memcpy(s.replay.bytes, <const char *>self.body, n)
            s.replay_len = n
        with nogil:
            stream_on_call(s)
        return 0

    cdef void give_up(self) noexcept:
        cdef stream_t *s
        if self.c is NULL:
            return
        s = self.c.down.stream
        if s is not NULL:
            self.c.down.stream = NULL
            s.flags |= FLAG_DC
            s.details = b"call_given_up"
            stream_end(s)
        self.release()

    cdef void release(self) noexcept:
        cdef call_t *c = self.c
        self.c = NULL
        if c is not NULL:
            _drop(c)


cdef void _drop(call_t *c) noexcept:
    global n_calls
    c.call = NULL
    if c.is_over:
        return
    c.is_over = True
    n_calls -= 1
    snapshot_put(c.down.snap)
    # The stream's callers may still hold `down` when the answer's end has just been told.
    if not c.soon.is_due:
        reactor_soon(proxy.reactor, &c.soon)


cdef void _on_soon(soon_t *k) noexcept nogil:
    cdef call_t *c = <call_t *>(<uint8_t *>k - <size_t>(&(<call_t *>0).soon))
    if c.is_over:
        raw_give(c)
        return
    with gil:
        # Its answer is too large.
        if c.call is not NULL:
            call = <Call>c.call
            c.call = NULL
            _finish(call, None, _too_large(call))


cdef object _too_large(Call call):
    return CallFailed(502, "too_large", f"the answer of cluster {call.cluster!r} is larger than {call.limit} bytes")


cdef void _finish(Call call, object value, BaseException error) noexcept:
    cdef stream_t *s = call.c.down.stream if call.c is not NULL else NULL
    if s is not NULL:
        call.c.down.stream = NULL
        stream_end(s)
    call.release()
    call.settle(value, error)


cdef inline call_t *_of(stream_t *s) noexcept nogil:
    return <call_t *>s.down


cdef void _head(stream_t *s, msg_t *m, int framing) noexcept nogil:
    if _of(s).call is NULL:
        return
    with gil:
        call = <Call>_of(s).call
        call.answer = OwnHead()
        head_free(call.answer.h)
        call.answer.h = head_copy(m)


cdef bint _body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    cdef bint is_full
    if _of(s).call is NULL:
        return True
    with gil:
        call = <Call>_of(s).call
        call.size += n
        is_full = call.size > call.limit
        if is_full:
            call.pieces = []
            reactor_soon(s.proxy.reactor, &_of(s).soon)
        else:
            call.pieces.append((<const char *>p)[:n])
    return is_full


cdef void _local(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil:
    pass    # `_end` follows, and sees that there is no answer of an upstream


cdef void _end(stream_t *s, msg_t *trailers) noexcept nogil:
    if _of(s).call is NULL:
        s.down.stream = NULL
        stream_end(s)
        return
    with gil:
        call = <Call>_of(s).call
        if call.size > call.limit:
            _finish(call, None, _too_large(call))
        elif call.answer is not None:
            _finish(call, (call.answer.h.m.status, headers_of(call.answer), b"".join(call.pieces)), None)
        else:
            reason = s.details.decode() if s.details is not NULL else "no_answer"
            _finish(call, None, CallFailed(s.status, reason, f"no answer from cluster {call.cluster!r}: {reason}"))


cdef void _cut(stream_t *s) noexcept nogil:
    if _of(s).call is NULL:
        s.down.stream = NULL
        stream_end(s)
        return
    with gil:
        call = <Call>_of(s).call
        _finish(call, None, CallFailed(502, "cut", f"the answer from cluster {call.cluster!r} is not whole"))


cdef void _nothing(stream_t *s) noexcept nogil:
    pass


cdef void _no_interim(stream_t *s, msg_t *m) noexcept nogil:
    pass


cdef down_ops_t CALL
CALL.name = b"call"
CALL.interim = _no_interim
CALL.head = _head
CALL.local = _local
CALL.body = _body
CALL.end = _end
CALL.cut = _cut
CALL.read = _nothing
CALL.tunnel = _nothing


cdef void calls_begin(proxy_t *p) noexcept:
    global proxy
    proxy = p
