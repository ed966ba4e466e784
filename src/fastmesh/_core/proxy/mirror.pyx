"""See mirror.pxd."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastmesh._core.http.msg cimport msg_t, msg_value
from fastmesh._core.http.token cimport HEADER_HOST
from fastmesh._core.io.reactor cimport reactor_soon, soon_t
from fastmesh._core.mem.block cimport block_get
from fastmesh._core.mem.counter cimport G_MIRROR_DROPPED, G_MIRRORED
from fastmesh._core.mem.raw cimport raw_give, raw_zeroed
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport S_CHUNK_UP, down_ops_t, down_t
from fastmesh._core.proxy.stream cimport stream_end, stream_new, stream_on_call, stream_wire_room
from fastmesh._core.proxy.wire_head cimport wire_head
from fastmesh._core.snapshot.snapshot cimport snapshot_get, snapshot_put

cdef enum:
    COPIES_MOST = 1000        # under way at a time, per worker

cdef uint64_t TIME_MOST = 30000000000    # ns that a copy of a request without a limit of its own may take

# What stands in a client's place.
ctypedef struct mirror_t:
    down_t down               # first
    soon_t soon
    mirror_t *next            # all of the worker's
    mirror_t *prev

cdef void _free(soon_t *k) noexcept nogil:
    """When no caller holds its stream any more."""
    cdef mirror_t *c = <mirror_t *>(<uint8_t *>k - <size_t>(&(<mirror_t *>0).soon))
    cdef proxy_t *p = c.down.proxy
    if c.next is not NULL:
        c.next.prev = c.prev
    if c.prev is not NULL:
        c.prev.next = c.next
    else:
        p.mirrors = c.next
    p.n_mirrors -= 1
    snapshot_put(c.down.snap)
    raw_give(c)


cdef void _end(stream_t *s, msg_t *trailers) noexcept nogil:
    cdef mirror_t *c = <mirror_t *>s.down
    c.down.stream = NULL
    stream_end(s)
    reactor_soon(c.down.proxy.reactor, &c.soon)


cdef void _cut(stream_t *s) noexcept nogil:
    _end(s, NULL)


cdef void _interim(stream_t *s, msg_t *m) noexcept nogil:
    pass


cdef void _head(stream_t *s, msg_t *m, int framing) noexcept nogil:
    pass


cdef void _local(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil:
    pass


cdef bint _body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    return False


cdef void _nothing(stream_t *s) noexcept nogil:
    pass


cdef down_ops_t MIRROR
MIRROR.name = b"mirror"
MIRROR.interim = _interim
MIRROR.head = _head
MIRROR.local = _local
MIRROR.body = _body
MIRROR.end = _end
MIRROR.cut = _cut
MIRROR.read = _nothing
MIRROR.tunnel = _nothing


cdef uint32_t _host_end(stream_t *s) noexcept nogil:
    """Where in s.wire the name of the host ends, before its port; 0 when there is none."""
    cdef const msg_t *m = wire_head(s)
    cdef span_t host
    cdef uint32_t i
    if m is NULL or m.at[HEADER_HOST] < 0:
        return 0
    host = msg_value(m, m.at[HEADER_HOST])
    if host.len == 0 or host.ptr[0] == c'[':
        return 0
    for i in range(host.len):
        if host.ptr[i] == c':':
            host.len = i
            break
    return <uint32_t>(host.ptr - s.wire) + host.len if host.len != 0 else 0


cdef void _copy_head(stream_t *t, stream_t *s, span_t suffix) noexcept nogil:
    cdef uint32_t at = _host_end(s) if suffix.len != 0 else 0
    cdef uint32_t more = suffix.len if at != 0 else 0
    cdef uint8_t *to = stream_wire_room(t, s.wire_len + more)
    cdef int i
    memcpy(to, s.wire, at)
    if more != 0:
        memcpy(to + at, suffix.ptr, more)
    memcpy(to + at + more, s.wire + at, s.wire_len - at)
    t.wire_len = s.wire_len + more
    t.deadline_fields = s.deadline_fields
    for i in range(3):
        if s.deadline_at[i] != 0:
            t.deadline_at[i] = s.deadline_at[i] + (more if s.deadline_at[i] > at else 0)


cdef void mirror_copy(stream_t *s, const mirror_rule_t *rule, block_t *body, uint32_t body_len) noexcept nogil:
    cdef proxy_t *p = s.proxy
    cdef mirror_t *c
    cdef mirror_t *first = <mirror_t *>p.mirrors
    cdef stream_t *t
    if p.n_mirrors >= COPIES_MOST:
        p.stats.globals[G_MIRROR_DROPPED] += 1
        return
    p.stats.globals[G_MIRRORED] += 1
    c = <mirror_t *>raw_zeroed(sizeof(mirror_t))
    c.soon.run = _free
    c.down.proxy = p
    c.down.snap = snapshot_get(s.snap)
    c.down.listener = s.listener
    c.next = first
    if first is not NULL:
        first.prev = c
    p.mirrors = c
    p.n_mirrors += 1
    t = stream_new(&c.down, &MIRROR)
    c.down.stream = t
    t.cluster = &t.snap.clusters[rule.cluster]
    t.subset = rule.subset
    t.method = s.method
    t.framing = s.framing
    t.bits |= s.bits & S_CHUNK_UP
    t.deadline_ns = s.deadline_ns
    t.timeout_ns = s.timeout_ns if s.timeout_ns != 0 else TIME_MOST
    _copy_head(t, s, rule.suffix)
    if body is not NULL:
        t.replay = block_get(body)
        t.replay_len = body_len
    stream_on_call(t)


cdef void mirrors_close(proxy_t *p) noexcept nogil:
    cdef mirror_t *c = <mirror_t *>p.mirrors
    cdef stream_t *s
    while c is not NULL:
        s = c.down.stream
        if s is not NULL:
            _end(s, NULL)
        c = c.next
