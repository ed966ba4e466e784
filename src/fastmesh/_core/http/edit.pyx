"""See edit.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport int16_t
from libc.string cimport memcpy, memset
from fastmesh._core.http.msg cimport (
    FIELD_DROP, FIELD_OURS, MSG_DROPS, MSG_EDITED, MSG_FIELDS_ROOM, MSG_LINE, field_t)
from fastmesh._core.http.token cimport (
    HEADER_CONNECTION, HEADER_CONTENT_LENGTH, HEADER_HOST, HEADER_HTTP2_SETTINGS, HEADER_KEEP_ALIVE,
    HEADER_PROXY_CONNECTION, HEADER_TE, HEADER_TRAILER, HEADER_TRANSFER_ENCODING, HEADER_UPGRADE)
from fastmesh._core.mem.fault cimport FM_ELIMIT, FM_OK
from fastmesh._core.mem.raw cimport raw_give, raw_take
from fastmesh._core.mem.span cimport span_of

cdef extern from "scan.h" nogil:
    enum:
        CC_TCHAR
        CC_VALUE
        CC_TARGET
        CC_PATH
    bint char_is(uint8_t c, int class_bits) noexcept
    bint scan_is_fold(const uint8_t *p, const char *lower, size_t n) noexcept

cdef extern from "field_name.h" nogil:
    unsigned int field_name_id(const uint8_t *p, size_t n) noexcept

cdef enum:
    FIRST_BYTES = 4096
    KEEP_FREE = 64            # heads that wait for their next use
    FIELDS_LEFT = 8           # places in the table that the proxy keeps for itself
    BYTES_LEFT = 1024         # of a head, likewise
    # A filter that wrote these could make two messages out of one, or speak for another hop.
    OWN = (1 << HEADER_CONNECTION | 1 << HEADER_CONTENT_LENGTH | 1 << HEADER_TRANSFER_ENCODING | 1 << HEADER_TE |
           1 << HEADER_TRAILER | 1 << HEADER_UPGRADE | 1 << HEADER_KEEP_ALIVE | 1 << HEADER_PROXY_CONNECTION |
           1 << HEADER_HTTP2_SETTINGS)

cdef head_t *spare = NULL
cdef uint32_t n_spare = 0
cdef uint32_t n_live = 0


cdef uint32_t heads_live() noexcept nogil:
    return n_live


cdef head_t *_take(uint32_t n) noexcept nogil:
    global spare, n_spare, n_live
    cdef head_t *h = spare
    if h is not NULL:
        spare = h.next
        n_spare -= 1
        h.m.len = 0
    else:
        h = <head_t *>raw_take(sizeof(head_t))
        h.bytes = <uint8_t *>raw_take(FIRST_BYTES)
        h.cap = FIRST_BYTES
        h.m.len = 0
    if n > h.cap:
        _grow(h, n)
    n_live += 1
    return h


cdef void _grow(head_t *h, uint32_t n) noexcept nogil:
    cdef uint32_t cap = h.cap
    cdef uint8_t *old = h.bytes
    while cap < n:
        cap *= 2
    h.bytes = <uint8_t *>raw_take(cap)
    memcpy(h.bytes, old, h.m.len)
    raw_give(old)
    h.cap = cap
    h.m.base = h.bytes


cdef head_t *head_copy(const msg_t *m) noexcept nogil:
    cdef head_t *h = _take(m.len)
    cdef size_t n = <size_t>(<const uint8_t *>&m.fields[0] - <const uint8_t *>m) + m.n_fields * sizeof(field_t)
    memcpy(&h.m, m, n)
    memcpy(h.bytes, m.base, m.len)
    h.m.base = h.bytes
    return h


cdef head_t *head_empty() noexcept nogil:
    cdef head_t *h = _take(0)
    cdef int i
    memset(&h.m, 0, <size_t>(<uint8_t *>&h.m.fields[0] - <uint8_t *>&h.m))
    for i in range(32):
        h.m.at[i] = -1
    h.m.minor = 1
    h.m.base = h.bytes
    return h


cdef void head_free(head_t *h) noexcept nogil:
    global spare, n_spare, n_live
    n_live -= 1
    if n_spare >= KEEP_FREE or h.cap > FIRST_BYTES:
        raw_give(h.bytes)
        raw_give(h)
        return
    h.next = spare
    spare = h
    n_spare += 1


cdef inline bint _is_name(const msg_t *m, const field_t *f, const uint8_t *name, uint32_t n) noexcept nogil:
    cdef uint32_t i
    cdef uint8_t a, b
    if f.name_len != n:
        return False
    for i in range(n):
        a = m.base[f.name_off + i]
        b = name[i]
        if a != b:
            # Only letters have a case; bit 5 alone would make "@" and "`" one.
            if (a ^ b) != 0x20 or not 97 <= (a | 0x20) <= 122:
                return False
    return True


cdef int head_find_any(const msg_t *m, const uint8_t *name, uint32_t n, int start) noexcept nogil:
    cdef int i
    for i in range(start, m.n_fields):
        if _is_name(m, &m.fields[i], name, n):
            return i
    return -1


cdef int head_find(const msg_t *m, const uint8_t *name, uint32_t n, int start) noexcept nogil:
    cdef int i
    for i in range(start, m.n_fields):
        if m.fields[i].name_len == n and not m.fields[i].bits & FIELD_DROP and _is_name(m, &m.fields[i], name, n):
            return i
    return -1


cdef int _check_name(const uint8_t *name, uint32_t n) noexcept nogil:
    """The number of the name, 0 when it has none; or EDIT_REFUSED."""
    cdef uint32_t i
    if n == 0 or n > 1024:
        return EDIT_REFUSED
    for i in range(n):
        if not char_is(name[i], CC_TCHAR):
            return EDIT_REFUSED
    return <int>field_name_id(name, n)


cdef int _drop(head_t *h, const uint8_t *name, uint32_t n, int id) noexcept nogil:
    cdef msg_t *m = &h.m
    cdef int i = 0
    cdef int found = 0
    while True:
        i = head_find(m, name, n, i)
        if i < 0:
            break
        m.fields[i].bits |= FIELD_DROP
        found += 1
        i += 1
    if found:
        m.bits |= MSG_DROPS | MSG_EDITED
        if id != 0:
            m.at[id] = -1
        if id == HEADER_HOST:
            m.authority_len = 0
    return found


cdef int head_drop(head_t *h, const uint8_t *name, uint32_t n) noexcept nogil:
    cdef int id = _check_name(name, n)
    if id < 0:
        return id
    if id != 0 and OWN >> id & 1:
        return EDIT_OWN
    return _drop(h, name, n, id)


cdef int head_drop_own(head_t *h, const uint8_t *name, uint32_t n) noexcept nogil:
    return _drop(h, name, n, <int>field_name_id(name, n))


cdef int _add(head_t *h, const uint8_t *name, uint32_t n, span_t value, int id, uint32_t most_bytes,
              uint32_t most_fields) noexcept nogil:
    cdef msg_t *m = &h.m
    cdef field_t *f
    cdef uint8_t *to
    cdef uint32_t need
    while value.len > 0 and (value.ptr[0] == c' ' or value.ptr[0] == c'\t'):
        value = span_of(value.ptr + 1, value.len - 1)
    while value.len > 0 and (value.ptr[value.len - 1] == c' ' or value.ptr[value.len - 1] == c'\t'):
        value.len -= 1
    if value.len > EDIT_BYTES:
        return FM_ELIMIT
    need = m.len + n + value.len + 4
    if need > most_bytes or m.n_fields >= most_fields:
        return FM_ELIMIT
    if need > h.cap:
        _grow(h, need)
    f = &m.fields[m.n_fields]
    to = h.bytes + m.len
    f.name_off = <uint16_t>m.len
    f.name_len = <uint16_t>n
    memcpy(to, name, n)
    to[n] = c':'
    to[n + 1] = c' '
    f.value_off = <uint16_t>(m.len + n + 2)
    f.value_len = <uint16_t>value.len
    if value.len:
        memcpy(to + n + 2, value.ptr, value.len)
    to[n + 2 + value.len] = c'\r'
    to[n + 3 + value.len] = c'\n'
    f.end_off = <uint16_t>need
    f.id = <uint8_t>id
    f.bits = FIELD_OURS
    m.len = need
    if id != 0 and m.at[id] < 0:
        m.at[id] = <int16_t>m.n_fields
    if id == HEADER_HOST:
        m.authority_off = f.value_off
        m.authority_len = f.value_len
        if m.absolute:
            m.absolute = 0
            m.bits |= MSG_LINE
    m.n_fields += 1
    m.bits |= MSG_EDITED
    return FM_OK


cdef int head_add(head_t *h, const uint8_t *name, uint32_t n, span_t value) noexcept nogil:
    cdef int id = _check_name(name, n)
    cdef uint32_t i
    if id < 0:
        return id
    if id != 0 and OWN >> id & 1:
        return EDIT_OWN
    for i in range(value.len):
        if not char_is(value.ptr[i], CC_VALUE):
            return EDIT_REFUSED
    return _add(h, name, n, value, id, EDIT_BYTES - BYTES_LEFT, MSG_FIELDS_ROOM - FIELDS_LEFT)


cdef int head_add_own(head_t *h, const uint8_t *name, uint32_t n, span_t value) noexcept nogil:
    return _add(h, name, n, value, <int>field_name_id(name, n), EDIT_BYTES, MSG_FIELDS_ROOM)


cdef inline bint _is_within(const head_t *h, const uint8_t *p) noexcept nogil:
    return p is not NULL and h.bytes <= p < h.bytes + h.cap


cdef int head_set_target(head_t *h, span_t path, span_t query) noexcept nogil:
    cdef msg_t *m = &h.m
    cdef uint32_t i
    cdef uint32_t need = m.len + path.len + query.len
    cdef ssize_t path_at, query_at
    if path.len == 0 or (path.ptr[0] != c'/' and not (path.len == 1 and path.ptr[0] == c'*')):
        return EDIT_REFUSED
    for i in range(path.len):
        if not char_is(path.ptr[i], CC_PATH):
            return EDIT_REFUSED
    for i in range(query.len):
        if not char_is(query.ptr[i], CC_TARGET):
            return EDIT_REFUSED
    if path.len > EDIT_BYTES or query.len > EDIT_BYTES or need > EDIT_BYTES - BYTES_LEFT:
        return FM_ELIMIT
    if need > h.cap:
        path_at = path.ptr - h.bytes if _is_within(h, path.ptr) else -1
        query_at = query.ptr - h.bytes if _is_within(h, query.ptr) else -1
        _grow(h, need)
        if path_at >= 0:
            path.ptr = h.bytes + path_at
        if query_at >= 0:
            query.ptr = h.bytes + query_at
    memcpy(h.bytes + m.len, path.ptr, path.len)
    m.path_off = <uint16_t>m.len
    m.path_len = <uint16_t>path.len
    m.len += path.len
    m.query_has = query.ptr is not NULL
    if query.len:
        memcpy(h.bytes + m.len, query.ptr, query.len)
    m.query_off = <uint16_t>m.len
    m.query_len = <uint16_t>query.len
    m.len += query.len
    m.bits |= MSG_EDITED | MSG_LINE
    return FM_OK
