"""See keeping.pxd."""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy
from fastmesh._core.http.cache_control cimport (
    CACHE_NO_CACHE, CACHE_NO_STORE, CACHE_PRIVATE, CACHE_REVALIDATE, CACHE_SHARED, cache_control_of, cache_control_t,
    cache_seconds)
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport (
    FIELD_DROP, FRAME_CLOSE, FRAME_LENGTH, field_t, msg_span, msg_value)
from fastmesh._core.http.token cimport (
    HEADER_CONTENT_LENGTH, HEADER_CONTENT_TYPE, HEADER_DATE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_TRACE)
from fastmesh._core.mem.counter cimport (
    G_STALE_BYTES, G_STALE_COPIES, G_STALE_DROPPED, G_STALE_EVICTED, G_STALE_KEPT)
from fastmesh._core.mem.span cimport byte_lower, span_ieq, span_of
from fastmesh._core.proxy.emit cimport put_bytes, put_number, put_span
from fastmesh._core.proxy.fallback_head cimport fallback_head_first
from fastmesh._core.proxy.wall cimport proxy_date
from fastmesh._core.proxy.wire_head cimport wire_head_of
from fastmesh._core.resil.fallback_rule cimport (
    IGNORE_AUTHORIZATION, IGNORE_CACHE_CONTROL, IGNORE_COOKIE, IGNORE_SET_COOKIE, IGNORE_VARY, REASON_STATUS,
    step_names)
from fastmesh._core.resil.stale cimport (
    STALE_FOREVER, copy_add, copy_drop, copy_keep, copy_new, joined, stale_find, stale_forget, stale_hash, stale_place,
    stale_t, stale_touch, stales_begin_sweep, stales_free, stales_new, stales_sweep, stales_t)

cdef enum:
    KEY_MAX = 16384
    VARY_MAX = 4096
    VARY_NAMES = 16
    HEAD_MAX = 65536
    FIELDS_MAX = HEAD_MAX + 64
    SECOND = 1000000000

cdef uint64_t AGAIN_NS = SECOND       # a copy that is younger is not made anew

# One at a time: a worker has one thread.
cdef uint8_t key_room[KEY_MAX]
cdef uint8_t vary_room[VARY_MAX]
cdef uint8_t head_room[FIELDS_MAX]


cdef inline span_t _text(const char *text, uint32_t n) noexcept nogil:
    return span_of(<const uint8_t *>text, n)


cdef inline bint _has(const msg_t *m, const char *name, uint32_t n) noexcept nogil:
    return head_find(m, <const uint8_t *>name, n, 0) >= 0


# --- what was asked for ---

cdef inline const msg_t *_request(const stream_t *s) noexcept nogil:
    """The request as it goes to the route's cluster."""
    return wire_head_of(s, fallback_head_first(s))


cdef bint _key(const stream_t *s, const step_t *step, const msg_t *m, span_t *key) noexcept nogil:
    """Parts end with a line break, which none of them holds. False when it is longer than a key may be."""
    cdef uint8_t *to = key_room
    cdef span_t host = msg_span(m, m.authority_off, m.authority_len)
    cdef span_t target = msg_span(m, m.target_off, m.target_len)
    cdef span_t value
    cdef bint fits = True
    cdef uint32_t i
    if s.route.name.len + host.len + target.len + 16 > KEY_MAX:
        return False
    to = put_span(to, s.route.name)
    to = put_bytes(to, b"\n", 1)
    for i in range(host.len):
        to[i] = byte_lower(host.ptr[i])
    to = put_bytes(to + host.len, b"\n", 1)
    to = put_span(to, target)
    to = put_bytes(to, b"\n", 1)
    for i in range(step.n_keys):
        value = joined(m, step.keys[i], &fits)
        if not fits or <uint32_t>(to - key_room) + value.len + 2 > KEY_MAX:
            return False
        to = put_bytes(to, b"=" if value.ptr is not NULL else b"-", 1)
        to = put_span(to, value)
        to = put_bytes(to, b"\n", 1)
    key[0] = span_of(key_room, <uint32_t>(to - key_room))
    return True


cdef inline bint _is_key(const step_t *step, const char *name, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(step.n_keys):
        if span_ieq(step.keys[i], _text(name, n)):
            return True
    return False


cdef bint _says_who(const step_t *step, const msg_t *m) noexcept nogil:
    """The request tells who asks: its answer may be for nobody else."""
    if (not step.ignores & IGNORE_AUTHORIZATION and not _is_key(step, b"authorization", 13) and
            _has(m, b"authorization", 13)):
        return True
    return (not step.ignores & IGNORE_COOKIE and not _is_key(step, b"cookie", 6) and _has(m, b"cookie", 6))


# --- what may be kept ---

cdef inline bint _is_good(int status) noexcept nogil:
    """Those that are complete by themselves, and may be kept without being told so (RFC 9110 section 15.1)."""
    return (status == 200 or status == 203 or status == 204 or status == 300 or status == 301 or status == 308 or
            status == 404 or status == 410)


cdef bint _vary(const msg_t *m, const msg_t *request, span_t *out) noexcept nogil:
    """Names and values of what the answer depends on. False when that is more than is looked at."""
    cdef uint8_t *to = vary_room
    cdef int i = head_find(m, <const uint8_t *>b"vary", 4, 0)
    cdef span_t list_, name, value
    cdef bint fits = True
    cdef uint32_t at, k
    cdef uint32_t n = 0
    while i >= 0:
        list_ = msg_value(m, i)
        at = 0
        while at < list_.len:
            if list_.ptr[at] == c',' or list_.ptr[at] == c' ' or list_.ptr[at] == c'\t':
                at += 1
                continue
            name = span_of(list_.ptr + at, 0)
            while at < list_.len and list_.ptr[at] != c',' and list_.ptr[at] != c' ' and list_.ptr[at] != c'\t':
                name.len += 1
                at += 1
            n += 1
            if n > VARY_NAMES or (name.len == 1 and name.ptr[0] == c'*'):
                return False
            value = joined(request, name, &fits)
            if not fits or <uint32_t>(to - vary_room) + name.len + value.len + 4 > VARY_MAX:
                return False
            to[0] = <uint8_t>(name.len >> 8)
            to[1] = <uint8_t>(name.len & 255)
            for k in range(name.len):
                to[2 + k] = byte_lower(name.ptr[k])
            to += 2 + name.len
            to[0] = <uint8_t>(value.len >> 8)
            to[1] = <uint8_t>(value.len & 255)
            to = put_span(to + 2, value)
        i = head_find(m, <const uint8_t *>b"vary", 4, i + 1)
    out[0] = span_of(vary_room, <uint32_t>(to - vary_room))
    return True


cdef inline bint _is_left_out(const msg_t *m, const field_t *f) noexcept nogil:
    cdef span_t name = msg_span(m, f.name_off, f.name_len)
    return (f.bits & FIELD_DROP or f.id == HEADER_CONTENT_LENGTH or f.id == HEADER_CONTENT_TYPE or
            span_ieq(name, _text(b"age", 3)) or span_ieq(name, _text(b"set-cookie", 10)))


cdef bint _head(stream_t *s, const msg_t *m, span_t *out) noexcept nogil:
    """The lines to keep, the one with the type of the body first. False when they are too many."""
    cdef uint8_t *to = head_room
    cdef span_t value = msg_value(m, m.at[HEADER_CONTENT_TYPE])
    cdef const field_t *f
    cdef uint32_t i
    if m.len + 64 > HEAD_MAX:
        return False
    to = put_span(to, value)
    to = put_bytes(to, b"\r\n", 2)
    for i in range(m.n_fields):
        f = &m.fields[i]
        if _is_left_out(m, f):
            continue
        if <uint32_t>(to - head_room) + f.name_len + f.value_len + 64 > HEAD_MAX:
            return False
        to = put_span(to, msg_span(m, f.name_off, f.name_len))
        to = put_bytes(to, b": ", 2)
        to = put_span(to, msg_value(m, <int>i))
        to = put_bytes(to, b"\r\n", 2)
    if m.at[HEADER_DATE] < 0:
        to = put_bytes(to, proxy_date(s.proxy), 37)
    out[0] = span_of(head_room, <uint32_t>(to - head_room))
    return True


cdef bint _may_keep(const step_t *step, const msg_t *request, const msg_t *m, bint *is_shared,
                    int64_t *left_s) noexcept nogil:
    """By HTTP's rules. `left_s`: for how long from its making; -1 = they say nothing."""
    cdef cache_control_t asked, said
    left_s[0] = -1
    is_shared[0] = False
    if not step.ignores & IGNORE_SET_COOKIE and _has(m, b"set-cookie", 10):
        return False
    cache_control_of(m, &said)
    is_shared[0] = (said.bits & CACHE_SHARED) != 0
    if _says_who(step, request) and not is_shared[0]:
        return False
    if step.ignores & IGNORE_CACHE_CONTROL:
        return True
    cache_control_of(request, &asked)
    if asked.bits & CACHE_NO_STORE or said.bits & (CACHE_NO_STORE | CACHE_PRIVATE):
        return False
    if said.bits & (CACHE_REVALIDATE | CACHE_NO_CACHE):
        # Only while it is fresh: then it needs nobody's word.
        left_s[0] = said.lifetime_s if said.lifetime_s > 0 and not said.bits & CACHE_NO_CACHE else 0
        return left_s[0] > 0
    if said.if_error_s >= 0:
        left_s[0] = said.if_error_s + (said.lifetime_s if said.lifetime_s > 0 else 0)
        return left_s[0] > 0
    return True


cdef inline void _tell(proxy_t *p, const stales_t *all_) noexcept nogil:
    p.stats.globals[G_STALE_COPIES] = all_.n
    p.stats.globals[G_STALE_BYTES] = all_.bytes


cdef inline stales_t *_all(proxy_t *p) noexcept nogil:
    if p.stale is NULL:
        p.stale = stales_new(&p.rng)
    return <stales_t *>p.stale


cdef inline stale_t *_place(stales_t *all_, const step_t *step) noexcept nogil:
    return stale_place(all_, step.store, step.max_bytes, step.max_entries)


cdef void keeping_begin(stream_t *s, const msg_t *m) noexcept nogil:
    cdef const step_t *step = s.fallback.stale
    cdef proxy_t *p = s.proxy
    cdef stales_t *all_
    cdef stale_t *k
    cdef copy_t *c
    cdef const msg_t *request
    cdef span_t key, vary, head
    cdef uint64_t hash_
    cdef uint64_t age_ns = 0
    cdef int64_t left_s = -1
    cdef bint is_shared = False
    cdef bint is_unsafe = s.method > METHOD_HEAD and s.method != METHOD_OPTIONS and s.method != METHOD_TRACE
    cdef int i
    if s.method != METHOD_GET and not (is_unsafe and p.stale is not NULL and m.status < 400):
        return
    if s.method == METHOD_GET and (not _is_good(m.status) or step_names(step, REASON_STATUS, m.status)):
        # What a copy is to take the place of is none.
        return
    request = _request(s)
    if request is NULL or not _key(s, step, request, &key):
        return
    all_ = _all(p)
    k = _place(all_, step)
    hash_ = stale_hash(all_, key)
    if is_unsafe:
        # What was asked for is another thing now (RFC 9111 section 4.4).
        stale_forget(all_, k, hash_, key)
        _tell(p, all_)
        return
    if not _may_keep(step, request, m, &is_shared, &left_s):
        if not _says_who(step, request):
            # It might have been kept once: that is over.
            stale_forget(all_, k, hash_, key)
            _tell(p, all_)
        return
    c = stale_find(k, hash_, key, request)
    if c is not NULL and p.reactor.now_ns - c.kept_ns < AGAIN_NS and c.status == m.status and c.is_shared == is_shared:
        return
    vary = span_of(vary_room, 0)
    if not step.ignores & IGNORE_VARY and not _vary(m, request, &vary):
        return
    i = head_find(m, <const uint8_t *>b"age", 3, 0)
    if i >= 0:
        age_ns = <uint64_t>cache_seconds(msg_value(m, i)) * SECOND
    if (m.framing == FRAME_CLOSE or (m.framing == FRAME_LENGTH and m.length > step.max_body) or
            not _head(s, m, &head)):
        # Of an answer that ends with its connection nobody knows whether it is whole.
        p.stats.globals[G_STALE_DROPPED] += 1
        return
    c = copy_new(all_, key, vary, head, <uint32_t>m.length if m.framing == FRAME_LENGTH else 0, step.max_bytes)
    if c is NULL:
        p.stats.globals[G_STALE_DROPPED] += 1
        return
    c.hash = hash_
    c.status = m.status
    c.is_shared = is_shared
    c.kept_ns = p.reactor.now_ns
    c.age_ns = age_ns
    c.until_ns = STALE_FOREVER
    if left_s >= 0:
        c.until_ns = c.kept_ns + (<uint64_t>left_s * SECOND - age_ns if <uint64_t>left_s * SECOND > age_ns else 0)
    s.keeping = c


cdef void keeping_body(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil:
    if not copy_add(<stales_t *>s.proxy.stale, <copy_t *>s.keeping, p, n, s.fallback.stale.max_body):
        keeping_drop(s)


cdef void keeping_end(stream_t *s) noexcept nogil:
    cdef stales_t *all_ = <stales_t *>s.proxy.stale
    cdef copy_t *c = <copy_t *>s.keeping
    cdef const msg_t *request = _request(s)
    if request is NULL:
        keeping_drop(s)
        return
    s.keeping = NULL
    copy_keep(all_, _place(all_, s.fallback.stale), c, request)
    s.proxy.stats.globals[G_STALE_KEPT] += 1
    s.proxy.stats.globals[G_STALE_EVICTED] += all_.evicted
    all_.evicted = 0
    _tell(s.proxy, all_)


cdef void keeping_drop(stream_t *s) noexcept nogil:
    cdef copy_t *c = <copy_t *>s.keeping
    s.keeping = NULL
    copy_drop(<stales_t *>s.proxy.stale, c)
    s.proxy.stats.globals[G_STALE_DROPPED] += 1


# --- who may get one ---

cdef copy_t *keeping_find(stream_t *s, const step_t *step) noexcept nogil:
    cdef stales_t *all_ = <stales_t *>s.proxy.stale
    cdef uint64_t now = s.proxy.reactor.now_ns
    cdef const msg_t *request
    cdef stale_t *k
    cdef copy_t *c
    cdef span_t key
    cdef uint64_t age
    if all_ is NULL or s.is_unasked or not METHOD_GET <= s.method <= METHOD_HEAD:
        return NULL
    request = _request(s)
    if request is NULL or not _key(s, step, request, &key):
        return NULL
    k = _place(all_, step)
    c = stale_find(k, stale_hash(all_, key), key, request)
    # One from the future is of a clock that has been set back: nobody knows how old it is.
    if c is NULL or now > c.until_ns or now < c.kept_ns or (not c.is_shared and _says_who(step, request)):
        return NULL
    age = c.age_ns + (now - c.kept_ns if now > c.kept_ns else 0)
    if age > step.max_age_ns:
        return NULL
    stale_touch(k, c)
    s.degraded_age_s = <uint32_t>(age // SECOND)
    return c


cdef void keeping_parts(const stream_t *s, const copy_t *c, span_t *content_type, span_t *fields,
                        span_t *body) noexcept nogil:
    cdef uint8_t *to = head_room
    cdef uint32_t n = 0
    while c.head[n] != 13:
        n += 1
    content_type[0] = span_of(c.head, n)
    memcpy(to, c.head + n + 2, c.head_len - n - 2)
    to = put_bytes(to + c.head_len - n - 2, b"age: ", 5)
    to = put_number(to, s.degraded_age_s)
    to = put_bytes(to, b"\r\n", 2)
    fields[0] = span_of(head_room, <uint32_t>(to - head_room))
    # Not absent, for which the status would be written out.
    body[0] = span_of(c.body if c.body is not NULL else head_room, c.body_len)


# --- snapshots ---

cdef void keeping_applied(proxy_t *p) noexcept nogil:
    cdef stales_t *all_ = <stales_t *>p.stale
    cdef uint32_t i
    if all_ is NULL:
        return
    stales_begin_sweep(all_)
    for i in range(p.snap.n_fallbacks):
        if p.snap.fallbacks[i].stale is not NULL:
            _place(all_, p.snap.fallbacks[i].stale)
    stales_sweep(all_)
    _tell(p, all_)


cdef void keeping_close(proxy_t *p) noexcept nogil:
    if p.stale is not NULL:
        stales_free(<stales_t *>p.stale)
        p.stale = NULL
