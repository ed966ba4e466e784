"""Endpoints that come and go, in the bytes of a snapshot: what stays is copied as it is written there.

For the plain case, which is all but a few: where a value is of another form than expected, or of one that only Python
reads, the answer is None and nothing has happened; `fastmesh.snapshot.revise` finds out what there is to say. What is
read here comes from a process that runs other people's code.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcmp, memcpy, memset
from fastmesh._core.mem.arena cimport heap_array, heap_free
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.hash cimport hash_bytes
from fastmesh._core.mem.pack cimport put_array, put_bytes, put_uint
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.net.addr cimport addr_t
from fastmesh._core.net.addr_text cimport addr_plain
from fastmesh._core.snapshot.unpack cimport unpack_array, unpack_bytes, unpack_t, unpack_uint
import os

from fastmesh.snapshot import wire as _wire

cdef extern from "<sys/socket.h>" nogil:
    enum: AF_INET

cdef enum:
    ENDPOINTS_MOST = 65536    # config/balancing.MAX_ENDPOINTS
    WEIGHT_MOST = 0x80000000  # config/cluster.MAX_WEIGHT
    NAMES_MOST = 32           # of what is said of an endpoint besides
    WORD_MOST = 1024          # bytes of a word
    ROW_FIELDS = 7
    HEAD_MOST = 64            # bytes of a record besides its text, its address and its words
    NOTE_HEAD = 3             # bytes before the words of a note without priority and zone

cdef uint32_t VERSION_AT = _wire.VERSION
cdef uint32_t CLUSTERS_AT = _wire.CLUSTERS
cdef uint32_t NAME_AT = _wire.CLUSTER_NAME
cdef uint32_t ENDPOINTS_AT = _wire.CLUSTER_ENDPOINTS
cdef uint32_t OVERFLOW = _wire.ENDPOINT_ROWS - 1

# One endpoint as it is in the snapshot that is made: `record` without its number, unless that is in it.
ctypedef struct entry_t:
    uint32_t family
    uint32_t port
    span_t ip
    span_t record             # written already; empty = it is written from `said`
    uint32_t said             # its place in the set
    uint32_t number

# One endpoint of a set.
ctypedef struct said_t:
    span_t text
    span_t words              # as packed, with their count; empty = none
    uint32_t weight
    bint is_there             # the snapshot has its address
    bint has_number
    uint32_t number
    addr_t *addr              # of one that the snapshot does not have

ctypedef struct turn_t:
    uint32_t n                # of the set
    said_t *said
    uint32_t *table           # place + 1 in `said` by its text; 0 = free
    uint32_t mask
    uint64_t seed
    addr_t *addrs
    uint32_t n_addrs
    entry_t *kept
    uint32_t n_kept
    entry_t *found
    uint32_t n_found
    span_t *gone              # texts
    uint32_t *gone_numbers
    uint32_t n_gone


cdef bint skip(unpack_t *u) noexcept nogil:
    """Over one value, whatever is in it."""
    cdef uint64_t left = 1
    cdef uint64_t size
    cdef uint32_t head
    cdef uint32_t i
    cdef uint8_t b
    while left != 0:
        if u.p == u.end:
            return False
        b = u.p[0]
        head = 1
        size = 0
        left -= 1
        if b < 0x80 or b >= 0xE0 or b == 0xC0 or b == 0xC2 or b == 0xC3:
            pass
        elif b & 0xF0 == 0x80:
            left += 2 * (b & 0x0F)
        elif b & 0xF0 == 0x90:
            left += b & 0x0F
        elif b & 0xE0 == 0xA0:
            size = b & 0x1F
        elif 0xCC <= b <= 0xCF:
            size = <uint64_t>1 << (b - 0xCC)
        elif 0xD0 <= b <= 0xD3:
            size = <uint64_t>1 << (b - 0xD0)
        elif b == 0xCA or b == 0xCB:
            size = 4 if b == 0xCA else 8
        elif 0xC4 <= b <= 0xC6 or 0xD9 <= b <= 0xDB or 0xDC <= b <= 0xDF:
            head += (<uint32_t>1 << (b - 0xC4)) if b <= 0xC6 else (
                <uint32_t>1 << (b - 0xD9)) if b <= 0xDB else 2 if b & 1 == 0 else 4
            if <uint64_t>(u.end - u.p) < head:
                return False
            for i in range(1, head):
                size = (size << 8) | u.p[i]
            if b >= 0xDC:
                left += size if b <= 0xDD else 2 * size
                size = 0
        else:
            return False
        if <uint64_t>(u.end - u.p) < head + size:
            return False
        u.p += head + size
        # Each takes a byte at least.
        if left > <uint64_t>(u.end - u.p):
            return False
    return True


cdef bint skip_to(unpack_t *u, uint32_t place) noexcept nogil:
    """Into a list, to the value at a place."""
    cdef uint32_t n = 0
    cdef uint32_t _i
    if unpack_array(u, &n) != FM_OK or n <= place:
        return False
    for _i in range(place):
        if not skip(u):
            return False
    return True


cdef inline bint is_text(const unpack_t *u) noexcept nogil:
    """A str comes, and no bytes."""
    return u.p < u.end and (u.p[0] & 0xE0 == 0xA0 or 0xD9 <= u.p[0] <= 0xDB)


def places(bytes snapshot, names):
    """Where the version stands in a snapshot, and where the endpoints of these clusters; None for what is no snapshot,
    or has no such clusters."""
    cdef const uint8_t *begin = <const uint8_t *>PyBytes_AS_STRING(snapshot)
    cdef const uint8_t *end = begin + PyBytes_GET_SIZE(snapshot)
    cdef unpack_t u, within
    cdef span_t name
    cdef uint32_t n = 0
    cdef uint32_t _i, _j
    u.p = begin
    u.end = end
    if not skip_to(&u, VERSION_AT):
        return None
    version = u.p - begin
    if not skip(&u):
        return None
    version = version, u.p - begin
    for _i in range(VERSION_AT + 1, CLUSTERS_AT):
        if not skip(&u):
            return None
    if unpack_array(&u, &n) != FM_OK:
        return None
    found = {}
    for _i in range(n):
        within = u
        if not skip_to(&within, NAME_AT) or not is_text(&within) or unpack_bytes(&within, &name) != FM_OK:
            return None
        text = name.ptr[:name.len].decode("utf-8", "replace")
        if text in names:
            for _j in range(NAME_AT + 1, ENDPOINTS_AT):
                if not skip(&within):
                    return None
            first = within.p - begin
            if not skip(&within):
                return None
            found[text] = first, within.p - begin
            if len(found) == len(names):
                return version, found
        if not skip(&u):
            return None
    return None


# --- a set ---

cdef uint32_t *find(const turn_t *t, span_t text) noexcept nogil:
    cdef uint32_t at = <uint32_t>hash_bytes(text.ptr, text.len, t.seed) & t.mask
    while t.table[at] != 0:
        if (t.said[t.table[at] - 1].text.len == text.len and
                memcmp(t.said[t.table[at] - 1].text.ptr, text.ptr, text.len) == 0):
            break
        at = (at + 1) & t.mask
    return &t.table[at]


cdef bint read_set(turn_t *t, unpack_t *u) noexcept nogil:
    cdef said_t *s
    cdef uint32_t *place
    cdef uint64_t weight = 0
    cdef uint32_t i
    cdef uint32_t n = 0
    for i in range(t.n):
        s = &t.said[i]
        if unpack_array(u, &n) != FM_OK or (n != 2 and n != 3) or not is_text(u) or unpack_bytes(u, &s.text) != FM_OK:
            return False
        if unpack_uint(u, &weight) != FM_OK or not 1 <= weight <= WEIGHT_MOST:
            return False
        s.weight = <uint32_t>weight
        if n == 3:
            s.words.ptr = u.p
            if not skip(u):
                return False
            s.words.len = <uint32_t>(u.p - s.words.ptr)
        place = find(t, s.text)
        if place[0] != 0:
            return False
        place[0] = i + 1
    return u.p == u.end


cdef bint words_are_plain(span_t words) noexcept nogil:
    """Names in their order, each with a value, in ASCII that can stand in a line."""
    cdef unpack_t u
    cdef span_t word
    cdef span_t last
    cdef uint32_t n = 0
    cdef uint32_t i, j
    cdef int order
    u.p = words.ptr
    u.end = words.ptr + words.len
    last.ptr = NULL
    last.len = 0
    if unpack_array(&u, &n) != FM_OK or n == 0 or n & 1 or n > 2 * NAMES_MOST:
        return False
    for i in range(n):
        if not is_text(&u) or unpack_bytes(&u, &word) != FM_OK or word.len > WORD_MOST:
            return False
        for j in range(word.len):
            if not 32 <= word.ptr[j] <= 126:
                return False
        if i & 1 == 0:
            if i != 0:
                order = memcmp(last.ptr, word.ptr, last.len if last.len < word.len else word.len)
                if order > 0 or (order == 0 and last.len >= word.len):
                    return False
            last = word
    return True


cdef bint note_is(const uint8_t *note, const uint8_t *end, span_t words) noexcept nogil:
    """A note says these words, and neither priority nor zone."""
    if words.len == 0:
        return end - note == 1 and note[0] == 0xC0
    return (end - note == NOTE_HEAD + words.len and note[0] == 0x93 and note[1] == 0 and note[2] == 0xA0 and
            memcmp(note + NOTE_HEAD, words.ptr, words.len) == 0)


cdef bint read_row(turn_t *t, unpack_t *u) noexcept nogil:
    """One endpoint of the snapshot: it is kept, or has changed, or has gone."""
    cdef const uint8_t *begin = u.p
    cdef const uint8_t *note
    cdef uint64_t number = 0
    cdef uint64_t family = 0
    cdef uint64_t port = 0
    cdef uint64_t weight = 0
    cdef uint32_t n = 0
    cdef uint32_t place
    cdef span_t ip
    cdef span_t text
    cdef said_t *s
    cdef entry_t *e
    if not (unpack_array(u, &n) == FM_OK and n == ROW_FIELDS and unpack_uint(u, &number) == FM_OK and
            unpack_uint(u, &family) == FM_OK and unpack_uint(u, &port) == FM_OK and unpack_bytes(u, &ip) == FM_OK and
            unpack_uint(u, &weight) == FM_OK and is_text(u) and unpack_bytes(u, &text) == FM_OK):
        return False
    note = u.p
    if not skip(u):
        return False
    place = find(t, text)[0]
    if place == 0:
        t.gone[t.n_gone] = text
        t.gone_numbers[t.n_gone] = <uint32_t>number
        t.n_gone += 1
        return True
    s = &t.said[place - 1]
    if s.is_there:
        return False
    s.is_there = True
    s.has_number = True
    s.number = <uint32_t>number
    if weight == s.weight and note_is(note, u.p, s.words):
        e = &t.kept[t.n_kept]
        t.n_kept += 1
        e.record.ptr = begin
        e.record.len = <uint32_t>(u.p - begin)
    else:
        if s.words.len != 0 and not words_are_plain(s.words):
            return False
        e = &t.found[t.n_found]
        t.n_found += 1
    e.family = <uint32_t>family
    e.port = <uint32_t>port
    e.ip = ip
    e.said = place - 1
    return True


cdef bint read_new(turn_t *t) noexcept nogil:
    """What the snapshot does not have."""
    cdef addr_t *a
    cdef entry_t *e
    cdef uint32_t i
    t.addrs = <addr_t *>heap_array(t.n - t.n_kept - t.n_found + 1, sizeof(addr_t))
    for i in range(t.n):
        if t.said[i].is_there:
            continue
        a = &t.addrs[t.n_addrs]
        t.n_addrs += 1
        if not addr_plain(a, t.said[i].text.ptr, t.said[i].text.len):
            return False
        if t.said[i].words.len != 0 and not words_are_plain(t.said[i].words):
            return False
        e = &t.found[t.n_found]
        t.n_found += 1
        e.family = 4 if a.family == AF_INET else 6
        e.port = a.port
        e.ip.ptr = a.ip
        e.ip.len = a.len
        e.said = i
    return True


cdef int order(const void *one, const void *other) noexcept nogil:
    """By family, address and port."""
    cdef const entry_t *a = <const entry_t *>one
    cdef const entry_t *b = <const entry_t *>other
    cdef int found
    if a.family != b.family:
        return -1 if a.family < b.family else 1
    found = memcmp(a.ip.ptr, b.ip.ptr, a.ip.len if a.ip.len < b.ip.len else b.ip.len)
    if found != 0:
        return found
    if a.ip.len != b.ip.len:
        return -1 if a.ip.len < b.ip.len else 1
    return (a.port > b.port) - (a.port < b.port)


cdef void sort(entry_t *entries, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(1, n):
        if order(&entries[i - 1], &entries[i]) > 0:
            qsort(entries, n, sizeof(entry_t), order)
            return


# --- writing ---

cdef uint8_t *put_entry(const turn_t *t, const entry_t *e, uint8_t *p) noexcept nogil:
    cdef const said_t *s
    if e.record.len != 0:
        memcpy(p, e.record.ptr, e.record.len)
        return p + e.record.len
    s = &t.said[e.said]
    p = put_array(p, ROW_FIELDS)
    p = put_uint(p, s.number)
    p = put_uint(p, e.family)
    p = put_uint(p, e.port)
    p = put_bytes(p, e.ip, False)
    p = put_uint(p, s.weight)
    p = put_bytes(p, s.text, True)
    if s.words.len == 0:
        p[0] = 0xC0
        return p + 1
    p[0] = 0x93
    p[1] = 0
    p[2] = 0xA0
    memcpy(p + NOTE_HEAD, s.words.ptr, s.words.len)
    return p + NOTE_HEAD + s.words.len


cdef uint64_t room_for(const turn_t *t) noexcept nogil:
    cdef uint64_t room = HEAD_MOST
    cdef uint32_t i
    for i in range(t.n_kept):
        room += t.kept[i].record.len
    for i in range(t.n_found):
        room += HEAD_MOST + t.found[i].ip.len + t.said[t.found[i].said].text.len + t.said[t.found[i].said].words.len
    return room


cdef uint8_t *put_all(const turn_t *t, uint8_t *p) noexcept nogil:
    """Both lists, which are in order, as one."""
    cdef uint32_t i = 0
    cdef uint32_t j = 0
    p = put_array(p, t.n_kept + t.n_found)
    while i < t.n_kept or j < t.n_found:
        if j == t.n_found or (i < t.n_kept and order(&t.kept[i], &t.found[j]) < 0):
            p = put_entry(t, &t.kept[i], p)
            i += 1
        else:
            p = put_entry(t, &t.found[j], p)
            j += 1
    return p


# --- numbers ---

cdef bint take_back(turn_t *t, span_t cluster, unpack_t *u, uint8_t **dst) noexcept nogil:
    """Gives those that come back the numbers that they had, and writes what stays in reserve to `dst`."""
    cdef const uint8_t *record
    cdef uint64_t number = 0
    cdef span_t name
    cdef span_t text
    cdef said_t *s
    cdef uint32_t place
    while u.p != u.end:
        record = u.p
        if unpack_bytes(u, &name) != FM_OK or unpack_uint(u, &number) != FM_OK or number >= OVERFLOW:
            return False
        if name.len > cluster.len and name.ptr[cluster.len] == 32 and memcmp(name.ptr, cluster.ptr, cluster.len) == 0:
            text.ptr = name.ptr + cluster.len + 1
            text.len = name.len - cluster.len - 1
            place = find(t, text)[0]
            if place != 0 and not t.said[place - 1].has_number:
                s = &t.said[place - 1]
                s.has_number = True
                s.number = <uint32_t>number
                continue
        memcpy(dst[0], record, <size_t>(u.p - record))
        dst[0] += u.p - record
    return True


cdef void reserve_gone(const turn_t *t, span_t cluster, uint8_t **dst) noexcept nogil:
    cdef uint8_t *p = dst[0]
    cdef uint32_t i
    cdef uint32_t n
    for i in range(t.n_gone):
        if t.gone_numbers[i] >= OVERFLOW:
            continue
        n = cluster.len + 1 + t.gone[i].len
        if n < 32:
            p[0] = <uint8_t>(0xA0 | n)
            p += 1
        elif n <= 0xFF:
            p[0] = 0xD9
            p[1] = <uint8_t>n
            p += 2
        else:
            p[0] = 0xDA
            p[1] = <uint8_t>(n >> 8)
            p[2] = <uint8_t>n
            p += 3
        memcpy(p, cluster.ptr, cluster.len)
        p[cluster.len] = 32
        memcpy(p + cluster.len + 1, t.gone[i].ptr, t.gone[i].len)
        p = put_uint(p + n, t.gone_numbers[i])
    dst[0] = p


cdef tuple number_them(turn_t *t, span_t cluster, bytes gone, uint32_t next_row):
    """What is in reserve afterwards, the next number that nobody had, and the numbers that had another owner; None when
    the reserve cannot be read."""
    cdef unpack_t u
    cdef uint64_t room = <uint64_t>PyBytes_GET_SIZE(gone)
    cdef uint8_t *begin
    cdef uint8_t *p
    cdef uint8_t *first
    cdef uint64_t number = 0
    cdef span_t name
    cdef said_t *s
    cdef uint32_t i
    if t.n_gone == 0 and t.n_addrs == 0:
        return gone, next_row, []
    for i in range(t.n_gone):
        room += t.gone[i].len + cluster.len + HEAD_MOST
    begin = p = first = <uint8_t *>heap_array(room + 1, 1)
    reused = []
    try:
        u.p = <const uint8_t *>PyBytes_AS_STRING(gone)
        u.end = u.p + PyBytes_GET_SIZE(gone)
        if not take_back(t, cluster, &u, &p):
            return None
        reserve_gone(t, cluster, &p)
        for i in range(t.n_found):
            s = &t.said[t.found[i].said]
            if s.has_number:
                continue
            if next_row < OVERFLOW:
                s.number = next_row
                next_row += 1
            elif first != p:
                u.p = first
                u.end = p
                if unpack_bytes(&u, &name) != FM_OK or unpack_uint(&u, &number) != FM_OK:
                    return None
                first = <uint8_t *>u.p
                s.number = <uint32_t>number
                reused.append(number)
            else:
                s.number = OVERFLOW
        return first[:p - first], next_row, reused
    finally:
        heap_free(begin)


cdef bint read_all(turn_t *t, unpack_t *told, unpack_t *before, uint32_t n_before) noexcept nogil:
    cdef uint32_t _i
    if not read_set(t, told):
        return False
    for _i in range(n_before):
        if not read_row(t, before):
            return False
    if before.p != before.end or not read_new(t):
        return False
    sort(t.kept, t.n_kept)
    sort(t.found, t.n_found)
    return True


def turn_over(bytes snapshot, place, str cluster, bytes told, bytes gone, uint32_t next_row):
    """The endpoints of a cluster when a set, packed as `pack_set` does, has taken the place of those that stand at
    `place` in a snapshot: packed; how many there are, how many came and went; and of the registry what is in reserve,
    the next free number, and the numbers that belonged to something else. None when it is not plain."""
    cdef turn_t t
    cdef unpack_t before, said
    cdef span_t name
    cdef uint32_t n_before = 0
    cdef uint32_t size = 16
    cdef uint8_t *p
    cdef bytes packed
    cdef bytes packed_name = cluster.encode()
    first, last = place
    before.p = <const uint8_t *>PyBytes_AS_STRING(snapshot) + <Py_ssize_t>first
    before.end = <const uint8_t *>PyBytes_AS_STRING(snapshot) + <Py_ssize_t>last
    said.p = <const uint8_t *>PyBytes_AS_STRING(told)
    said.end = said.p + PyBytes_GET_SIZE(told)
    name.ptr = <const uint8_t *>PyBytes_AS_STRING(packed_name)
    name.len = <uint32_t>PyBytes_GET_SIZE(packed_name)
    memset(&t, 0, sizeof(turn_t))
    if unpack_array(&said, &t.n) != FM_OK or t.n > ENDPOINTS_MOST or unpack_array(&before, &n_before) != FM_OK:
        return None
    while size < 2 * t.n:
        size *= 2
    t.mask = size - 1
    t.seed = int.from_bytes(os.urandom(8), "little")
    t.table = <uint32_t *>heap_array(size, sizeof(uint32_t))
    t.said = <said_t *>heap_array(t.n, sizeof(said_t))
    t.kept = <entry_t *>heap_array(t.n, sizeof(entry_t))
    t.found = <entry_t *>heap_array(t.n, sizeof(entry_t))
    t.gone = <span_t *>heap_array(n_before, sizeof(span_t))
    t.gone_numbers = <uint32_t *>heap_array(n_before, sizeof(uint32_t))
    try:
        if not read_all(&t, &said, &before, n_before):
            return None
        numbers = number_them(&t, name, gone, next_row)
        if numbers is None:
            return None
        packed = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>room_for(&t))
        p = put_all(&t, <uint8_t *>PyBytes_AS_STRING(packed))
        packed = packed[:p - <uint8_t *>PyBytes_AS_STRING(packed)]
        return packed, t.n, t.n_addrs, t.n_gone, *numbers
    finally:
        heap_free(t.table)
        heap_free(t.said)
        heap_free(t.kept)
        heap_free(t.found)
        heap_free(t.gone)
        heap_free(t.gone_numbers)
        heap_free(t.addrs)
