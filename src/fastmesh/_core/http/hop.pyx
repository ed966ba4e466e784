"""Connection and TE (see hop.pxd)."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr

from fastmesh._core.http.h1 cimport H1_EBAD
from fastmesh._core.http.msg cimport (
    FIELD_DROP, MSG_CLOSE, MSG_DROPS, MSG_KEEPALIVE, MSG_TE_TRAILERS, MSG_UPGRADE, field_t, msg_fail, msg_t,
    msg_value_is)
from fastmesh._core.http.token cimport HEADER_CONNECTION, HEADER_TE, HEADER_UPGRADE

cdef extern from "field_name.h" nogil:
    enum:
        CC_TCHAR
    bint char_is(uint8_t c, int class_bits) noexcept
    bint scan_is_fold(const uint8_t *p, const char *lower, size_t n) noexcept
    bint name_is_kept(const uint8_t *p, size_t n) noexcept


cdef bint _drop_named(msg_t *m, const uint8_t *p, uint32_t n) noexcept nogil:
    """Mark the fields called p[0:n), unless the name is a protected one."""
    cdef uint32_t i, k
    cdef const uint8_t *name
    cdef field_t *f
    cdef bint found = False
    for i in range(m.n_fields):
        f = &m.fields[i]
        if f.name_len != n or f.bits & FIELD_DROP or <uint32_t>HOP_KEPT >> f.id & 1:
            continue
        name = m.base + f.name_off
        for k in range(n):
            # Both sides are tokens, in which only letters differ by bit 5 alone, but for "^" and "~".
            if (name[k] ^ p[k]) & 0xdf != 0:
                break
        else:
            if not name_is_kept(p, n):
                f.bits |= FIELD_DROP
                found = True
    return found


cdef int _connection_field(msg_t *m, const field_t *f, uint32_t *named) noexcept nogil:
    cdef const uint8_t *p = m.base + f.value_off
    cdef const uint8_t *end = p + f.value_len
    cdef const uint8_t *e
    cdef uint32_t n, k
    while p < end:
        if p[0] == c' ' or p[0] == c'\t' or p[0] == c',':
            p += 1
            continue
        e = <const uint8_t *>memchr(p, c',', end - p)
        if e is NULL:
            e = end
        n = <uint32_t>(e - p)
        while n > 0 and (p[n - 1] == c' ' or p[n - 1] == c'\t'):
            n -= 1
        for k in range(n):
            if not char_is(p[k], CC_TCHAR):
                return msg_fail(m, H1_EBAD, b"Connection holds something that is not a list of names")
        if n == 5 and scan_is_fold(p, b"close", 5):
            m.bits |= MSG_CLOSE
        elif n == 10 and scan_is_fold(p, b"keep-alive", 10):
            m.bits |= MSG_KEEPALIVE
        elif n == 7 and scan_is_fold(p, b"upgrade", 7):
            # Upgrade is a word of HTTP/1.1 (RFC 9110 section 7.8).
            if m.at[HEADER_UPGRADE] >= 0 and m.minor == 1:
                m.bits |= MSG_UPGRADE
        elif n == 2 and scan_is_fold(p, b"te", 2):
            pass
        else:
            named[0] += 1
            if named[0] > HOP_NAMED_CAP:
                return msg_fail(m, H1_EBAD, b"Connection names too many fields")
            if _drop_named(m, p, n):
                m.bits |= MSG_DROPS
        p = e
    return 0


cdef int hop_read_connection(msg_t *m, bint several) noexcept nogil:
    cdef uint32_t i, named = 0
    cdef int rc
    cdef const field_t *f = &m.fields[m.at[HEADER_CONNECTION]]
    if not several:
        if msg_value_is(m, f, b"keep-alive", 10):
            m.bits |= MSG_KEEPALIVE
            return 0
        if msg_value_is(m, f, b"close", 5):
            m.bits |= MSG_CLOSE
            return 0
        return _connection_field(m, f, &named)
    for i in range(m.n_fields):
        if m.fields[i].id == HEADER_CONNECTION:
            rc = _connection_field(m, &m.fields[i], &named)
            if rc != 0:
                return rc
    return 0


cdef void hop_read_te(msg_t *m) noexcept nogil:
    """TE: only whether trailers are welcome matters; the rest is between the peer and this hop."""
    cdef uint32_t i, k
    cdef const field_t *f
    cdef const uint8_t *p
    for i in range(m.n_fields):
        f = &m.fields[i]
        if f.id != HEADER_TE:
            continue
        p = m.base + f.value_off
        for k in range(f.value_len):
            if f.value_len - k < 8:
                break
            if (k == 0 or p[k - 1] == c',' or p[k - 1] == c' ' or p[k - 1] == c'\t') and \
                    (f.value_len - k == 8 or not char_is(p[k + 8], CC_TCHAR)) and scan_is_fold(p + k, b"trailers", 8):
                m.bits |= MSG_TE_TRAILERS
                return
