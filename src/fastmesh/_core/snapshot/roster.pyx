"""See roster.pxd."""
from libc.stdlib cimport abort
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from fastmesh._core.mem.arena cimport MEM_IS_EXACT, heap_array, heap_free

cdef enum:
    SIZE_FIRST = 64
    CHUNK = 1024              # endpoints that are allocated together: 64 KiB
    CHUNKS_FIRST = 16
    MAP_MIN = 1 << 14         # places: a larger table is a mapping, which leaves no hole in the heap when it has grown


cdef void roster_init(roster_t *r) noexcept nogil:
    memset(r, 0, sizeof(roster_t))
    r.size = SIZE_FIRST
    r.places = _table_new(r.size)


cdef roster_place_t *_table_new(uint32_t size) noexcept nogil:
    cdef void *p
    if MEM_IS_EXACT or size < MAP_MIN:
        return <roster_place_t *>heap_array(size, sizeof(roster_place_t))
    p = mmap(NULL, size * sizeof(roster_place_t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if p == MAP_FAILED:
        abort()
    return <roster_place_t *>p


cdef void _table_free(roster_place_t *p, uint32_t size) noexcept nogil:
    if MEM_IS_EXACT or size < MAP_MIN:
        heap_free(p)
    else:
        munmap(p, size * sizeof(roster_place_t))


cdef void roster_fini(roster_t *r) noexcept nogil:
    cdef uint32_t i
    for i in range(r.n_chunks):
        heap_free(r.chunks[i])
    heap_free(r.chunks)
    _table_free(r.places, r.size)


# --- numbers ---

cdef inline uint32_t _per_chunk() noexcept nogil:
    # Each has an allocation of its own where memory is watched.
    return 1 if MEM_IS_EXACT else CHUNK


cdef inline endpoint_live_t *_at(const roster_t *r, uint32_t number) noexcept nogil:
    return r.chunks[number // _per_chunk()] + number % _per_chunk()


cdef void _grow_chunks(roster_t *r) noexcept nogil:
    cdef endpoint_live_t **was = r.chunks
    if was is not NULL and (r.n_chunks < CHUNKS_FIRST or r.n_chunks & (r.n_chunks - 1) != 0):
        return
    r.chunks = <endpoint_live_t **>heap_array(2 * r.n_chunks if r.n_chunks != 0 else CHUNKS_FIRST, sizeof(void *))
    if was is not NULL:
        memcpy(r.chunks, was, r.n_chunks * sizeof(void *))
        heap_free(was)


cdef uint32_t _number(roster_t *r) noexcept nogil:
    """Of one that is zeroed."""
    cdef uint32_t number
    if r.free != 0:
        number = r.free - 1
        r.free = _at(r, number).row
        memset(_at(r, number), 0, sizeof(endpoint_live_t))
        return number
    number = r.used
    r.used += 1
    if number == r.n_chunks * _per_chunk():
        _grow_chunks(r)
        r.chunks[r.n_chunks] = <endpoint_live_t *>heap_array(_per_chunk(), sizeof(endpoint_live_t))
        r.n_chunks += 1
    return number


# --- places ---

cdef inline uint32_t _home(const roster_t *r, uint32_t tag) noexcept nogil:
    return <uint32_t>((<uint64_t>tag * r.size) >> 32)


cdef inline uint32_t _after(const roster_t *r, uint32_t at) noexcept nogil:
    return at + 1 if at + 1 < r.size else 0


cdef void _put(roster_t *r, uint32_t tag, uint32_t one) noexcept nogil:
    cdef uint32_t at = _home(r, tag)
    while r.places[at].one != 0:
        at = _after(r, at)
    r.places[at].tag = tag
    r.places[at].one = one


cdef void _resize(roster_t *r, uint32_t size) noexcept nogil:
    cdef roster_place_t *was = r.places
    cdef uint32_t was_size = r.size
    cdef uint32_t i
    r.places = _table_new(size)
    r.size = size
    for i in range(was_size):
        if was[i].one != 0:
            _put(r, was[i].tag, was[i].one)
    _table_free(was, was_size)


cdef void roster_reserve(roster_t *r, uint32_t n) noexcept nogil:
    # At most four fifths full.
    if 5 * <uint64_t>n > 4 * <uint64_t>r.size:
        _resize(r, n + n // 4 + SIZE_FIRST)


cdef endpoint_live_t *roster_add(roster_t *r, uint64_t hash) noexcept nogil:
    cdef uint32_t number
    if 5 * (<uint64_t>r.n + 1) > 4 * <uint64_t>r.size:
        _resize(r, r.size + r.size // 4)
    number = _number(r)
    _put(r, <uint32_t>(hash >> 32), number + 1)
    r.n += 1
    return _at(r, number)


cdef void roster_remove(roster_t *r, uint64_t hash, endpoint_live_t *e) noexcept nogil:
    cdef uint32_t at = roster_look(r, hash)
    cdef uint32_t gap, home, number
    while _at(r, r.places[at].one - 1) is not e:
        at = _after(r, at)
    number = r.places[at].one - 1
    gap = at
    while True:
        at = _after(r, at)
        if r.places[at].one == 0:
            break
        home = _home(r, r.places[at].tag)
        # It may move into the gap unless its home lies behind the gap.
        if (at + r.size - home) % r.size >= (at + r.size - gap) % r.size:
            r.places[gap] = r.places[at]
            gap = at
    r.places[gap].one = 0
    r.n -= 1
    if MEM_IS_EXACT:
        # Its number is not given again.
        heap_free(e)
        r.chunks[number] = NULL
    else:
        e.row = r.free
        r.free = number + 1


cdef uint32_t roster_look(const roster_t *r, uint64_t hash) noexcept nogil:
    return _home(r, <uint32_t>(hash >> 32))


cdef endpoint_live_t *roster_next(const roster_t *r, uint64_t hash, uint32_t *at) noexcept nogil:
    cdef roster_place_t place
    while True:
        place = r.places[at[0]]
        if place.one == 0:
            return NULL
        at[0] = _after(r, at[0])
        if place.tag == <uint32_t>(hash >> 32):
            return _at(r, place.one - 1)
