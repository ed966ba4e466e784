"""The normal form of request paths (see uri.pxd).

Rules are matched against what this file returns, so its answers must be what origins
will understand. Where origins differ (is %2F a slash?) it says so instead of choosing.

One escape is decoded once: "%252e" stays "%252e" and is an ordinary name.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from fastmesh._core.mem.fault cimport FM_EPROTO

cdef extern from "scan.h" nogil:
    enum:
        CC_UNRESERVED
    bint char_is(uint8_t c, int class_bits) noexcept
    int char_hex(uint8_t c) noexcept
    const uint8_t *scan_plain_path(const uint8_t *p, const uint8_t *end) noexcept


cdef inline uint8_t _upper(uint8_t c) noexcept nogil:
    return c & 0xdf if c >= c'a' else c


cdef uint32_t _close_segment(const uint8_t *out, uint32_t seg, uint32_t o) noexcept nogil:
    """The segment out[seg:o) ends: where writing goes on. `seg` follows a "/"."""
    if o - seg == 1 and out[seg] == c'.':
        return seg
    if o - seg == 2 and out[seg] == c'.' and out[seg + 1] == c'.':
        # Back over the segment before, never above the root.
        if seg >= 2:
            seg -= 1
            while out[seg - 1] != c'/':
                seg -= 1
        return seg
    return o


cdef uint32_t _without_parameter(const uint8_t *out, uint32_t seg, uint32_t o) noexcept nogil:
    """Where the segment out[seg:o) ends for servers that take "..;x" for ".." (path parameters); other segments: o."""
    cdef uint32_t k = seg
    while k < o and k < seg + 2 and out[k] == c'.':
        k += 1
    return k if seg < k < o and out[k] == c';' else o


cdef int uri_normalize(const uint8_t *path, uint32_t n, uint8_t *out, uint32_t *out_len) noexcept nogil:
    """See uri.pxd. Every path but an ordinary one costs a copy; that one costs a scan."""
    cdef const uint8_t *p
    cdef const uint8_t *end = path + n
    cdef uint32_t o, seg
    cdef int hi, lo, result = URI_CHANGED
    cdef uint8_t c
    if n == 0 or path[0] != c'/':
        return FM_EPROTO
    p = scan_plain_path(path, end)
    if p == end:
        return URI_SAME
    o = <uint32_t>(p - path)
    memcpy(out, path, o)
    # Start of the segment that is being written: after its "/".
    seg = o
    while seg > 0 and out[seg - 1] != c'/':
        seg -= 1
    while p < end:
        c = p[0]
        p += 1
        if c == c'/':
            if o > 0:
                if _without_parameter(out, seg, o) != o:
                    result = URI_AMBIGUOUS
                o = _close_segment(out, seg, o)
                if out[o - 1] != c'/':
                    out[o] = c'/'
                    o += 1
            else:
                out[0] = c'/'
                o = 1
            seg = o
            continue
        if c == c'%':
            if end - p < 2:
                return FM_EPROTO
            hi = char_hex(p[0])
            lo = char_hex(p[1])
            if hi < 0 or lo < 0 or (hi | lo) == 0:
                return FM_EPROTO
            c = <uint8_t>(hi << 4 | lo)
            if not char_is(c, CC_UNRESERVED):
                if c == c'/' or c == c'\\':
                    result = URI_AMBIGUOUS
                out[o] = c'%'
                out[o + 1] = _upper(p[0])
                out[o + 2] = _upper(p[1])
                o += 3
                p += 2
                continue
            p += 2
        elif c == c'\\':
            result = URI_AMBIGUOUS
        out[o] = c
        o += 1
    if _without_parameter(out, seg, o) != o:
        result = URI_AMBIGUOUS
    out_len[0] = _close_segment(out, seg, o)
    return result


cdef uint32_t uri_decode_slashes(const uint8_t *path, uint32_t n, uint8_t *out) noexcept nogil:
    cdef uint32_t i = 0, o = 0, seg = 0
    cdef uint8_t c
    while i < n:
        c = path[i]
        if c == c'%' and n - i >= 3 and ((path[i + 1] == c'2' and path[i + 2] == c'F') or
                                         (path[i + 1] == c'5' and path[i + 2] == c'C')):
            c = c'/'
            i += 3
        else:
            if c == c'\\':
                c = c'/'
            i += 1
        if c != c'/':
            out[o] = c
            o += 1
            continue
        if o > 0:
            o = _close_segment(out, seg, _without_parameter(out, seg, o))
            if out[o - 1] == c'/':
                seg = o
                continue
        out[o] = c'/'
        o += 1
        seg = o
    return _close_segment(out, seg, _without_parameter(out, seg, o))
