"""See label_table.pxd."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy
from fastmesh._core.mem.counter cimport STATS_LABEL_NAME, STATS_LABEL_ROWS, STATS_LABEL_TEXT, label_row_t, labelled_t
from fastmesh._core.mem.sip cimport sip_hash
from fastmesh._core.mem.span cimport span_of, span_t

cdef extern from "<unistd.h>" nogil:
    int getentropy(void *to, size_t n)

cdef enum:
    WAY_PARTS = 3             # of a row's text, before its labels


cdef inline uint64_t _hash(const label_table_t *t, const uint8_t *p, uint32_t n) noexcept nogil:
    """Never 0."""
    cdef uint64_t out[2]
    sip_hash(p, n, t.seed, out)
    return out[0] | 1


cdef inline uint32_t _put(uint8_t *to, uint32_t at, span_t s) noexcept nogil:
    """At most 255 bytes, which whoever calls has seen to."""
    to[at] = <uint8_t>s.len
    if s.len != 0:
        memcpy(to + at + 1, s.ptr, s.len)
    return at + 1 + s.len


cdef inline span_t _cut(span_t s, uint32_t most) noexcept nogil:
    """Not within a character of UTF-8."""
    cdef uint32_t n = s.len
    if s.ptr is NULL:
        return span_of(s.ptr, 0)
    if n > most:
        n = most
        while n > 0 and (s.ptr[n] & 0xC0) == 0x80:
            n -= 1
    return span_of(s.ptr, n)


cdef uint32_t _write(uint8_t *to, const labelled_way_t *way) noexcept nogil:
    cdef uint32_t at = 0
    cdef uint32_t i
    at = _put(to, at, _cut(way.listener, LABEL_WAY_BYTES))
    at = _put(to, at, _cut(way.route, LABEL_WAY_BYTES))
    at = _put(to, at, _cut(way.cluster, LABEL_WAY_BYTES))
    for i in range(way.n):
        at = _put(to, at, _cut(way.names[i], STATS_LABEL_NAME))
        at = _put(to, at, _cut(way.values[i], LABEL_VALUE_BYTES))
    return at


cdef uint32_t *_slot(label_table_t *t, const uint8_t *text, uint32_t n) noexcept nogil:
    """Where the row of a text is, or would be: there are more slots than rows."""
    cdef uint32_t at = <uint32_t>(_hash(t, text, n) >> 20) & (LABEL_SLOTS - 1)
    cdef label_row_t *row
    while t.slots[at] != 0:
        row = &t.shared.rows[t.slots[at] - 1]
        if row.size == n and memcmp(row.text, text, n) == 0:
            break
        at = (at + 1) & (LABEL_SLOTS - 1)
    return &t.slots[at]


cdef inline bint _counts(span_t value) noexcept nogil:
    """No label, and "other", are there always."""
    return value.len != 0 and not (value.len == 5 and memcmp(value.ptr, b"other", 5) == 0)


cdef uint64_t _pair(const label_table_t *t, span_t name, span_t value) noexcept nogil:
    cdef uint8_t text[STATS_LABEL_NAME + LABEL_VALUE_BYTES + 2]
    return _hash(t, text, _put(text, _put(text, 0, name), value))


cdef uint64_t *_seen(label_table_t *t, uint64_t h) noexcept nogil:
    """Where a pair of name and value is known, or would be."""
    cdef uint32_t at = <uint32_t>(h >> 20) & (LABEL_SEEN - 1)
    while t.seen[at] != 0 and t.seen[at] != h:
        at = (at + 1) & (LABEL_SEEN - 1)
    return &t.seen[at]


cdef label_name_t *_name(label_table_t *t, span_t name) noexcept nogil:
    """NULL when there are too many."""
    cdef uint64_t h = _hash(t, name.ptr, name.len)
    cdef uint32_t i
    for i in range(t.n_names):
        if t.names[i].hash == h:
            return &t.names[i]
    if t.n_names == LABEL_NAMES_MOST:
        return NULL
    t.names[t.n_names].hash = h
    t.n_names += 1
    return &t.names[t.n_names - 1]


cdef void _learn(label_table_t *t, span_t name, span_t value) noexcept nogil:
    """That a name has a value."""
    cdef uint64_t h = _pair(t, name, value)
    cdef uint64_t *place = _seen(t, h)
    cdef label_name_t *of = _name(t, name)
    if not _counts(value) or of is NULL or place[0] != 0 or of.n >= LABEL_VALUES_MOST:
        return
    place[0] = h
    of.n += 1


cdef bint _is_new(label_table_t *t, span_t name, span_t value, uint32_t most) noexcept nogil:
    """A value beyond those that its name may have."""
    cdef label_name_t *of
    if not _counts(value) or _seen(t, _pair(t, name, value))[0] != 0:
        return False
    of = _name(t, name)
    return of is NULL or of.n >= (most if most < LABEL_VALUES_MOST else LABEL_VALUES_MOST)


cdef bint _next(const uint8_t **p, const uint8_t *end, uint32_t most, span_t *part) noexcept nogil:
    """The next part of a text, of which nothing is believed: it is a filter's to spoil, as all of its process."""
    if p[0] >= end or p[0][0] > most or p[0] + 1 + p[0][0] > end:
        return False
    part[0] = span_of(p[0] + 1, p[0][0])
    p[0] += 1 + part.len
    return True


cdef void _recall(label_table_t *t, label_row_t *row) noexcept nogil:
    """The values of a row."""
    cdef const uint8_t *p = row.text
    cdef const uint8_t *end = row.text + row.size
    cdef span_t name, value
    cdef uint32_t _i
    for _i in range(WAY_PARTS):
        if not _next(&p, end, LABEL_WAY_BYTES, &name):
            return
    for _i in range(LABELS_MOST):
        if not (_next(&p, end, STATS_LABEL_NAME, &name) and _next(&p, end, LABEL_VALUE_BYTES, &value)):
            return
        _learn(t, name, value)


cdef label_table_t *label_table_new(labelled_t *shared) noexcept nogil:
    cdef label_table_t *t = <label_table_t *>calloc(1, sizeof(label_table_t))
    cdef label_row_t *row
    cdef uint64_t n, i
    if t is NULL:
        return NULL
    if getentropy(t.seed, sizeof(t.seed)) != 0:
        free(t)
        return NULL
    t.shared = shared
    if shared.head.n_rows > STATS_LABEL_ROWS:
        shared.head.n_rows = STATS_LABEL_ROWS
    if shared.head.n_rows == 0:
        shared.head.n_rows = 1
    n = shared.head.n_rows
    for i in range(1, n):
        row = &shared.rows[i]
        if 0 < row.size <= STATS_LABEL_TEXT:
            _slot(t, row.text, <uint32_t>row.size)[0] = <uint32_t>i + 1
            _recall(t, row)
    return t


cdef void label_table_free(label_table_t *t) noexcept nogil:
    free(t)


cdef label_row_t *_rest(label_table_t *t, labelled_way_t *way) noexcept nogil:
    """What has no row of its own. Its labels are those of when it was counted in first."""
    cdef label_row_t *row = &t.shared.rows[0]
    cdef span_t other = span_of(<const uint8_t *>b"other", 5)
    cdef uint32_t i
    t.shared.head.rows_full += 1
    if row.size == 0:
        way.listener = other
        way.route = other
        way.cluster = other
        for i in range(way.n):
            way.values[i] = other
        row.size = _write(row.text, way)
    return row


cdef label_row_t *label_table_row(label_table_t *t, const labelled_way_t *given, uint32_t most) noexcept nogil:
    cdef uint8_t text[STATS_LABEL_TEXT]
    cdef labelled_way_t way = given[0]
    cdef label_row_t *row
    cdef span_t name
    cdef uint32_t n, i
    cdef uint32_t *slot
    cdef bint is_cut = False
    for i in range(way.n):
        way.values[i] = _cut(way.values[i], LABEL_VALUE_BYTES)
    n = _write(text, &way)
    slot = _slot(t, text, n)
    if slot[0] != 0:
        return &t.shared.rows[slot[0] - 1]
    for i in range(way.n):
        name = _cut(way.names[i], STATS_LABEL_NAME)
        if _is_new(t, name, way.values[i], most):
            way.values[i] = span_of(<const uint8_t *>b"other", 5)
            is_cut = True
            if t.shared.head.full_size == 0:
                memcpy(t.shared.head.full, name.ptr, name.len)
                t.shared.head.full_size = name.len
    if is_cut:
        t.shared.head.overflow += 1
        n = _write(text, &way)
        slot = _slot(t, text, n)
        if slot[0] != 0:
            return &t.shared.rows[slot[0] - 1]
    if t.shared.head.n_rows >= STATS_LABEL_ROWS:
        return _rest(t, &way)
    row = &t.shared.rows[t.shared.head.n_rows]
    memcpy(row.text, text, n)
    row.size = n
    slot[0] = <uint32_t>t.shared.head.n_rows + 1
    t.shared.head.n_rows += 1
    _recall(t, row)
    return row
