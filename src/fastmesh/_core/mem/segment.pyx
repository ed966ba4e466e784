"""See segment.pxd."""
from libc.string cimport memcpy, memset
from fastmesh._core.sys.errno_sys cimport EOWNERDEAD

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutexattr_t:
        pass
    int PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_ROBUST
    int pthread_mutexattr_init(pthread_mutexattr_t *attr)
    int pthread_mutexattr_setpshared(pthread_mutexattr_t *attr, int shared)
    int pthread_mutexattr_setrobust(pthread_mutexattr_t *attr, int robust)
    int pthread_mutexattr_destroy(pthread_mutexattr_t *attr)
    int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)
    int pthread_mutex_consistent(pthread_mutex_t *mutex)

cdef enum:
    LINE = 64


cdef int _lock_init(pthread_mutex_t *lock) noexcept nogil:
    cdef pthread_mutexattr_t attr
    cdef int failed = pthread_mutexattr_init(&attr)
    if failed != 0:
        return failed
    failed = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED)
    if failed == 0:
        failed = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST)
    if failed == 0:
        failed = pthread_mutex_init(lock, &attr)
    pthread_mutexattr_destroy(&attr)
    return failed


cdef int segment_init(segment_t *g, uint64_t size, const uint64_t *seed) noexcept nogil:
    cdef int failed = _lock_init(&g.lock)
    if failed != 0:
        return failed
    g.layout = SHARED_LAYOUT
    g.size = size
    g.seed[0] = seed[0]
    g.seed[1] = seed[1]
    memcpy(g.magic, b"fmshare1", 8)
    return 0


cdef void _segment_lock(segment_t *g) noexcept nogil:
    if pthread_mutex_lock(&g.lock) == EOWNERDEAD:
        # An object counts when it is linked, which is the last thing its maker does: there is nothing to mend.
        g.recovered += 1
        pthread_mutex_consistent(&g.lock)


# --- objects ------------------------------------------------------------------------------------------------------

cdef inline object_t *_at(segment_t *g, uint64_t offset) noexcept nogil:
    return <object_t *>(<uint8_t *>g + offset)


cdef uint32_t _heads(uint64_t capacity) noexcept nogil:
    # No more than one entry for a head on the average, and entries stay aligned behind them.
    cdef uint64_t n = 2
    while n < capacity:
        n <<= 1
    return <uint32_t>n if capacity != 0 else 0


cdef inline uint64_t _stride(uint64_t value_max) noexcept nogil:
    return sizeof(entry_t) + ((value_max + 7) & ~<uint64_t>7)


cdef uint64_t object_size(uint32_t kind, uint64_t capacity, uint64_t value_max) noexcept nogil:
    cdef uint64_t size = sizeof(object_t) + <uint64_t>_heads(capacity) * 4 + capacity * _stride(value_max)
    return (size + LINE - 1) & ~<uint64_t>(LINE - 1)


cdef uint64_t segment_left(segment_t *g) noexcept nogil:
    cdef uint64_t offset = word_get(&g.first)
    cdef uint64_t end = SHARED_FIRST
    while offset != 0:
        end = offset + _at(g, offset).size
        offset = word_get(&_at(g, offset).next)
    return g.size - end


cdef bint _is_named(const object_t *o, const char *name, uint32_t n) noexcept nogil:
    cdef uint32_t i
    if o.name_len != n:
        return False
    for i in range(n):
        if o.name[i] != name[i]:
            return False
    return True


cdef int _make(segment_t *g, uint64_t offset, uint32_t kind, const char *name, uint32_t name_len, uint64_t capacity,
               uint64_t value_max) noexcept nogil:
    cdef object_t *o = _at(g, offset)
    # Another may have begun one here, and died.
    memset(o, 0, sizeof(object_t))
    o.size = object_size(kind, capacity, value_max)
    o.kind = kind
    o.name_len = name_len
    memcpy(o.name, name, name_len)
    o.capacity = capacity
    o.value_max = value_max
    o.n_heads = _heads(capacity)
    o.stride = <uint32_t>_stride(value_max)
    return _lock_init(&o.lock)


cdef int segment_object(segment_t *g, uint32_t kind, const char *name, uint32_t name_len, uint64_t capacity,
                        uint64_t value_max, object_t **found) noexcept nogil:
    cdef uint64_t *link = &g.first
    cdef uint64_t end = SHARED_FIRST
    cdef uint64_t offset
    cdef uint32_t count = 0
    cdef int result = SHARED_OK
    cdef object_t *o
    found[0] = NULL
    _segment_lock(g)
    while link[0] != 0 and found[0] is NULL:
        offset = link[0]
        o = _at(g, offset)
        if _is_named(o, name, name_len):
            found[0] = o
        link = &o.next
        end = offset + o.size
        count += 1
    if found[0] is not NULL:
        o = found[0]
        if o.kind != kind or o.capacity != capacity or o.value_max != value_max:
            result = SHARED_OTHER
    elif count >= SHARED_OBJECTS:
        result = SHARED_TOO_MANY
    elif object_size(kind, capacity, value_max) > g.size - end:
        result = SHARED_NO_ROOM
    elif _make(g, end, kind, name, name_len, capacity, value_max) != 0:
        result = SHARED_NO_ROOM
    else:
        found[0] = _at(g, end)
        word_set(link, end)
    pthread_mutex_unlock(&g.lock)
    return result


cdef void object_lock(object_t *o) noexcept nogil:
    if pthread_mutex_lock(&o.lock) == EOWNERDEAD:
        # Its holder may have died between any two of its stores. Nothing in here is worth guessing.
        object_empty(o)
        o.recovered += 1
        pthread_mutex_consistent(&o.lock)


cdef void object_unlock(object_t *o) noexcept nogil:
    pthread_mutex_unlock(&o.lock)


cdef void object_empty(object_t *o) noexcept nogil:
    memset(object_heads(o), 0, <uint64_t>o.n_heads * 4)
    o.n = 0
    o.fresh = 0
    o.free = 0
    o.newest = 0
    o.oldest = 0


# --- entries ------------------------------------------------------------------------------------------------------

cdef entry_t *table_find(object_t *o, const uint64_t *key) noexcept nogil:
    cdef uint32_t one = object_heads(o)[key[0] & (o.n_heads - 1)]
    cdef entry_t *e
    while one != 0:
        e = object_entry(o, one)
        if e.key[0] == key[0] and e.key[1] == key[1]:
            return e
        one = e.chain
    return NULL


cdef inline uint32_t _one(object_t *o, entry_t *e) noexcept nogil:
    return <uint32_t>(<uint64_t>(<uint8_t *>e - <uint8_t *>object_entry(o, 1)) // o.stride) + 1


cdef void _line_out(object_t *o, entry_t *e) noexcept nogil:
    if e.newer != 0:
        object_entry(o, e.newer).older = e.older
    else:
        o.newest = e.older
    if e.older != 0:
        object_entry(o, e.older).newer = e.newer
    else:
        o.oldest = e.newer


cdef void _line_in(object_t *o, entry_t *e, uint32_t one) noexcept nogil:
    e.newer = 0
    e.older = o.newest
    if o.newest != 0:
        object_entry(o, o.newest).newer = one
    else:
        o.oldest = one
    o.newest = one


cdef void table_touch(object_t *o, entry_t *e) noexcept nogil:
    cdef uint32_t one
    if e.newer != 0:
        one = _one(o, e)
        _line_out(o, e)
        _line_in(o, e, one)


cdef entry_t *table_take(object_t *o, const uint64_t *key) noexcept nogil:
    cdef uint32_t *head
    cdef uint32_t one
    cdef entry_t *e
    if o.free == 0 and o.fresh == o.capacity:
        table_drop(o, object_entry(o, o.oldest))
        o.evicted += 1
    if o.free != 0:
        one = o.free
        e = object_entry(o, one)
        o.free = e.chain
    else:
        o.fresh += 1
        one = o.fresh
        e = object_entry(o, one)
    head = &object_heads(o)[key[0] & (o.n_heads - 1)]
    e.key[0] = key[0]
    e.key[1] = key[1]
    e.until_ns = 0
    e.form = 0
    e.chain = head[0]
    head[0] = one
    _line_in(o, e, one)
    o.n += 1
    return e


cdef void table_drop(object_t *o, entry_t *e) noexcept nogil:
    cdef uint32_t one = _one(o, e)
    cdef uint32_t *link = &object_heads(o)[e.key[0] & (o.n_heads - 1)]
    while link[0] != one:
        link = &object_entry(o, link[0]).chain
    link[0] = e.chain
    _line_out(o, e)
    e.chain = o.free
    o.free = one
    o.n -= 1
