"""See stale.pxd."""
from libc.string cimport memcmp, memcpy
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport msg_value
from fastmesh._core.mem.hash cimport hash_bytes
from fastmesh._core.mem.raw cimport raw_give, raw_take, raw_zeroed
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.mem.sip cimport sip_hash
from fastmesh._core.mem.span cimport span_of

cdef enum:
    JOINED_MAX = 4096         # bytes of a value that tells copies apart
    BUCKETS_LEAST = 64
    BUCKETS_MOST = 65536
    FIRST_BODY = 4096

cdef uint8_t joined_room[JOINED_MAX]


cdef stales_t *stales_new(uint64_t *rng) noexcept nogil:
    cdef stales_t *all_ = <stales_t *>raw_zeroed(sizeof(stales_t))
    # What clients ask for is theirs to choose: where it lies is not.
    all_.seed[0] = rng_next(rng)
    all_.seed[1] = rng_next(rng)
    return all_


cdef inline uint64_t _size(const copy_t *c) noexcept nogil:
    return sizeof(copy_t) + c.key_len + c.vary_len + c.head_len + c.body_cap


cdef void _free(copy_t *c) noexcept nogil:
    if c.body is not NULL:
        raw_give(c.body)
    raw_give(c)


cdef void _unlink(stales_t *all_, stale_t *k, copy_t *c) noexcept nogil:
    """Out of its place, and gone."""
    cdef copy_t **at = &k.buckets[c.hash & (k.n_buckets - 1)]
    while at[0] is not c:
        at = &at[0].chain
    at[0] = c.chain
    if c.newer is not NULL:
        c.newer.older = c.older
    else:
        k.newest = c.older
    if c.older is not NULL:
        c.older.newer = c.newer
    else:
        k.oldest = c.newer
    k.n -= 1
    k.bytes -= _size(c)
    all_.n -= 1
    all_.bytes -= _size(c)
    _free(c)


cdef void _free_place(stales_t *all_, stale_t *k) noexcept nogil:
    while k.oldest is not NULL:
        _unlink(all_, k, k.oldest)
    raw_give(k.buckets)
    raw_give(k)


cdef void stales_free(stales_t *all_) noexcept nogil:
    cdef stale_t *k
    while all_.first is not NULL:
        k = all_.first
        all_.first = k.next
        _free_place(all_, k)
    raw_give(all_)


cdef uint64_t stale_place_id(span_t name) noexcept nogil:
    return hash_bytes(name.ptr, name.len, 0)


cdef void _shrink(stales_t *all_, stale_t *k, uint64_t bytes_, uint32_t n) noexcept nogil:
    """Until there is room for so much more."""
    while k.oldest is not NULL and (k.bytes + bytes_ > k.max_bytes or k.n + n > k.max_entries):
        all_.evicted += 1
        _unlink(all_, k, k.oldest)


cdef stale_t *stale_place(stales_t *all_, span_t name, uint64_t max_bytes, uint32_t max_entries) noexcept nogil:
    cdef uint64_t id_ = stale_place_id(name)
    cdef stale_t *k = all_.first
    while k is not NULL and k.id_ != id_:
        k = k.next
    if k is NULL:
        k = <stale_t *>raw_zeroed(sizeof(stale_t))
        k.id_ = id_
        k.n_buckets = BUCKETS_LEAST
        while k.n_buckets < max_entries and k.n_buckets < BUCKETS_MOST:
            k.n_buckets *= 2
        k.buckets = <copy_t **>raw_zeroed(k.n_buckets * sizeof(copy_t *))
        k.next = all_.first
        all_.first = k
    k.is_wanted = 1
    k.max_bytes = max_bytes
    k.max_entries = max_entries
    _shrink(all_, k, 0, 0)
    return k


cdef void stales_begin_sweep(stales_t *all_) noexcept nogil:
    cdef stale_t *k = all_.first
    while k is not NULL:
        k.is_wanted = 0
        k = k.next


cdef void stales_sweep(stales_t *all_) noexcept nogil:
    cdef stale_t **at = &all_.first
    cdef stale_t *k
    while at[0] is not NULL:
        k = at[0]
        if k.is_wanted:
            at = &k.next
        else:
            at[0] = k.next
            _free_place(all_, k)


cdef uint64_t stale_hash(const stales_t *all_, span_t key) noexcept nogil:
    cdef uint64_t out[2]
    sip_hash(key.ptr, key.len, all_.seed, out)
    return out[0]


cdef span_t joined(const msg_t *m, span_t name, bint *fits) noexcept nogil:
    cdef int i = head_find(m, name.ptr, name.len, 0)
    cdef span_t value
    cdef uint32_t n = 0
    fits[0] = True
    if i < 0:
        return span_of(NULL, 0)
    while i >= 0:
        value = msg_value(m, i)
        if n + value.len + 2 > JOINED_MAX:
            fits[0] = False
            return span_of(joined_room, n)
        if n != 0:
            memcpy(joined_room + n, b", ", 2)
            n += 2
        memcpy(joined_room + n, value.ptr, value.len)
        n += value.len
        i = head_find(m, name.ptr, name.len, i + 1)
    return span_of(joined_room, n)


cdef bint _has_vary(const copy_t *c, const msg_t *request) noexcept nogil:
    """The request says the same of all that the answer depended on."""
    cdef const uint8_t *p = c.vary
    cdef const uint8_t *end = c.vary + c.vary_len
    cdef span_t name, value, here
    cdef bint fits = True
    while p < end:
        name = span_of(p + 2, <uint32_t>(p[0] << 8 | p[1]))
        p += 2 + name.len
        value = span_of(p + 2, <uint32_t>(p[0] << 8 | p[1]))
        p += 2 + value.len
        here = joined(request, name, &fits)
        # Absent and empty say the same.
        if not fits or here.len != value.len or (here.len != 0 and memcmp(here.ptr, value.ptr, here.len) != 0):
            return False
    return True


cdef inline bint _has_key(const copy_t *c, uint64_t hash_, span_t key) noexcept nogil:
    return c.hash == hash_ and c.key_len == key.len and memcmp(c.key, key.ptr, key.len) == 0


cdef copy_t *stale_find(stale_t *k, uint64_t hash_, span_t key, const msg_t *request) noexcept nogil:
    cdef copy_t *c = k.buckets[hash_ & (k.n_buckets - 1)]
    while c is not NULL:
        if _has_key(c, hash_, key) and _has_vary(c, request):
            return c
        c = c.chain
    return NULL


cdef inline void _put_newest(stale_t *k, copy_t *c) noexcept nogil:
    c.newer = NULL
    c.older = k.newest
    if k.newest is not NULL:
        k.newest.newer = c
    else:
        k.oldest = c
    k.newest = c


cdef void stale_touch(stale_t *k, copy_t *c) noexcept nogil:
    if c.newer is NULL:
        return
    c.newer.older = c.older
    if c.older is not NULL:
        c.older.newer = c.newer
    else:
        k.oldest = c.newer
    _put_newest(k, c)


cdef uint32_t stale_forget(stales_t *all_, stale_t *k, uint64_t hash_, span_t key) noexcept nogil:
    cdef copy_t *c = k.buckets[hash_ & (k.n_buckets - 1)]
    cdef copy_t *after
    cdef uint32_t n = 0
    while c is not NULL:
        after = c.chain
        if _has_key(c, hash_, key):
            _unlink(all_, k, c)
            n += 1
        c = after
    return n


cdef copy_t *copy_new(stales_t *all_, span_t key, span_t vary, span_t head, uint32_t body_cap,
                      uint64_t most) noexcept nogil:
    cdef copy_t *c
    cdef uint64_t size = sizeof(copy_t) + key.len + vary.len + head.len
    if all_.making + size + body_cap > most:
        return NULL
    c = <copy_t *>raw_take(size)
    c.chain = NULL
    c.newer = NULL
    c.older = NULL
    c.key = <uint8_t *>(c + 1)
    c.key_len = key.len
    c.vary = c.key + key.len
    c.vary_len = vary.len
    c.head = c.vary + vary.len
    c.head_len = head.len
    c.body = NULL
    c.body_len = 0
    c.body_cap = body_cap
    c.is_shared = 0
    memcpy(c.key, key.ptr, key.len)
    if vary.len != 0:
        memcpy(c.vary, vary.ptr, vary.len)
    if head.len != 0:
        memcpy(c.head, head.ptr, head.len)
    if body_cap != 0:
        c.body = <uint8_t *>raw_take(body_cap)
    all_.making += _size(c)
    return c


cdef bint copy_add(stales_t *all_, copy_t *c, const uint8_t *p, uint32_t n, uint32_t most) noexcept nogil:
    cdef uint64_t cap = c.body_cap
    cdef uint8_t *more
    if n > most or c.body_len + n > most:
        return False
    if c.body_len + n > cap:
        if cap == 0:
            cap = FIRST_BODY
        while cap < c.body_len + n:
            cap *= 2
        if cap > most:
            cap = most
        more = <uint8_t *>raw_take(cap)
        if c.body is not NULL:
            memcpy(more, c.body, c.body_len)
            raw_give(c.body)
        c.body = more
        all_.making += cap - c.body_cap
        c.body_cap = <uint32_t>cap
    memcpy(c.body + c.body_len, p, n)
    c.body_len += n
    return True


cdef void copy_keep(stales_t *all_, stale_t *k, copy_t *c, const msg_t *request) noexcept nogil:
    cdef copy_t *old
    cdef uint8_t *less
    cdef copy_t **bucket
    all_.making -= _size(c)
    if c.body_cap > c.body_len:
        # What a body of unknown length had room for.
        less = NULL
        if c.body_len != 0:
            less = <uint8_t *>raw_take(c.body_len)
            memcpy(less, c.body, c.body_len)
        raw_give(c.body)
        c.body = less
        c.body_cap = c.body_len
    old = stale_find(k, c.hash, span_of(c.key, c.key_len), request)
    if old is not NULL:
        _unlink(all_, k, old)
    if _size(c) > k.max_bytes:
        _free(c)
        return
    _shrink(all_, k, _size(c), 1)
    bucket = &k.buckets[c.hash & (k.n_buckets - 1)]
    c.chain = bucket[0]
    bucket[0] = c
    _put_newest(k, c)
    k.n += 1
    k.bytes += _size(c)
    all_.n += 1
    all_.bytes += _size(c)


cdef void copy_drop(stales_t *all_, copy_t *c) noexcept nogil:
    all_.making -= _size(c)
    _free(c)
