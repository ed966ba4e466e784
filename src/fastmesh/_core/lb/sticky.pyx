"""See sticky.pxd."""
from libc.stdint cimport uint64_t
from libc.string cimport memcpy
from fastmesh._core.mem.arena cimport heap_array, heap_free, heap_new
from fastmesh._core.mem.sip cimport sip_hash
from fastmesh._core.net.addr cimport ADDR_PATH_MAX
from fastmesh._core.lb.endpoint cimport endpoint_ip, endpoint_live_t

cdef enum:
    NAME_MAX = 128            # of a cluster

ctypedef struct name_t:
    uint64_t word[2]

ctypedef struct names_t:
    name_t *names             # by slot
    uint32_t *places          # open addressing by word[0]: slot + 1, 0 = free
    uint32_t mask


cdef void seal(const cluster_t *c, const endpoint_t *e, name_t *name) noexcept nogil:
    cdef uint8_t text[NAME_MAX + ADDR_PATH_MAX + 8]
    cdef const endpoint_live_t *live = e.live
    cdef uint32_t n = c.name.len if c.name.len < NAME_MAX else NAME_MAX
    memcpy(text, c.name.ptr, n)
    # Names hold no NUL: the two parts cannot be shifted against each other.
    text[n] = 0
    text[n + 1] = live.family
    text[n + 2] = <uint8_t>(live.port >> 8)
    text[n + 3] = <uint8_t>live.port
    memcpy(text + n + 4, endpoint_ip(live), live.len)
    sip_hash(text, n + 4 + live.len, c.settings.secret, name.word)


cdef void sticky_build(cluster_t *c) noexcept nogil:
    cdef names_t *v
    cdef uint32_t size = 16
    cdef uint32_t i, at
    if c.settings.sticky == 0 or c.n == 0:
        return
    v = <names_t *>heap_new(sizeof(names_t))
    while size < 2 * c.n and size < <uint32_t>1 << 31:
        size *= 2
    v.mask = size - 1
    v.names = <name_t *>heap_array(c.n, sizeof(name_t))
    v.places = <uint32_t *>heap_array(size, sizeof(uint32_t))
    for i in range(c.n):
        seal(c, &c.endpoints[i], &v.names[i])
        at = <uint32_t>v.names[i].word[0] & v.mask
        while v.places[at] != 0:
            at = (at + 1) & v.mask
        v.places[at] = i + 1
    c.names = v


cdef void sticky_drop(cluster_t *c) noexcept nogil:
    cdef names_t *v = <names_t *>c.names
    if v is NULL:
        return
    heap_free(v.names)
    heap_free(v.places)
    heap_free(v)
    c.names = NULL


cdef bint read_hex(const uint8_t *p, uint64_t *word) noexcept nogil:
    cdef uint32_t i
    word[0] = 0
    for i in range(STICKY_DIGITS // 2):
        if 48 <= p[i] <= 57:
            word[0] = word[0] << 4 | (p[i] - 48)
        elif 97 <= p[i] <= 102:
            word[0] = word[0] << 4 | (p[i] - 87)
        else:
            return False
    return True


cdef endpoint_t *sticky_find(const cluster_t *c, span_t name) noexcept nogil:
    cdef const names_t *v = <const names_t *>c.names
    cdef name_t given
    cdef uint32_t at
    if v is NULL or name.len != STICKY_DIGITS:
        return NULL
    if not (read_hex(name.ptr, &given.word[0]) and read_hex(name.ptr + STICKY_DIGITS // 2, &given.word[1])):
        return NULL
    at = <uint32_t>given.word[0] & v.mask
    while v.places[at] != 0:
        if (v.names[v.places[at] - 1].word[0] == given.word[0] and
                v.names[v.places[at] - 1].word[1] == given.word[1]):
            return &c.endpoints[v.places[at] - 1]
        at = (at + 1) & v.mask
    return NULL


cdef void sticky_name(const cluster_t *c, const endpoint_t *e, uint8_t *to) noexcept nogil:
    cdef const names_t *v = <const names_t *>c.names
    cdef uint32_t half, i
    cdef uint64_t word
    cdef uint8_t digit
    for half in range(2):
        word = v.names[e - c.endpoints].word[half]
        for i in range(16):
            digit = <uint8_t>(word >> (60 - 4 * i)) & 15
            to[16 * half + i] = 48 + digit if digit < 10 else 87 + digit
