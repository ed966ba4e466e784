"""See subset.pxd."""
from libc.stdint cimport uint64_t
from fastmesh._core.lb.cluster cimport LB_MAGLEV, cluster_build, cluster_drop, cluster_tell, endpoint_note
from fastmesh._core.lb.endpoint cimport endpoint_note_t, endpoint_t
from fastmesh._core.mem.arena cimport arena_array, heap_array, heap_free
from fastmesh._core.mem.hash cimport hash_bytes, hash_mix
from fastmesh._core.mem.span cimport span_eq

# For those who tell people, in the order of CHOSE_*.
CHOICES = ("subset", "all", "default", "all instead", "default instead", "nothing")

cdef enum:
    SEED = 0x737562736574
    PLACES_EACH = 100             # of Maglev's table, for each endpoint: shares even to 1 %

# Primes: a table grows in a few large steps, as most keys move with each.
cdef uint32_t[5] SIZES = [1021, 4093, 16381, 65537, 262139]

# A subset that is being gathered.
ctypedef struct group_t:
    uint64_t hash
    uint32_t selector
    uint32_t first                # its first endpoint
    uint32_t n
    uint32_t start                # where its members begin in the list of all
    uint32_t filled


cdef inline bint said_of(const cluster_t *c, const endpoint_t *e, span_t name, span_t *value) noexcept nogil:
    cdef const endpoint_note_t *note = endpoint_note(c, e)
    cdef uint32_t i
    if note is NULL:
        return False
    for i in range(note.n):
        if span_eq(note.words[2 * i], name):
            value[0] = note.words[2 * i + 1]
            return True
    return False


cdef bint read_values(const cluster_t *c, const endpoint_t *e, const subset_selector_t *s,
                      span_t *values) noexcept nogil:
    cdef uint32_t i
    for i in range(s.n):
        if not said_of(c, e, s.names[i], &values[i]):
            return False
    return True


cdef uint64_t hash_of(uint32_t selector, const span_t *values, uint32_t n) noexcept nogil:
    cdef uint64_t hash = hash_mix(SEED, selector)
    cdef uint32_t i
    for i in range(n):
        # Lengths first: "ab" and "c" are not "a" and "bc".
        hash = hash_bytes(values[i].ptr, values[i].len, hash_mix(hash, values[i].len))
    return hash


cdef bint has_values(const cluster_t *c, const endpoint_t *e, const subset_selector_t *s,
                     const span_t *values) noexcept nogil:
    cdef span_t value
    cdef uint32_t i
    for i in range(s.n):
        if not said_of(c, e, s.names[i], &value) or not span_eq(value, values[i]):
            return False
    return True


cdef uint32_t *sizes_of_levels(const cluster_t *c, const endpoint_t *members, uint32_t n, const uint32_t *from_,
                               arena_t *arena) noexcept nogil:
    """How many of the members each level of the whole has. `from_`: the place of each in the whole."""
    cdef uint32_t *counts = <uint32_t *>arena_array(arena, c.settings.n_levels, sizeof(uint32_t))
    cdef uint32_t end = c.settings.levels[0]
    cdef uint32_t level = 0
    cdef uint32_t i
    for i in range(n):
        while from_[i] >= end:
            level += 1
            end += c.settings.levels[level]
        counts[level] += 1
    return counts


cdef void become_part(cluster_t *part, cluster_t *c) noexcept nogil:
    """A copy that owns nothing yet, and has no endpoint."""
    part[0] = c[0]
    part.whole = c
    part.subsets = NULL
    part.ops = NULL
    part.lb_state = NULL
    part.levels = NULL
    part.names = NULL
    part.given = NULL
    part.endpoints = NULL
    part.notes = NULL
    part.n = 0
    part.settings.n_levels = 0
    part.load_until_ns = 0


cdef void make(cluster_t *c, subset_t *made, const group_t *g, const uint32_t *from_, arena_t *arena) noexcept nogil:
    cdef cluster_t *part = &made.c
    cdef uint32_t i
    become_part(part, c)
    made.selector = g.selector
    part.n = g.n
    part.endpoints = <endpoint_t *>arena_array(arena, g.n, sizeof(endpoint_t))
    # Who is in a part has said something.
    part.notes = <const endpoint_note_t **>arena_array(arena, g.n, sizeof(void *))
    for i in range(g.n):
        part.endpoints[i] = c.endpoints[from_[i]]
        part.notes[i] = c.notes[from_[i]]
    if c.settings.n_levels != 0:
        part.settings.n_levels = c.settings.n_levels
        part.settings.levels = sizes_of_levels(c, part.endpoints, g.n, from_, arena)
    if c.lb == LB_MAGLEV:
        for i in range(5):
            if SIZES[i] >= c.settings.table_size:
                break
            if SIZES[i] >= <uint64_t>PLACES_EACH * g.n:
                part.settings.table_size = SIZES[i]
                break
    cluster_build(part)


cdef uint32_t gather(cluster_t *c, subsets_t *v, group_t *groups, uint32_t *owners) noexcept nogil:
    """Finds the groups, and for each selector and endpoint the group + 1; 0 = in none. How many groups there are."""
    cdef span_t values[SUBSET_KEYS_MAX]
    cdef const subset_selector_t *s
    cdef uint64_t copies = 0
    cdef uint64_t hash
    cdef uint32_t n = 0
    cdef uint32_t k, i, at
    for k in range(v.n_selectors):
        s = &v.selectors[k]
        for i in range(c.n):
            if not read_values(c, &c.endpoints[i], s, values):
                continue
            hash = hash_of(k, values, s.n)
            at = <uint32_t>hash & v.mask
            while v.places[at] != 0 and not (
                    groups[v.places[at] - 1].hash == hash and groups[v.places[at] - 1].selector == k and
                    has_values(c, &c.endpoints[groups[v.places[at] - 1].first], s, values)):
                at = (at + 1) & v.mask
            if copies >= SUBSET_COPIES_MAX or (v.places[at] == 0 and n >= v.most):
                v.left_out += 1
                continue
            if v.places[at] == 0:
                groups[n].hash = hash
                groups[n].selector = k
                groups[n].first = i
                n += 1
                v.places[at] = n
            copies += 1
            groups[v.places[at] - 1].n += 1
            owners[<size_t>k * c.n + i] = v.places[at]
    return n


cdef void line_up(const cluster_t *c, const subsets_t *v, group_t *groups, const uint32_t *owners,
                  uint32_t *members) noexcept nogil:
    cdef group_t *g
    cdef uint32_t k, i, owner
    for k in range(v.n_selectors):
        for i in range(c.n):
            owner = owners[<size_t>k * c.n + i]
            if owner != 0:
                g = &groups[owner - 1]
                members[g.start + g.filled] = i
                g.filled += 1


cdef void subsets_build(cluster_t *c, arena_t *arena) noexcept nogil:
    cdef subsets_t *v = <subsets_t *>c.subsets
    cdef uint64_t most = <uint64_t>c.n * v.n_selectors
    cdef uint32_t size = 16
    cdef group_t *groups
    cdef uint32_t *owners
    cdef uint32_t *members
    cdef uint32_t total = 0
    cdef uint32_t g
    become_part(&v.nothing, c)
    cluster_build(&v.nothing)
    if most > v.most:
        most = v.most
    while size < 2 * most:
        size *= 2
    v.mask = size - 1
    v.places = <uint32_t *>arena_array(arena, size, sizeof(uint32_t))
    if c.n == 0:
        return
    groups = <group_t *>heap_array(<size_t>most + 1, sizeof(group_t))
    owners = <uint32_t *>heap_array(<size_t>c.n * v.n_selectors + 1, sizeof(uint32_t))
    v.n = gather(c, v, groups, owners)
    for g in range(v.n):
        groups[g].start = total
        total += groups[g].n
    members = <uint32_t *>heap_array(<size_t>total + 1, sizeof(uint32_t))
    line_up(c, v, groups, owners, members)
    v.subsets = <subset_t *>arena_array(arena, v.n, sizeof(subset_t))
    for g in range(v.n):
        make(c, &v.subsets[g], &groups[g], members + groups[g].start, arena)
    heap_free(groups)
    heap_free(owners)
    heap_free(members)
    if v.n_default != 0:
        v.standby = subset_find(c, v.default_, v.n_default)


cdef void subsets_drop(cluster_t *c) noexcept nogil:
    cdef subsets_t *v = <subsets_t *>c.subsets
    cdef uint32_t i
    if v is NULL:
        return
    cluster_drop(&v.nothing)
    if v.subsets is not NULL:
        for i in range(v.n):
            cluster_drop(&v.subsets[i].c)


cdef void subsets_tell(cluster_t *c) noexcept nogil:
    cdef subsets_t *v = <subsets_t *>c.subsets
    cdef uint32_t i
    for i in range(v.n):
        cluster_tell(&v.subsets[i].c, c.told)
    if c.told is NULL:
        return
    c.told.subsets = v.n
    c.told.subset_left_out = v.left_out


cdef int32_t subsets_selector(const subsets_t *v, const subset_pair_t *pairs, uint32_t n) noexcept nogil:
    cdef const subset_selector_t *s
    cdef uint32_t k, i
    for k in range(v.n_selectors):
        s = &v.selectors[k]
        if s.n != n:
            continue
        i = 0
        while i < n and span_eq(s.names[i], pairs[i].name):
            i += 1
        if i == n:
            return <int32_t>k
    return -1


cdef cluster_t *subset_find(const cluster_t *c, const subset_pair_t *pairs, uint32_t n) noexcept nogil:
    cdef const subsets_t *v = <const subsets_t *>c.subsets
    cdef span_t values[SUBSET_KEYS_MAX]
    cdef const subset_t *found
    cdef int32_t k = subsets_selector(v, pairs, n)
    cdef uint32_t at, i
    if k < 0:
        return NULL
    for i in range(n):
        values[i] = pairs[i].value
    at = <uint32_t>hash_of(<uint32_t>k, values, n) & v.mask
    while v.places[at] != 0:
        found = &v.subsets[v.places[at] - 1]
        if found.selector == <uint32_t>k and has_values(&found.c, &found.c.endpoints[0], &v.selectors[k], values):
            return <cluster_t *>&found.c
        at = (at + 1) & v.mask
    return NULL


cdef cluster_t *subset_choose(cluster_t *c, const subset_pair_t *pairs, uint32_t n, int *how) noexcept nogil:
    cdef subsets_t *v = <subsets_t *>c.subsets
    cdef cluster_t *found
    if n != 0:
        found = subset_find(c, pairs, n)
        if found is not NULL:
            how[0] = CHOSE_SUBSET
            return found
    if v.fallback == SUBSET_DEFAULT and v.standby is not NULL:
        how[0] = CHOSE_DEFAULT if n == 0 else CHOSE_DEFAULT_INSTEAD
        return v.standby
    if v.fallback == SUBSET_DEFAULT or (v.fallback == SUBSET_NONE and n != 0):
        how[0] = CHOSE_NOTHING
        return &v.nothing
    how[0] = CHOSE_ALL if n == 0 else CHOSE_ALL_INSTEAD
    return c


cdef uint32_t subset_pairs(const cluster_t *subset, subset_pair_t *to) noexcept nogil:
    cdef const subsets_t *v
    cdef const subset_selector_t *s
    cdef uint32_t i
    if subset.whole is NULL or subset.n == 0:
        return 0
    v = <const subsets_t *>subset.whole.subsets
    s = &v.selectors[(<const subset_t *>subset).selector]
    for i in range(s.n):
        to[i].name = s.names[i]
        said_of(subset, &subset.endpoints[0], s.names[i], &to[i].value)
    return s.n
