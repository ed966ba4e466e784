"""See bucket.pxd."""
from fastmesh._core.mem.segment cimport (
    entry_t, object_lock, object_unlock, segment_now, table_find, table_take, table_touch)


cdef inline uint64_t _full_at(const entry_t *e, uint64_t now, uint64_t owed_ns) noexcept nogil:
    return e.until_ns if e is not NULL and now < e.until_ns <= now + owed_ns else now


cdef void bucket_take(segment_t *g, object_t *o, const uint64_t *key, uint64_t cost_ns, uint64_t burst_ns,
                      uint64_t owed_ns, draw_t *d) noexcept nogil:
    cdef uint64_t now, full_at, evicted
    cdef entry_t *e
    d.wait_ns = 0
    d.has_evicted = False
    object_lock(o)
    now = segment_now(g)
    e = table_find(o, key)
    full_at = _full_at(e, now, owed_ns)
    if e is not NULL:
        table_touch(o, e)
    if full_at + cost_ns > now + burst_ns:
        d.wait_ns = full_at + cost_ns - now - burst_ns
    else:
        if e is NULL:
            evicted = o.evicted
            e = table_take(o, key)
            d.has_evicted = o.evicted != evicted
        full_at += cost_ns
    if e is not NULL:
        e.until_ns = full_at
    object_unlock(o)
    d.full_ns = full_at - now


cdef uint64_t bucket_charge(segment_t *g, object_t *o, const uint64_t *key, uint64_t cost_ns, uint64_t burst_ns,
                            uint64_t owed_ns) noexcept nogil:
    cdef uint64_t now, full_at
    cdef entry_t *e
    object_lock(o)
    now = segment_now(g)
    e = table_find(o, key)
    full_at = _full_at(e, now, owed_ns) + cost_ns
    if full_at > now + owed_ns:
        full_at = now + owed_ns
    if e is NULL:
        e = table_take(o, key)
    else:
        table_touch(o, e)
    e.until_ns = full_at
    object_unlock(o)
    return full_at - now - burst_ns if full_at - now > burst_ns else 0


cdef void bucket_give_back(object_t *o, const uint64_t *key, uint64_t cost_ns) noexcept nogil:
    cdef entry_t *e
    object_lock(o)
    e = table_find(o, key)
    # It may be gone: whoever comes back to it finds a full one then.
    if e is not NULL and e.until_ns > cost_ns:
        e.until_ns -= cost_ns
    object_unlock(o)
