"""See copies.pxd."""
from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy
from fastmesh._core.http.msg cimport FRAME_NONE, msg_span
from fastmesh._core.mem.block cimport BLOCK_LARGE, block_new, block_put, block_t
from fastmesh._core.mem.counter cimport G_MIRROR_DROPPED
from fastmesh._core.mem.raw cimport raw_give, raw_zeroed
from fastmesh._core.mem.rng cimport rng_below
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.proxy.mux cimport REPLAY_MAX, S_UPGRADE, STEP_COPIED, STEP_NOT_COPIED
from fastmesh._core.route.mirror_rule cimport mirror_list_t, mirror_rule_t
from fastmesh._core.route.route_table cimport ROUTE_SHARE_ALL, asker_t, route_find

cdef enum:
    NAME_MAX = 255            # bytes of a cluster's
    TEXT = 320                # that, and why there is no copy

# Which mirrors get a request whose body is still coming.
ctypedef struct copies_t:
    uint32_t n
    const mirror_rule_t *rules[4]     # MIRRORS_MAX, of the stream's snapshot
    block_t *body                     # REPLAY_MAX bytes; NULL = there is none yet
    uint32_t body_len
    bint is_too_large


cdef void _tell(stream_t *s, const mirror_rule_t *rule, const char *why_not) noexcept nogil:
    cdef char text[TEXT]
    cdef span_t name = s.snap.clusters[rule.cluster].name
    cdef int most = <int>(name.len if name.len < NAME_MAX else NAME_MAX)
    if why_not is NULL:
        snprintf(text, TEXT, b"%.*s", most, <const char *>name.ptr)
    else:
        snprintf(text, TEXT, b"%.*s: %s", most, <const char *>name.ptr, why_not)
    s.proxy.watch_ops.beside(s, STEP_COPIED if why_not is NULL else STEP_NOT_COPIED, NULL, 0, text)


cdef void _copy(stream_t *s, const mirror_rule_t *rule, block_t *body, uint32_t body_len) noexcept nogil:
    cdef uint64_t before = s.proxy.stats.globals[G_MIRROR_DROPPED]
    s.proxy.copy(s, rule, body, body_len)
    if s.account is NULL:
        return
    if s.proxy.stats.globals[G_MIRROR_DROPPED] == before:
        _tell(s, rule, NULL)
    else:
        _tell(s, rule, b"too many copies are under way")


cdef void copies_begin(stream_t *s, const msg_t *m, span_t path) noexcept nogil:
    cdef const mirror_list_t *k = &s.snap.mirror_lists[s.route.mirror_list - 1]
    cdef const mirror_rule_t *rules[4]
    cdef const mirror_rule_t *rule
    cdef copies_t *c
    cdef asker_t who
    cdef uint32_t n = 0
    cdef uint32_t i
    if s.bits & S_UPGRADE:
        return
    if path.ptr is NULL:
        path = msg_span(m, m.path_off, m.path_len) if m.path_len != 0 else span_of(b"/", 1)
    who.addr = &s.down.addr
    who.draw = 0              # the share of a mirror is its own
    for i in range(k.n):
        rule = &k.rules[i]
        if rule.match is not NULL and route_find(rule.match, m, path, &who) is NULL:
            continue
        if rule.share >= ROUTE_SHARE_ALL or rng_below(&s.proxy.rng, ROUTE_SHARE_ALL) < rule.share:
            rules[n] = rule
            n += 1
    if n == 0:
        return
    if s.framing == FRAME_NONE:
        for i in range(n):
            _copy(s, rules[i], NULL, 0)
        return
    c = <copies_t *>raw_zeroed(sizeof(copies_t))
    c.n = n
    memcpy(c.rules, rules, n * sizeof(mirror_rule_t *))
    s.copies = c


cdef void copies_body(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil:
    cdef copies_t *c = <copies_t *>s.copies
    if c.is_too_large:
        return
    if n > REPLAY_MAX or c.body_len + n > REPLAY_MAX:
        c.is_too_large = True
        if c.body is not NULL:
            block_put(c.body)
            c.body = NULL
        return
    if c.body is NULL:
        c.body = block_new(&s.proxy.reactor.blocks, BLOCK_LARGE)
    memcpy(c.body.bytes + c.body_len, p, n)
    c.body_len += n


cdef void copies_send(stream_t *s) noexcept nogil:
    cdef copies_t *c = <copies_t *>s.copies
    cdef uint32_t i
    if not c.is_too_large:
        for i in range(c.n):
            _copy(s, c.rules[i], c.body, c.body_len)
        c.n = 0
    copies_forget(s)


cdef void copies_forget(stream_t *s) noexcept nogil:
    cdef copies_t *c = <copies_t *>s.copies
    cdef uint32_t i
    s.copies = NULL
    if s.account is not NULL:
        for i in range(c.n):
            if c.is_too_large:
                _tell(s, c.rules[i], b"its body is larger than what is kept")
            else:
                _tell(s, c.rules[i], b"it ended before it was whole")
    s.proxy.stats.globals[G_MIRROR_DROPPED] += c.n
    if c.body is not NULL:
        block_put(c.body)
    raw_give(c)
