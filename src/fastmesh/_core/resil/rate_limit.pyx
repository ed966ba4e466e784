"""See rate_limit.pxd."""
from libc.stdint cimport uint32_t
from libc.stdio cimport snprintf
from fastmesh._core.http.msg cimport msg_span, msg_t
from fastmesh._core.http.token cimport METHOD_OTHER
from fastmesh._core.http.uri cimport URI_READINGS, uri_read_again
from fastmesh._core.mem.bucket cimport bucket_give_back, bucket_take
from fastmesh._core.mem.rng cimport rng_below
from fastmesh._core.mem.segment cimport KIND_BUCKETS, SHARED_NAME, segment_object
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.resil.limit_key cimport KEY_MISSING, KEY_ODD, limit_key_of
from fastmesh._core.route.route_table cimport asker_t, method_in_capitals, route_find

cdef enum:
    SHARE_ALL = 1000000
    PATH_ROOM = 65536

# Another reading of a path; a worker has one thread.
cdef uint8_t reading[PATH_ROOM]


cdef int rate_limit_keep(rate_limit_t *l, segment_t *g) noexcept nogil:
    cdef char name[SHARED_NAME]
    # The number of keys is part of what it is called: with another one it is another table, and begins anew.
    cdef int n = snprintf(name, SHARED_NAME, b"limit %.*s %u", <int>l.name.len, <const char *>l.name.ptr, l.keys)
    l.segment = g
    return segment_object(g, KIND_BUCKETS, name, <uint32_t>n if n < SHARED_NAME else SHARED_NAME - 1, l.keys, 0,
                          &l.buckets)


# --- which requests it counts ------------------------------------------------------------------------

cdef bint _is_for(const rate_limit_t *l, const caller_t *a, const msg_t *m) noexcept nogil:
    """Also in another reading of the path: a limit that holds in one of them is asked."""
    cdef asker_t who
    cdef uint32_t n
    cdef int i
    who.addr = a.peer
    who.draw = 0              # a limit's share is its own
    if route_find(l.match, m, a.path, &who) is not NULL:
        return True
    if not a.is_path_odd or a.path.len == 0 or a.path.ptr[0] != c'/':
        return False
    for i in range(1, URI_READINGS):
        n = uri_read_again(a.path.ptr, a.path.len, i, reading)
        if n != 0 and route_find(l.match, m, span_of(reading, n), &who) is not NULL:
            return True
    return False


cdef bint _matches(const rate_limit_t *l, const caller_t *a) noexcept nogil:
    cdef msg_t *m
    cdef bint found
    cdef int meant
    if l.match is NULL:
        return True
    found = _is_for(l, a, a.m)
    if found or a.m.method != METHOD_OTHER:
        return found
    # Methods have case (RFC 9110 section 9.1), and frameworks that forgive "post" are many.
    meant = method_in_capitals(msg_span(a.m, a.m.method_off, a.m.method_len))
    if meant == METHOD_OTHER:
        return False
    m = <msg_t *>a.m
    m.method = <uint8_t>meant
    found = _is_for(l, a, m)
    m.method = METHOD_OTHER
    return found


cdef int rate_limit_ask(const rate_limit_t *l, const caller_t *a, limit_row_t *row, uint64_t *rng,
                        drawn_t *d) noexcept nogil:
    cdef draw_t draw
    cdef int how
    if not _matches(l, a) or (l.share < SHARE_ALL and rng_below(rng, SHARE_ALL) >= l.share):
        return LIMIT_SKIPPED
    how = limit_key_of(&l.key, a, l.segment.seed, d.key)
    if how == KEY_MISSING and l.skips_missing:
        return LIMIT_SKIPPED
    if how == KEY_ODD:
        row.odd_keys += 1
    row.checked += 1
    l.ops.take(l, d.key, &draw)
    row.evicted += draw.has_evicted
    d.limit = l
    if draw.wait_ns != 0:
        d.left = 0
        d.wait_ns = draw.wait_ns
        if l.is_dry_run:
            row.would += 1
        else:
            row.limited += 1
        return LIMIT_REFUSED
    d.left = (l.burst_ns - draw.full_ns) // l.token_ns
    d.wait_ns = draw.full_ns
    return LIMIT_PASSED


# --- where it counts ---------------------------------------------------------------------------------

cdef void _take_local(const rate_limit_t *l, const uint64_t *key, draw_t *d) noexcept nogil:
    # It never owes more than its burst, unless it was drawn from under a slower rate before a reload.
    bucket_take(l.segment, l.buckets, key, l.token_ns, l.burst_ns, l.burst_ns, d)


cdef void _give_back_local(const rate_limit_t *l, const uint64_t *key) noexcept nogil:
    bucket_give_back(l.buckets, key, l.token_ns)


cdef limit_ops_t LOCAL_BUCKETS
LOCAL_BUCKETS.name = b"local"
LOCAL_BUCKETS.take = _take_local
LOCAL_BUCKETS.give_back = _give_back_local


cdef const limit_ops_t *limit_ops_of(uint8_t kind) noexcept nogil:
    return &LOCAL_BUCKETS if kind == LIMIT_LOCAL else NULL
