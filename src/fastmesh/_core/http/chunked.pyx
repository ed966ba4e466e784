"""The chunked transfer coding (see chunked.pxd).

A size line is read byte by byte (it is a handful of bytes per chunk); payload is handed
on as one run without being looked at. Chunk extensions are skipped: RFC 9112 section
7.1.1 lets a recipient ignore them, and nobody is known to use one honestly. White space
behind a size is bad but to be accepted before an extension (RFC 9110 section 5.6.3), and
old servers fill their sizes up with it.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastmesh._core.mem.fault cimport FM_EPROTO
from fastmesh._core.mem.span cimport span_t

cdef extern from "scan.h" nogil:
    enum:
        CC_VALUE
    bint char_is(uint8_t c, int class_bits) noexcept
    int char_hex(uint8_t c) noexcept

cdef enum chunked_state_t:
    CHUNKED_FIRST = 0         # the first digit of a size
    CHUNKED_SIZE = 1          # further digits
    CHUNKED_EXT = 2           # after ";", up to CR
    CHUNKED_SIZE_LF = 3       # the LF after a size line's CR
    CHUNKED_BODY = 4          # payload
    CHUNKED_BODY_CR = 5       # the CR after the payload
    CHUNKED_BODY_LF = 6
    CHUNKED_PAD = 7           # white space after a size
    CHUNKED_BAD = 8           # a fault was reported; every further step reports it again

cdef enum:
    SIZE_LINE_CAP = 256       # bytes of a size line, extensions included
    SIZE_MAX_SHIFT = 58       # one more digit on a size of 2**58 makes 2**62


cdef void chunked_init(chunked_t *c) noexcept nogil:
    c.left = 0
    c.line = 0
    c.state = CHUNKED_FIRST
    c.done = 0


cdef inline int _fail(chunked_t *c) noexcept nogil:
    c.state = CHUNKED_BAD
    return FM_EPROTO


cdef int chunked_step(chunked_t *c, const uint8_t *p, uint32_t n, span_t *payload) noexcept nogil:
    cdef uint32_t i = 0, run
    cdef uint8_t b
    cdef int digit
    payload.ptr = NULL
    payload.len = 0
    if c.done:
        return 0
    # A result is an int: take no more than it can say.
    if n > 0x7fffffff:
        n = 0x7fffffff
    while i < n:
        if c.state == CHUNKED_BODY:
            run = n - i
            if c.left < run:
                run = <uint32_t>c.left
            payload.ptr = p + i
            payload.len = run
            c.left -= run
            i += run
            if c.left == 0:
                c.state = CHUNKED_BODY_CR
                # Taking the CRLF along saves the caller a call per chunk.
                if n - i >= 2 and p[i] == c'\r' and p[i + 1] == c'\n':
                    c.state = CHUNKED_FIRST
                    i += 2
            return <int>i
        b = p[i]
        i += 1
        if c.state == CHUNKED_FIRST:
            digit = char_hex(b)
            if digit < 0:
                return _fail(c)
            c.left = <uint64_t>digit
            c.line = 1
            c.state = CHUNKED_SIZE
        elif c.state == CHUNKED_SIZE:
            c.line += 1
            digit = char_hex(b)
            if digit >= 0:
                if c.left >> SIZE_MAX_SHIFT or c.line > SIZE_LINE_CAP:
                    return _fail(c)
                c.left = c.left << 4 | <uint64_t>digit
            elif b == c'\r':
                c.state = CHUNKED_SIZE_LF
            elif b == c';':
                c.state = CHUNKED_EXT
            elif b == c' ' or b == c'\t':
                c.state = CHUNKED_PAD
            else:
                return _fail(c)
        elif c.state == CHUNKED_PAD:
            c.line += 1
            if b == c'\r':
                c.state = CHUNKED_SIZE_LF
            elif b == c';':
                c.state = CHUNKED_EXT
            elif c.line > SIZE_LINE_CAP or (b != c' ' and b != c'\t'):
                return _fail(c)
        elif c.state == CHUNKED_EXT:
            c.line += 1
            if b == c'\r':
                c.state = CHUNKED_SIZE_LF
            elif c.line > SIZE_LINE_CAP or not char_is(b, CC_VALUE):
                return _fail(c)
        elif c.state == CHUNKED_SIZE_LF:
            if b != c'\n':
                return _fail(c)
            if c.left == 0:
                c.done = 1
                return <int>i
            c.state = CHUNKED_BODY
        elif c.state == CHUNKED_BODY_CR:
            if b != c'\r':
                return _fail(c)
            c.state = CHUNKED_BODY_LF
        elif c.state == CHUNKED_BODY_LF:
            if b != c'\n':
                return _fail(c)
            c.state = CHUNKED_FIRST
        else:
            return _fail(c)
    return <int>i


cdef uint32_t chunked_put_size(uint8_t *dst, uint64_t n) noexcept nogil:
    cdef uint32_t digits = 1, i
    cdef uint64_t rest = n >> 4
    cdef const char *hexa = b"0123456789abcdef"
    while rest:
        digits += 1
        rest >>= 4
    for i in range(digits):
        dst[digits - 1 - i] = <uint8_t>hexa[n & 15]
        n >>= 4
    dst[digits] = c'\r'
    dst[digits + 1] = c'\n'
    return digits + 2
