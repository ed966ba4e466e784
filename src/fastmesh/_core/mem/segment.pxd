"""Memory that all workers share: named counters, gauges, flags, token buckets and maps.

One segment, mostly holes, that control makes and every process maps. Objects in it are made by whoever asks for a name
first, and stay for as long as the segment does: nothing is ever moved or given back, so a pointer into it is good for
as long as it is mapped. Within the segment everything is offsets and indices, as each process maps it elsewhere.

Single words are changed atomically. All else is under the object's own lock, a robust mutex: when a process dies while
it holds one, the next to take it finds out, empties the object, and counts that in `recovered`. Nobody waits while
holding a lock, and no call holds two, except the one that makes an object.

Keys are not kept, only their 128-bit keyed hash: entries have one size whatever a client sends as its key.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from fastmesh._core.sys.clock_sys cimport clock_monotonic_ns

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass

cdef extern from *:
    """
    static inline int64_t fm_word_add(uint64_t *p, int64_t n) {
        return (int64_t)__atomic_add_fetch(p, (uint64_t)n, __ATOMIC_RELAXED);
    }
    static inline uint64_t fm_word_get(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void fm_word_set(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    """
    int64_t word_add "fm_word_add"(uint64_t *p, int64_t n) noexcept nogil
    uint64_t word_get "fm_word_get"(const uint64_t *p) noexcept nogil
    void word_set "fm_word_set"(uint64_t *p, uint64_t v) noexcept nogil

cdef enum:
    SHARED_LAYOUT = 1
    SHARED_NAME = 128             # bytes of a name
    SHARED_OBJECTS = 1024
    SHARED_KEY = 65536            # bytes of a key: the largest head of a request is smaller
    SHARED_FIRST = 256            # offset of the first object

cdef enum:
    KIND_COUNTER = 1
    KIND_GAUGE = 2
    KIND_FLAG = 3
    KIND_BUCKETS = 4
    KIND_MAP = 5

cdef enum:
    VALUE_BYTES = 0
    VALUE_STR = 1
    VALUE_INT = 2

# Of token buckets and maps. In the segment, index + 1 stands for an entry and 0 for none: fresh pages are empty tables.
ctypedef struct entry_t:
    uint64_t key[2]               # sip_hash of the key
    uint64_t until_ns             # a bucket: when it is full again; a map: when the entry expires, 0 = never
    uint32_t chain                # next entry of the same head, or of the free ones
    uint32_t newer
    uint32_t older
    uint32_t form                 # a map's value: size << 2 | VALUE_*

ctypedef struct object_t:
    uint64_t next                 # offset of the object made after this one; 0 = the last
    uint64_t size                 # bytes, all told
    uint32_t kind
    uint32_t name_len
    char name[128]
    uint64_t capacity             # entries
    uint64_t value_max            # bytes
    uint32_t n_heads              # a power of two
    uint32_t stride               # bytes of an entry, with its value
    uint64_t reserved[8]
    uint64_t word                 # of a counter, gauge or flag
    uint64_t reserved_line[7]
    pthread_mutex_t lock          # of all that follows
    uint64_t recovered            # times its holder died
    uint64_t evicted              # entries that made room for others
    uint32_t n
    uint32_t fresh                # entries that were ever used: those beyond have never been touched
    uint32_t free                 # chain of those given back
    uint32_t newest
    uint32_t oldest
    uint32_t reserved_end[7]
    # n_heads × uint32_t, then capacity × stride

ctypedef struct segment_t:
    char magic[8]                 # written last: what is before it is whole when it is there
    uint64_t layout
    uint64_t size
    uint64_t seed[2]
    uint64_t clock_ns             # in place of CLOCK_MONOTONIC, for tests; 0 = the real one
    uint64_t first                # offset of the first object; 0 = none
    uint64_t recovered            # times the holder of this lock died
    pthread_mutex_t lock          # of the list of objects

# Makes an empty segment of zeroed memory. 0, or an errno.
cdef int segment_init(segment_t *g, uint64_t size, const uint64_t *seed) noexcept nogil

# Finds or makes an object. SHARED_OTHER: there is one of another kind or size, and *found is that one.
cdef enum:
    SHARED_OK = 0
    SHARED_NO_ROOM = 1
    SHARED_TOO_MANY = 2
    SHARED_OTHER = 3
cdef int segment_object(segment_t *g, uint32_t kind, const char *name, uint32_t name_len, uint64_t capacity,
                        uint64_t value_max, object_t **found) noexcept nogil
# Bytes that an object takes, and those that are left.
cdef uint64_t object_size(uint32_t kind, uint64_t capacity, uint64_t value_max) noexcept nogil
cdef uint64_t segment_left(segment_t *g) noexcept nogil

cdef void object_lock(object_t *o) noexcept nogil
cdef void object_unlock(object_t *o) noexcept nogil
cdef void object_empty(object_t *o) noexcept nogil

# All of these under the object's lock.
cdef entry_t *table_find(object_t *o, const uint64_t *key) noexcept nogil
cdef void table_touch(object_t *o, entry_t *e) noexcept nogil         # it is the newest now
cdef entry_t *table_take(object_t *o, const uint64_t *key) noexcept nogil     # a new one; the oldest makes room
cdef void table_drop(object_t *o, entry_t *e) noexcept nogil


cdef inline uint64_t segment_now(const segment_t *g) noexcept nogil:
    return g.clock_ns if g.clock_ns != 0 else clock_monotonic_ns()


cdef inline uint32_t *object_heads(object_t *o) noexcept nogil:
    return <uint32_t *>(<uint8_t *>o + sizeof(object_t))


cdef inline entry_t *object_entry(object_t *o, uint32_t one) noexcept nogil:
    """`one` is index + 1."""
    return <entry_t *>(<uint8_t *>o + sizeof(object_t) + <uint64_t>o.n_heads * 4 + <uint64_t>(one - 1) * o.stride)


cdef inline uint8_t *entry_value(entry_t *e) noexcept nogil:
    return <uint8_t *>e + sizeof(entry_t)
