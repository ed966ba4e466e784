"""The normal form of request paths (see uri.pxd).

Rules are matched against what this file returns, so its answers must be what origins
will understand. Where origins differ (is %2F a slash? is ";x" a part of the name?) it says so instead of choosing.

One escape is decoded once: "%252e" stays "%252e" and is an ordinary name.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

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
                # C0 and C1 begin what is no UTF-8, or a slash or dot for decoders that do not look.
                if c == c'/' or c == c'\\' or c == c';' or c == 0xc0 or c == 0xc1:
                    result = URI_AMBIGUOUS
                out[o] = c'%'
                out[o + 1] = _upper(p[0])
                out[o + 2] = _upper(p[1])
                o += 3
                p += 2
                continue
            p += 2
        elif c == c'\\' or c == c';':
            result = URI_AMBIGUOUS
        out[o] = c
        o += 1
    out_len[0] = _close_segment(out, seg, o)
    return result


cdef inline uint32_t _slash_at(const uint8_t *p, const uint8_t *end, int kinds) noexcept nogil:
    """Bytes of the slash of one of these kinds that p begins with: 0 when it is none."""
    if p[0] == c'\\':
        return 1 if kinds & URI_BACKSLASHES else 0
    if p[0] != c'%' or end - p < 3:
        return 0
    if kinds & URI_SLASHES:
        if memcmp(p, b"%2F", 3) == 0:
            return 3
        if end - p >= 6 and memcmp(p, b"%C0%AF", 6) == 0:
            return 6
    if kinds & URI_BACKSLASHES:
        if memcmp(p, b"%5C", 3) == 0:
            return 3
        if end - p >= 6 and memcmp(p, b"%C1%9C", 6) == 0:
            return 6
    return 0


cdef inline bint _is_long_dot(const uint8_t *p, const uint8_t *end) noexcept nogil:
    return end - p >= 6 and memcmp(p, b"%C0%AE", 6) == 0


cdef inline bint _is_encoded_semicolon(const uint8_t *p, const uint8_t *end) noexcept nogil:
    return end - p >= 3 and memcmp(p, b"%3B", 3) == 0


cdef bint _applies(const uint8_t *p, const uint8_t *end, int which) noexcept nogil:
    """Everything that this reading reads in another way is there."""
    cdef int missing = which & (URI_SLASHES | URI_BACKSLASHES)
    cdef bint needs_parameter = which & (URI_STRIPS_LAST | URI_STRIPS_FIRST) != 0
    while p < end and (missing or needs_parameter):
        if p[0] == c';' or (which & URI_STRIPS_LAST and _is_encoded_semicolon(p, end)):
            needs_parameter = False
        elif missing & URI_SLASHES and (_slash_at(p, end, URI_SLASHES) or _is_long_dot(p, end)):
            missing &= ~URI_SLASHES
        elif missing & URI_BACKSLASHES and _slash_at(p, end, URI_BACKSLASHES):
            missing &= ~URI_BACKSLASHES
        p += 1
    return not missing and not needs_parameter


cdef uint32_t uri_read_again(const uint8_t *path, uint32_t n, int which, uint8_t *out) noexcept nogil:
    """See uri.pxd."""
    cdef const uint8_t *p = path
    cdef const uint8_t *end = path + n
    cdef uint32_t o = 0, seg = 0, slash
    cdef bint strips = which & (URI_STRIPS_LAST | URI_STRIPS_FIRST) != 0, is_parameter = False
    cdef uint8_t c
    if which == 0 or which & URI_STRIPS_LAST and which & URI_STRIPS_FIRST or not _applies(path, end, which):
        return 0
    while p < end:
        slash = 1 if p[0] == c'/' else 0
        # A parameter ends at what is a slash when parameters are taken away.
        if slash == 0 and not (is_parameter and which & URI_STRIPS_FIRST):
            slash = _slash_at(p, end, which)
        if slash == 0:
            c = p[0]
            if which & URI_STRIPS_LAST and _is_encoded_semicolon(p, end):
                c = c';'
                p += 2
            elif which & URI_SLASHES and _is_long_dot(p, end):
                c = c'.'
                p += 5
            p += 1
            if strips and c == c';':
                is_parameter = True
            if is_parameter:
                continue
            out[o] = c
            o += 1
            continue
        p += slash
        is_parameter = False
        if o > 0:
            o = _close_segment(out, seg, o)
            if out[o - 1] == c'/':
                seg = o
                continue
        out[o] = c'/'
        o += 1
        seg = o
    return _close_segment(out, seg, o)
