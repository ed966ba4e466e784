"""See balancing.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset
from fastmesh._core.mem.arena cimport arena_array, arena_t
from fastmesh._core.lb.cluster cimport endpoint_note
from fastmesh._core.lb.endpoint cimport endpoint_note_t, endpoint_t
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.span cimport span_eq, span_of, span_t
from fastmesh._core.lb.settings cimport (
    KEY_COOKIE, KEY_HEADER, KEY_QUERY, KEY_SOURCE, STICKY_HEADER, STICKY_NONE, TABLE_SIZE_MAX, hash_key_t,
    lb_settings_init, lb_settings_t)
from fastmesh._core.snapshot.take cimport (
    take_at, take_bool, take_bytes, take_duration, take_enter, take_leave, take_list, take_record, take_refuse,
    take_text, take_token, take_u8, take_u32, take_uint)
from fastmesh._core.snapshot.unpack cimport unpack_bytes, unpack_nil

cdef enum:
    KEYS_MAX = 8
    LEVELS_MAX = 256          # 128 priorities, each with the own zone and the others
    MILLION = 1000000
    U32_MAX = 0xFFFFFFFF


cdef bint decode_ewma(take_t *t, lb_settings_t *s) noexcept nogil:
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"ewma", 4):
        return False
    take_enter(t, b"ewma")
    if not (take_duration(t, b"decay", &s.decay_ns) and take_duration(t, b"initial", &s.initial_ns) and
            take_duration(t, b"penalty", &s.penalty_ns) and take_duration(t, b"wait_max", &s.wait_max_ns)):
        return False
    take_leave(t)
    return True


cdef bint decode_key(take_t *t, hash_key_t *k) noexcept nogil:
    if not (take_record(t, NULL, 5) and take_u8(t, b"kind", KEY_SOURCE, &k.kind)):
        return False
    if k.kind == KEY_SOURCE:
        if not take_bytes(t, b"name", 0, 0, &k.name):
            return False
    elif k.kind == KEY_QUERY:
        if not take_bytes(t, b"name", 1, 256, &k.name):
            return False
    elif not take_token(t, b"name", k.kind == KEY_HEADER, &k.name):
        return False
    if not (take_bool(t, b"is_made", &k.is_made) and take_uint(t, b"ttl", 0, U32_MAX, &k.ttl_s) and
            take_text(t, b"path", 0, 1024, &k.path)):
        return False
    if k.is_made and k.kind != KEY_COOKIE:
        return take_refuse(t, b"is_made", b"must be false, as this is no cookie")
    return True


cdef bint is_prime(uint32_t n) noexcept nogil:
    cdef uint32_t i = 2
    while i * i <= n:
        if n % i == 0:
            return False
        i += 1
    return n > 1


cdef bint decode_hash(take_t *t, arena_t *arena, lb_settings_t *s) noexcept nogil:
    cdef uint32_t i
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"hash", 4):
        return False
    take_enter(t, b"hash")
    if not take_list(t, b"keys", 6, KEYS_MAX, &s.n_keys):
        return False
    s.keys = <hash_key_t *>arena_array(arena, s.n_keys, sizeof(hash_key_t))
    take_enter(t, b"keys")
    for i in range(s.n_keys):
        take_at(t, i)
        if not decode_key(t, &s.keys[i]):
            return False
    take_leave(t)
    if not (take_u32(t, b"points", 1, 10000, &s.points) and
            take_u32(t, b"table_size", 3, TABLE_SIZE_MAX, &s.table_size)):
        return False
    if not is_prime(s.table_size):
        return take_refuse(t, b"table_size", b"must be a prime number")
    if not take_u32(t, b"load_bound", 0, 10000, &s.load_bound):
        return False
    take_leave(t)
    return True


cdef bint decode_slow_start(take_t *t, lb_settings_t *s) noexcept nogil:
    cdef uint32_t aggression = 0
    cdef uint32_t least = 0
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"slow_start", 3):
        return False
    take_enter(t, b"slow_start")
    if not (take_duration(t, b"window", &s.slow_start_ns) and take_u32(t, b"aggression", 1, 1000000, &aggression) and
            take_u32(t, b"least", 0, MILLION, &least)):
        return False
    s.slow_exponent = 1000.0 / aggression
    s.slow_least = least / 1e6
    take_leave(t)
    return True


cdef uint32_t level_of(const cluster_t *c, const endpoint_t *e, bint prefers, span_t zone) noexcept nogil:
    cdef const endpoint_note_t *note = endpoint_note(c, e)
    cdef uint32_t priority = note.priority if note is not NULL else 0
    return 2 * priority + (prefers and not (note is not NULL and span_eq(note.zone, zone)))


cdef void form_levels(arena_t *arena, cluster_t *c, bint prefers, span_t zone, uint32_t below) noexcept nogil:
    """Puts the endpoints in order by what is said of each. `prefers`: those of `zone` come first within a priority."""
    cdef uint32_t counts[LEVELS_MAX]
    cdef uint32_t ends[LEVELS_MAX]
    cdef lb_settings_t *s = &c.settings
    cdef endpoint_t *sorted_
    cdef const endpoint_note_t **notes = NULL
    cdef uint32_t n = 0
    cdef uint32_t end = 0
    cdef uint32_t i, level
    memset(counts, 0, sizeof(counts))
    for i in range(c.n):
        counts[level_of(c, &c.endpoints[i], prefers, zone)] += 1
    for level in range(LEVELS_MAX):
        n += counts[level] != 0
        ends[level] = end
        end += counts[level]
    if n <= 1:
        return
    sorted_ = <endpoint_t *>arena_array(arena, c.n, sizeof(endpoint_t))
    if c.notes is not NULL:
        notes = <const endpoint_note_t **>arena_array(arena, c.n, sizeof(void *))
    for i in range(c.n):
        level = level_of(c, &c.endpoints[i], prefers, zone)
        sorted_[ends[level]] = c.endpoints[i]
        if notes is not NULL:
            notes[ends[level]] = c.notes[i]
        ends[level] += 1
    c.endpoints = sorted_
    c.notes = notes
    s.spill_below = below / 1e6
    s.levels = <uint32_t *>arena_array(arena, n, sizeof(uint32_t))
    for level in range(LEVELS_MAX):
        if counts[level] != 0:
            s.levels[s.n_levels] = counts[level]
            s.n_levels += 1


cdef bint decode_levels(take_t *t, arena_t *arena, cluster_t *c, lb_settings_t *s) noexcept nogil:
    cdef uint64_t sum_ = 0
    cdef span_t zone = span_of(NULL, 0)
    cdef bint prefers
    cdef uint32_t below = 0
    cdef uint32_t i
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"levels", 2):
        return False
    take_enter(t, b"levels")
    if not take_u32(t, b"spill_below", 0, MILLION, &below):
        return False
    prefers = unpack_bytes(&t.u, &zone) == FM_OK
    if prefers or unpack_nil(&t.u):
        form_levels(arena, c, prefers, zone, below)
        take_leave(t)
        return True
    if not take_list(t, b"counts", 1, LEVELS_MAX, &s.n_levels):
        return False
    s.spill_below = below / 1e6
    s.levels = <uint32_t *>arena_array(arena, s.n_levels, sizeof(uint32_t))
    take_enter(t, b"counts")
    for i in range(s.n_levels):
        take_at(t, i)
        if not take_u32(t, NULL, 0, U32_MAX, &s.levels[i]):
            return False
        sum_ += s.levels[i]
    take_leave(t)
    if sum_ != c.n:
        return take_refuse(t, b"counts", b"must add up to the number of endpoints")
    take_leave(t)
    return True


cdef bint decode_sticky(take_t *t, lb_settings_t *s) noexcept nogil:
    cdef span_t secret
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"sticky", 5):
        return False
    take_enter(t, b"sticky")
    if not take_u8(t, b"kind", STICKY_HEADER, &s.sticky):
        return False
    if s.sticky == STICKY_NONE:
        return take_refuse(t, b"kind", b"found 0, must be at least 1")
    if not (take_token(t, b"name", s.sticky == STICKY_HEADER, &s.sticky_field) and
            take_uint(t, b"ttl", 0, U32_MAX, &s.sticky_ttl_s) and
            take_text(t, b"path", 0, 1024, &s.sticky_path) and
            take_bytes(t, b"secret", sizeof(s.secret), sizeof(s.secret), &secret)):
        return False
    memcpy(s.secret, secret.ptr, sizeof(s.secret))
    take_leave(t)
    return True


cdef bint decode_balancing(take_t *t, arena_t *arena, cluster_t *c) noexcept nogil:
    cdef uint32_t panic = 0
    lb_settings_init(&c.settings)
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"balancing", 6):
        return False
    take_enter(t, b"balancing")
    if not (decode_ewma(t, &c.settings) and decode_hash(t, arena, &c.settings) and
            decode_slow_start(t, &c.settings) and take_u32(t, b"panic", 0, MILLION, &panic) and
            decode_levels(t, arena, c, &c.settings) and decode_sticky(t, &c.settings)):
        return False
    c.settings.panic = panic / 1e6
    take_leave(t)
    return True
