"""HTTP/1.x heads and trailers (see h1.pxd).

One walk over the bytes: the scanners of scan.h find the end of each name and value and
meet every illegal byte on the way, so a good head is read once and nothing is checked
twice. What the fields mean is worked out after the walk, from two bit sets: ids that
were seen, and ids that were seen again.

Strictness is the point: two readers that disagree on where a message ends are a hole
(request smuggling), so whatever RFC 9112 lets a recipient repair is refused here.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from fastmesh._core.http.hop cimport HOP_KEPT, hop_read_connection, hop_read_te
from fastmesh._core.http.method cimport method_named
from fastmesh._core.http.msg cimport (
    FIELD_DROP, FRAME_CHUNKED, FRAME_CLOSE, FRAME_LENGTH, FRAME_NONE, MSG_CLOSE, MSG_DROPS, MSG_EXPECT_CONTINUE,
    MSG_FIELDS_ROOM, MSG_HAS_LENGTH, field_t, msg_fail, msg_t, msg_value_is)
from fastmesh._core.http.token cimport (
    HEADER_CONNECTION, HEADER_CONTENT_LENGTH, HEADER_EXPECT, HEADER_HOST, HEADER_HTTP2_SETTINGS, HEADER_KEEP_ALIVE,
    HEADER_NONE, HEADER_PROXY_AUTHENTICATE, HEADER_PROXY_AUTHORIZATION, HEADER_PROXY_CONNECTION, HEADER_TE,
    HEADER_TRAILER, HEADER_TRANSFER_ENCODING, HEADER_UPGRADE, METHOD_CONNECT, METHOD_GET, METHOD_HEAD,
    METHOD_OPTIONS)

cdef extern from "scan.h" nogil:
    enum:
        CC_TCHAR
        CC_HEX
    bint char_is(uint8_t c, int class_bits) noexcept
    int char_hex(uint8_t c) noexcept
    const uint8_t *scan_name(const uint8_t *p, const uint8_t *end, const uint8_t *low) noexcept
    const uint8_t *scan_value(const uint8_t *p, const uint8_t *end, const uint8_t *low) noexcept
    const uint8_t *scan_target(const uint8_t *p, const uint8_t *end, const uint8_t *low) noexcept
    const uint8_t *scan_path(const uint8_t *p, const uint8_t *end, const uint8_t *low) noexcept
    const uint8_t *scan_host(const uint8_t *p, const uint8_t *end) noexcept
    bint scan_is_fold(const uint8_t *p, const char *lower, size_t n) noexcept

cdef extern from "field_name.h" nogil:
    unsigned int field_name_id(const uint8_t *p, size_t n) noexcept
    bint name_is_kept(const uint8_t *p, size_t n) noexcept
    bint name_is_no_trailer(const uint8_t *p, size_t n) noexcept

cdef extern from "reason.h" nogil:
    const char *reason_of(int status) noexcept

cdef extern from "compiler.h" nogil:
    bint FM_LIKELY(bint x) noexcept
    bint FM_UNLIKELY(bint x) noexcept

cdef enum:
    # Never forwarded (RFC 9110 section 7.6.1). Proxy-Authenticate and Proxy-Authorization are not among
    # them: this proxy asks nobody for credentials, so they belong to a forward proxy behind it.
    HOP_BY_HOP = (1 << HEADER_CONNECTION | 1 << HEADER_KEEP_ALIVE | 1 << HEADER_PROXY_CONNECTION | 1 << HEADER_TE |
                  1 << HEADER_TRANSFER_ENCODING | 1 << HEADER_UPGRADE | 1 << HEADER_HTTP2_SETTINGS)
    # Fields that say something about the message itself; without one of them the walk is all there is to do.
    TELLING = (1 << HEADER_CONNECTION | 1 << HEADER_CONTENT_LENGTH | 1 << HEADER_TRANSFER_ENCODING |
               1 << HEADER_TE | 1 << HEADER_UPGRADE | 1 << HEADER_EXPECT)
    # Not allowed in trailers: framing, routing, authentication (RFC 9110 section 6.5.1), hop-by-hop.
    NO_TRAILER_IDS = (HOP_BY_HOP | HOP_KEPT | 1 << HEADER_TRAILER | 1 << HEADER_PROXY_AUTHENTICATE |
                      1 << HEADER_PROXY_AUTHORIZATION)
    LENGTH_DIGITS = 19        # 10**19 - 1 fits 64 bits
    LENGTH_MAX_SHIFT = 62     # and lengths stay under 2**62, so that sums of a few never overflow

cdef struct walk_t:
    const uint8_t *base       # first byte of the buffer, where scanners may look back to
    const uint8_t *end        # after the last byte that may be read: all there is, or the head limit
    uint32_t seen             # bit per HEADER_* met
    uint32_t twice            # bit per HEADER_* met again


# --- waiting for the rest ---

cdef int _look(const uint8_t *p, uint32_t n, uint32_t scanned, const h1_limits_t *limits, bint has_line) noexcept nogil:
    """Whether bytes that came after `scanned` are worth a parse: 1 yes, H1_AGAIN no, or a limit that is passed.

    Looks at the new bytes only (and back over a first line once), so that a sender of single
    bytes costs no more in sum than one of whole heads. Yes means: the head ends, or its
    first line does, or a line feed stands alone.
    """
    cdef const uint8_t *end
    cdef const uint8_t *q
    cdef const uint8_t *lf
    cdef uint32_t k, top, line
    top = n if n < limits.head_bytes else limits.head_bytes
    end = p + top
    line = 2 if has_line and top >= 2 and p[0] == c'\r' and p[1] == c'\n' else 0
    k = scanned - 3 if scanned > 3 else 0
    if k < top:
        q = p + k
        while True:
            lf = <const uint8_t *>memchr(q, c'\n', end - q)
            if lf is NULL:
                break
            k = <uint32_t>(lf - p)
            if k == 0 or p[k - 1] != c'\r':
                return 1
            if k >= 3 and p[k - 2] == c'\n' and p[k - 3] == c'\r':
                return 1
            if k >= scanned and k > line and memchr(p + line, c'\n', k - line) is NULL:
                return 1
            q = lf + 1
    if n >= limits.head_bytes:
        return H1_EHEAD
    if has_line and n - line > limits.line_bytes + 1 and scanned <= line + limits.line_bytes + 1:
        if memchr(p + line, c'\n', limits.line_bytes + 2) is NULL:
            return H1_EURI
    return H1_AGAIN


cdef inline int _short(msg_t *m, const walk_t *w, const h1_limits_t *limits) noexcept nogil:
    """The bytes ran out: more may come, unless the head is as long as it may be."""
    if FM_UNLIKELY(<uint32_t>(w.end - w.base) >= limits.head_bytes):
        return msg_fail(m, H1_EHEAD, b"the head of the message is longer than the limit")
    return H1_AGAIN


cdef int _short_line(msg_t *m, const walk_t *w, const uint8_t *line, const h1_limits_t *limits) noexcept nogil:
    """As _short, within the request line."""
    # The line may be followed by CR without its LF, hence + 1.
    if <uint32_t>(w.end - line) > limits.line_bytes + 1:
        return msg_fail(m, H1_EURI, b"the request line is longer than the limit")
    return _short(m, w, limits)


cdef int _limit_fault(msg_t *m, int code) noexcept nogil:
    if code == H1_EURI:
        return msg_fail(m, code, b"the request line is longer than the limit")
    if code == H1_EHEAD:
        return msg_fail(m, code, b"the head of the message is longer than the limit")
    return code


# --- fields ---

cdef int _bad_name(msg_t *m, const uint8_t *start, const uint8_t *at) noexcept nogil:
    cdef uint8_t c = at[0]
    if at == start:
        if c == c' ' or c == c'\t':
            return msg_fail(m, H1_EBAD, b"a header line begins with white space (line folding is not allowed)")
        if c == c':':
            return msg_fail(m, H1_EBAD, b"a header field has no name")
        if c == c'\n':
            return msg_fail(m, H1_EBAD, b"a line ends in a line feed without a carriage return")
    if c == c' ' or c == c'\t':
        return msg_fail(m, H1_EBAD, b"a space stands before the colon of a header field")
    if c == c'\r' or c == c'\n':
        return msg_fail(m, H1_EBAD, b"a header line has no colon")
    if c == 0:
        return msg_fail(m, H1_EBAD, b"a NUL byte stands in the name of a header field")
    return msg_fail(m, H1_EBAD, b"the name of a header field holds a character that is not allowed")


cdef int _bad_value(msg_t *m, uint8_t c) noexcept nogil:
    if c == 0:
        return msg_fail(m, H1_EBAD, b"a NUL byte stands in the value of a header field")
    if c == c'\r':
        return msg_fail(m, H1_EBAD, b"a carriage return stands alone in a header field")
    if c == c'\n':
        return msg_fail(m, H1_EBAD, b"a line ends in a line feed without a carriage return")
    return msg_fail(m, H1_EBAD, b"a control character stands in the value of a header field")


cdef int _fields(msg_t *m, walk_t *w, const uint8_t *q, const h1_limits_t *limits) noexcept nogil:
    """Walk over field lines up to and including the empty one; returns the bytes of the head, or a fault."""
    cdef const uint8_t *base = w.base
    cdef const uint8_t *end = w.end
    cdef const uint8_t *c
    cdef const uint8_t *v
    cdef const uint8_t *e
    cdef field_t *f = m.fields
    cdef uint32_t seen = 0, twice = 0, bit, n = 0, cap
    cdef unsigned int id
    cap = limits.fields if limits.fields < MSG_FIELDS_ROOM else MSG_FIELDS_ROOM
    m.fields_off = <uint16_t>(q - base)
    while True:
        c = scan_name(q, end, base)
        if FM_UNLIKELY(c == end):
            return _short(m, w, limits)
        if c[0] != c':' or c == q:
            if c == q and c[0] == c'\r':
                break
            return _bad_name(m, q, c)
        if FM_UNLIKELY(n == cap):
            return msg_fail(m, H1_EFIELDS, b"the message has more header fields than the limit")
        v = c + 1
        # One space is what nearly everyone sends.
        while v < end and (v[0] == c' ' or v[0] == c'\t'):
            v += 1
        e = scan_value(v, end, base)
        if FM_UNLIKELY(end - e < 2):
            if e < end and e[0] != c'\r':
                return _bad_value(m, e[0])
            return _short(m, w, limits)
        if FM_UNLIKELY(e[0] != c'\r' or e[1] != c'\n'):
            return _bad_value(m, e[0])
        f.name_off = <uint16_t>(q - base)
        f.name_len = <uint16_t>(c - q)
        id = field_name_id(q, c - q)
        q = e + 2
        while e > v and ((e - 1)[0] == c' ' or (e - 1)[0] == c'\t'):
            e -= 1
        f.value_off = <uint16_t>(v - base)
        f.value_len = <uint16_t>(e - v)
        f.end_off = <uint16_t>(q - base)
        f.id = <uint8_t>id
        f.bits = FIELD_DROP if <uint32_t>HOP_BY_HOP >> id & 1 else 0
        bit = <uint32_t>1 << id
        if seen & bit == 0:
            m.at[id] = <short>n
        twice |= seen & bit
        seen |= bit
        f += 1
        n += 1
    if end - q < 2:
        return _short(m, w, limits)
    if q[1] != c'\n':
        return _bad_value(m, c'\r')
    m.at[HEADER_NONE] = -1
    m.n_fields = <uint16_t>n
    if seen & <uint32_t>HOP_BY_HOP:
        m.bits |= MSG_DROPS
    w.seen = seen & ~<uint32_t>1
    w.twice = twice & ~<uint32_t>1
    m.len = <uint32_t>(q + 2 - base)
    return <int>m.len


# --- what the fields mean ---

cdef int _length(msg_t *m, bint several) noexcept nogil:
    cdef const field_t *f = &m.fields[m.at[HEADER_CONTENT_LENGTH]]
    cdef const uint8_t *p = m.base + f.value_off
    cdef uint64_t total = 0
    cdef uint32_t k
    if several:
        return msg_fail(m, H1_EBAD, b"there is more than one Content-Length")
    if f.value_len == 0:
        return msg_fail(m, H1_EBAD, b"Content-Length is empty")
    for k in range(f.value_len):
        if <uint8_t>(p[k] - c'0') > 9:
            return msg_fail(m, H1_EBAD, b"Content-Length is not a plain number")
        if k >= LENGTH_DIGITS:
            return msg_fail(m, H1_EBAD, b"Content-Length is too large")
        total = total * 10 + (p[k] - c'0')
    if total >> LENGTH_MAX_SHIFT:
        return msg_fail(m, H1_EBAD, b"Content-Length is too large")
    m.length = total
    m.bits |= MSG_HAS_LENGTH
    return 0


cdef int _coding(msg_t *m, bint several) noexcept nogil:
    """0 when Transfer-Encoding is one final "chunked" and nothing else."""
    cdef const field_t *f = &m.fields[m.at[HEADER_TRANSFER_ENCODING]]
    cdef const uint8_t *p = m.base + f.value_off
    cdef uint32_t k, n, words = 0
    if m.minor == 0:
        return msg_fail(m, H1_EBAD, b"Transfer-Encoding is not a part of HTTP/1.0")
    if not several and msg_value_is(m, f, b"chunked", 7):
        return 0
    if several:
        return msg_fail(m, H1_EBAD, b"there is more than one Transfer-Encoding")
    # Only to choose the words: nothing below is accepted.
    k = 0
    while k < f.value_len:
        n = 0
        while k + n < f.value_len and char_is(p[k + n], CC_TCHAR):
            n += 1
        if n == 0:
            if p[k] != c',' and p[k] != c' ' and p[k] != c'\t':
                return msg_fail(m, H1_EBAD, b"Transfer-Encoding is not a list of codings")
            k += 1
            continue
        if n != 7 or not scan_is_fold(p + k, b"chunked", 7):
            return msg_fail(m, H1_ECODING, b"a transfer coding other than chunked is not supported")
        words += 1
        k += n
    if words > 1:
        return msg_fail(m, H1_EBAD, b"the body is said to be chunked twice")
    return msg_fail(m, H1_EBAD, b"Transfer-Encoding is not a list of codings")


cdef bint _has_tab(const msg_t *m, const field_t *f) noexcept nogil:
    """A tab before or after the value."""
    cdef const uint8_t *p = m.base
    cdef uint32_t i
    # Nearly always one blank before and none after: not worth a call of memchr.
    for i in range(f.name_off + f.name_len + 1, f.value_off):
        if p[i] == c'\t':
            return True
    for i in range(f.value_off + f.value_len, f.end_off - 2):
        if p[i] == c'\t':
            return True
    return False


cdef int _body(msg_t *m, const walk_t *w) noexcept nogil:
    """Content-Length and Transfer-Encoding into m.length and m.framing (RFC 9112 section 6.3)."""
    cdef int rc, id
    # Allowed by the grammar, but there are parsers that do not know "chunked\t" (llhttp is one), and the
    # line of Content-Length is forwarded as it stands.
    id = HEADER_CONTENT_LENGTH if w.seen & 1 << HEADER_CONTENT_LENGTH else HEADER_TRANSFER_ENCODING
    if _has_tab(m, &m.fields[m.at[id]]):
        return msg_fail(m, H1_EBAD, b"a tab stands beside the value of Content-Length or Transfer-Encoding")
    if w.seen & 1 << HEADER_CONTENT_LENGTH:
        if w.seen & 1 << HEADER_TRANSFER_ENCODING:
            return msg_fail(m, H1_EBAD, b"there are both Content-Length and Transfer-Encoding")
        rc = _length(m, w.twice & 1 << HEADER_CONTENT_LENGTH)
        if rc != 0:
            return rc
        m.framing = FRAME_LENGTH if m.length != 0 else FRAME_NONE
    elif w.seen & 1 << HEADER_TRANSFER_ENCODING:
        rc = _coding(m, w.twice & 1 << HEADER_TRANSFER_ENCODING)
        if rc != 0:
            return rc
        m.framing = FRAME_CHUNKED
    return 0


cdef int _meaning(msg_t *m, const walk_t *w) noexcept nogil:
    """What requests and responses have in common."""
    cdef int rc = 0
    if w.seen & (1 << HEADER_CONTENT_LENGTH | 1 << HEADER_TRANSFER_ENCODING):
        rc = _body(m, w)
        if rc != 0:
            return rc
    if w.seen & 1 << HEADER_CONNECTION:
        rc = hop_read_connection(m, w.twice & 1 << HEADER_CONNECTION)
    if w.seen & 1 << HEADER_TE:
        hop_read_te(m)
    return rc


# --- request line ---

cdef bint _is_authority(const uint8_t *p, uint32_t n, bint port_needed) noexcept nogil:
    """host [ ":" port ] without user information (RFC 3986 section 3.2), the host not empty."""
    cdef const uint8_t *end = p + n
    cdef const uint8_t *q
    cdef uint32_t port = 0
    if n == 0:
        return False
    if p[0] == c'[':
        q = p + 1
        while q < end and (char_is(q[0], CC_HEX) or q[0] == c':' or q[0] == c'.'):
            q += 1
        if q == end or q[0] != c']' or q - p < 3:
            return False
        q += 1
    else:
        q = scan_host(p, end)
        while q < end and q[0] == c'%':
            if end - q < 3 or char_hex(q[1]) < 0 or char_hex(q[2]) < 0:
                return False
            q = scan_host(q + 3, end)
        if q == p:
            return False
    if q == end:
        return not port_needed
    if q[0] != c':':
        return False
    q += 1
    if q == end:
        # RFC 3986 allows an empty port; it means the default one.
        return not port_needed
    while q < end:
        if <uint8_t>(q[0] - c'0') > 9:
            return False
        port = port * 10 + (q[0] - c'0')
        if port > 65535:
            return False
        q += 1
    return True


cdef int _bad_start(msg_t *m, uint8_t c) noexcept nogil:
    """The method is not one: say what it looks like."""
    if c == 0x16:  # a handshake record
        return msg_fail(m, H1_EBAD, b"this looks like TLS, where plain HTTP is expected")
    if c == c'\r' or c == c'\n':
        return msg_fail(m, H1_EBAD, b"an empty line stands where the request line is expected")
    if c == c' ' or c == c'\t':
        return msg_fail(m, H1_EBAD, b"white space stands before the request line")
    return msg_fail(m, H1_EBAD, b"the request does not begin with a method")


cdef int _bad_target(msg_t *m, const uint8_t *at, const uint8_t *start, const uint8_t *end) noexcept nogil:
    cdef uint8_t c = at[0]
    if c == c'\r' and at + 1 == end:
        return H1_AGAIN
    if c == c'\r' and at[1] == c'\n' and at != start:
        return msg_fail(m, H1_EBAD, b"the request line has no version (HTTP/0.9 is not served)")
    if c == c'#':
        return msg_fail(m, H1_EBAD, b"the request target holds a fragment (#)")
    if at == start and (c == c' ' or c == c'\t'):
        return msg_fail(m, H1_EBAD, b"the request line holds more than one space between its parts")
    if c == c'\n':
        return msg_fail(m, H1_EBAD, b"a line ends in a line feed without a carriage return")
    if c >= 0x7f:
        return msg_fail(m, H1_EBAD, b"the request target holds a byte that is not ASCII")
    return msg_fail(m, H1_EBAD, b"the request target holds a control character")


cdef int _bad_version(msg_t *m, const uint8_t *p, const uint8_t *end) noexcept nogil:
    """p is not "HTTP/1.0" CR LF nor "HTTP/1.1" CR LF; H1_AGAIN when it may still become one."""
    cdef uint32_t i = 0, n = <uint32_t>(end - p)
    cdef const char *want = b"HTTP/"
    while i < n and i < 5:
        if p[i] != <uint8_t>want[i]:
            if p[i] == c' ':
                return msg_fail(m, H1_EBAD, b"the request line holds more than one space between its parts")
            return msg_fail(m, H1_EBAD, b"the version on the request line is not HTTP/1.0 or HTTP/1.1")
        i += 1
    if n > 5 and <uint8_t>(p[5] - c'0') > 9 or n > 6 and p[6] != c'.' or n > 7 and <uint8_t>(p[7] - c'0') > 9:
        return msg_fail(m, H1_EBAD, b"the version on the request line is not HTTP/1.0 or HTTP/1.1")
    if n < 8:
        return H1_AGAIN
    if p[5] == c'0':
        return msg_fail(m, H1_EBAD, b"HTTP/0.9 is not served")
    if p[5] != c'1' or p[7] > c'1':
        return msg_fail(m, H1_EVERSION, b"the version on the first line is not HTTP/1.0 or HTTP/1.1")
    if n > 8 and p[8] != c'\r' or n > 9 and p[9] != c'\n':
        if p[8] == c'\n':
            return msg_fail(m, H1_EBAD, b"a line ends in a line feed without a carriage return")
        return msg_fail(m, H1_EBAD, b"something stands between the version and the end of the request line")
    return H1_AGAIN


cdef int _other_target(msg_t *m, const uint8_t *t, uint32_t n) noexcept nogil:
    """A target that is not a path: absolute, authority or asterisk form (RFC 9112 section 3.2)."""
    cdef const uint8_t *p
    cdef const uint8_t *end = t + n
    cdef uint16_t at = m.target_off
    if m.method == METHOD_CONNECT:
        if not _is_authority(t, n, True):
            return msg_fail(m, H1_EBAD, b"the target of CONNECT is not host:port")
        m.authority_off = at
        m.authority_len = <uint16_t>n
        return 0
    if n == 1 and t[0] == c'*':
        if m.method != METHOD_OPTIONS:
            return msg_fail(m, H1_EBAD, b"the target * belongs to OPTIONS")
        m.path_off = at
        m.path_len = 1
        return 0
    if n >= 7 and scan_is_fold(t, b"http", 4) and t[4] == c':' and t[5] == c'/' and t[6] == c'/':
        p = t + 7
    elif n >= 8 and scan_is_fold(t, b"https", 5) and t[5] == c':' and t[6] == c'/' and t[7] == c'/':
        p = t + 8
    else:
        return msg_fail(m, H1_EBAD, b"the request target is neither a path nor an http or https URI")
    m.absolute = 1
    t = p
    while p < end and p[0] != c'/' and p[0] != c'?':
        p += 1
    m.authority_off = <uint16_t>(t - m.base)
    m.authority_len = <uint16_t>(p - t)
    if not _is_authority(t, m.authority_len, False):
        return msg_fail(m, H1_EBAD, b"the request target has no valid host")
    m.path_off = <uint16_t>(p - m.base)
    t = <const uint8_t *>memchr(p, c'?', end - p)
    m.path_len = <uint16_t>((end if t is NULL else t) - p)
    if t is not NULL:
        m.query_has = 1
        m.query_off = <uint16_t>(t + 1 - m.base)
        m.query_len = <uint16_t>(end - t - 1)
    return 0


cdef int _request_line(msg_t *m, const walk_t *w, const uint8_t *line, const h1_limits_t *limits) noexcept nogil:
    """Returns the offset of the first field line, or a fault."""
    cdef const uint8_t *base = w.base
    cdef const uint8_t *end = w.end
    cdef const uint8_t *t
    cdef const uint8_t *e
    cdef int rc
    if end - line >= 4 and memcmp(line, b"GET ", 4) == 0:
        m.method = METHOD_GET
        e = line + 3
    else:
        e = scan_name(line, end, base)
        if e == end:
            return _short_line(m, w, line, limits)
        if e == line:
            return _bad_start(m, line[0])
        if e[0] != c' ':
            if e[0] == c'\r' and e + 1 == end:
                return _short_line(m, w, line, limits)
            return msg_fail(m, H1_EBAD, b"the method is not followed by a space and a target")
        m.method = <uint8_t>method_named(line, <uint32_t>(e - line))
    m.method_off = <uint16_t>(line - base)
    m.method_len = <uint16_t>(e - line)
    t = e + 1
    m.target_off = <uint16_t>(t - base)
    if t < end and t[0] == c'/' and m.method != METHOD_CONNECT:
        e = scan_path(t + 1, end, base)
        m.path_off = m.target_off
        m.path_len = <uint16_t>(e - t)
        if e < end and e[0] == c'?':
            m.query_has = 1
            m.query_off = <uint16_t>(e + 1 - base)
            e = scan_target(e + 1, end, base)
            m.query_len = <uint16_t>(e - base - m.query_off)
    else:
        e = scan_target(t, end, base)
    if e == end:
        return _short_line(m, w, line, limits)
    if FM_UNLIKELY(e[0] != c' ' or e == t):
        rc = _bad_target(m, e, t, end)
        return rc if rc != H1_AGAIN else _short_line(m, w, line, limits)
    m.target_len = <uint16_t>(e - t)
    if FM_UNLIKELY(m.path_len == 0):
        if m.target_len == 1 and t[0] == c'*' and m.method_len == 3 and memcmp(line, b"PRI", 3) == 0:
            return msg_fail(m, H1_EBAD, b"this is the preface of HTTP/2, where HTTP/1.1 is expected")
        rc = _other_target(m, t, m.target_len)
        if rc != 0:
            return rc
    t = e + 1
    if FM_LIKELY(end - t >= 10 and memcmp(t, b"HTTP/1.", 7) == 0 and (t[7] == c'1' or t[7] == c'0') and
                 t[8] == c'\r' and t[9] == c'\n'):
        m.minor = t[7] - c'0'
    else:
        rc = _bad_version(m, t, end)
        return rc if rc != H1_AGAIN else _short_line(m, w, line, limits)
    if FM_UNLIKELY(<uint32_t>(t + 8 - line) > limits.line_bytes):
        return msg_fail(m, H1_EURI, b"the request line is longer than the limit")
    return <int>(t + 10 - base)


cdef inline void _reset(msg_t *m, const uint8_t *p) noexcept nogil:
    # What stands before `at` is 56 bytes, all of it 0 at first; `fields` (3 KiB) is not touched.
    memset(m, 0, <size_t>(<char *>m.at - <char *>m))
    m.base = p
    m.fault = NULL
    memset(m.at, 0xff, sizeof(m.at))


cdef int h1_parse_request(msg_t *m, const uint8_t *p, uint32_t n, uint32_t scanned,
                          const h1_limits_t *limits) noexcept nogil:
    """See h1.pxd. One empty line before the request line is skipped and counts as part of the head."""
    cdef walk_t w
    cdef const uint8_t *line
    cdef const field_t *f
    cdef int rc
    _reset(m, p)
    if n == 0:
        return H1_AGAIN
    if scanned != 0:
        rc = _look(p, n, scanned, limits, True)
        if rc != 1:
            return _limit_fault(m, rc)
    w.base = p
    w.end = p + (n if n < limits.head_bytes else limits.head_bytes)
    line = p
    if FM_UNLIKELY(p[0] == c'\r'):
        # RFC 9112 section 2.2: old clients send an extra CRLF after a body.
        if w.end - p < 2:
            return _short(m, &w, limits)
        if p[1] == c'\n':
            line = p + 2
            if line == w.end:
                return _short(m, &w, limits)
    rc = _request_line(m, &w, line, limits)
    if rc < 0:
        return rc
    rc = _fields(m, &w, p + rc, limits)
    if rc < 0:
        return rc
    if FM_LIKELY(w.seen & 1 << HEADER_HOST):
        if w.twice & 1 << HEADER_HOST:
            return msg_fail(m, H1_EBAD, b"there is more than one Host")
        f = &m.fields[m.at[HEADER_HOST]]
        # An empty Host is what a client without one must send (RFC 9112 section 3.2).
        if f.value_len != 0 and not _is_authority(p + f.value_off, f.value_len, False):
            return msg_fail(m, H1_EBAD, b"Host is not a valid host name and port")
        if m.authority_len == 0:
            m.authority_off = f.value_off
            m.authority_len = f.value_len
    elif m.minor == 1:
        return msg_fail(m, H1_EBAD, b"a request of HTTP/1.1 has no Host")
    if w.seen & TELLING:
        rc = _meaning(m, &w)
        if rc != 0:
            return rc
        # RFC 9110 section 10.1.1: the expectation of an HTTP/1.0 client is ignored.
        if w.seen & 1 << HEADER_EXPECT and m.minor == 1 and \
                msg_value_is(m, &m.fields[m.at[HEADER_EXPECT]], b"100-continue", 12):
            m.bits |= MSG_EXPECT_CONTINUE
    return <int>m.len


# --- responses ---

cdef int _bad_status_line(msg_t *m, const walk_t *w, const h1_limits_t *limits) noexcept nogil:
    """Less than a whole "HTTP/1.x NNN" with its next byte, or something else."""
    cdef const uint8_t *p = w.base
    cdef uint32_t n = <uint32_t>(w.end - p), i = 0
    cdef const char *want = b"HTTP/1."
    while i < n and i < 7:
        if p[i] != <uint8_t>want[i]:
            if i == 5 and <uint8_t>(p[5] - c'0') <= 9:
                return msg_fail(m, H1_EVERSION, b"the version of the response is not HTTP/1.0 or HTTP/1.1")
            return msg_fail(m, H1_EBAD, b"the response does not begin with HTTP/1.0 or HTTP/1.1")
        i += 1
    if n > 7 and p[7] != c'0' and p[7] != c'1':
        return msg_fail(m, H1_EVERSION, b"the version of the response is not HTTP/1.0 or HTTP/1.1")
    if n > 8 and p[8] != c' ':
        return msg_fail(m, H1_EBAD, b"the version of the response is not followed by a space")
    for i in range(9, 12):
        if n > i and <uint8_t>(p[i] - c'0') > 9:
            return msg_fail(m, H1_EBAD, b"the status of the response is not three digits")
    if n > 9 and p[9] == c'0':
        return msg_fail(m, H1_EBAD, b"the status of the response is below 100")
    if n > 12 and p[12] != c' ' and p[12] != c'\r':
        return msg_fail(m, H1_EBAD, b"the status of the response is not three digits")
    return _short(m, w, limits)


cdef int _status_line(msg_t *m, const walk_t *w, const h1_limits_t *limits) noexcept nogil:
    cdef const uint8_t *p = w.base
    cdef const uint8_t *e
    if FM_UNLIKELY(w.end - p < 13 or memcmp(p, b"HTTP/1.", 7) != 0 or (p[7] != c'1' and p[7] != c'0') or
                   p[8] != c' ' or <uint8_t>(p[9] - c'1') > 8 or <uint8_t>(p[10] - c'0') > 9 or
                   <uint8_t>(p[11] - c'0') > 9 or (p[12] != c' ' and p[12] != c'\r')):
        return _bad_status_line(m, w, limits)
    m.minor = p[7] - c'0'
    m.status = (p[9] - c'0') * 100 + (p[10] - c'0') * 10 + (p[11] - c'0')
    e = p + 12
    if e[0] == c' ':
        e = scan_value(p + 13, w.end, p)
        m.reason_off = 13
        m.reason_len = <uint16_t>(e - p - 13)
    if w.end - e < 2:
        if e < w.end and e[0] != c'\r':
            return _bad_value(m, e[0])
        return _short(m, w, limits)
    if e[0] != c'\r' or e[1] != c'\n':
        return _bad_value(m, e[0])
    return <int>(e + 2 - p)


cdef int h1_parse_response(msg_t *m, const uint8_t *p, uint32_t n, uint32_t scanned,
                           const h1_limits_t *limits, int method) noexcept nogil:
    """See h1.pxd. Any status from 100 to 999 passes: what is above 599 is the client's to judge."""
    cdef walk_t w
    cdef int rc
    cdef field_t *f
    _reset(m, p)
    if n == 0:
        return H1_AGAIN
    if scanned != 0:
        rc = _look(p, n, scanned, limits, False)
        if rc != 1:
            return _limit_fault(m, rc)
    w.base = p
    w.end = p + (n if n < limits.head_bytes else limits.head_bytes)
    rc = _status_line(m, &w, limits)
    if rc < 0:
        return rc
    rc = _fields(m, &w, p + rc, limits)
    if rc < 0:
        return rc
    m.framing = FRAME_CLOSE  # unless the fields say something else
    if w.seen & TELLING:
        rc = _meaning(m, &w)
        if rc != 0:
            return rc
    if m.status < 200 and m.framing != FRAME_CLOSE and (m.framing != FRAME_NONE or m.length != 0):
        # There is none (RFC 9112 section 6.3), but some readers would believe it.
        return msg_fail(m, H1_EBAD, b"an interim response claims to have a body")
    if m.status < 200 or m.status == 204 or (method == METHOD_CONNECT and m.status < 300):
        # No body whatever the fields say; a length here is against RFC 9110 section 8.6 and would
        # mislead the next reader, so it goes. Who announces a body may send it as well: what it says next would
        # be taken for the answer to another request.
        if m.framing != FRAME_CLOSE and m.framing != FRAME_NONE:
            m.bits |= MSG_CLOSE
        m.framing = FRAME_NONE
        if m.bits & MSG_HAS_LENGTH:
            f = &m.fields[m.at[HEADER_CONTENT_LENGTH]]
            f.bits |= FIELD_DROP
            m.bits |= MSG_DROPS
    elif m.status == 304 or method == METHOD_HEAD:
        m.framing = FRAME_NONE
    return <int>m.len


# --- trailers ---

cdef int h1_parse_trailers(msg_t *m, const uint8_t *p, uint32_t n, uint32_t scanned,
                           const h1_limits_t *limits) noexcept nogil:
    """See h1.pxd."""
    cdef walk_t w
    cdef int rc
    cdef uint32_t i
    cdef field_t *f
    cdef const uint8_t *name
    _reset(m, p)
    if n == 0:
        return H1_AGAIN
    if scanned != 0:
        rc = _look(p, n, scanned, limits, False)
        if rc != 1:
            return _limit_fault(m, rc)
    w.base = p
    w.end = p + (n if n < limits.head_bytes else limits.head_bytes)
    rc = _fields(m, &w, p, limits)
    if rc < 0:
        return rc
    for i in range(m.n_fields):
        f = &m.fields[i]
        name = p + f.name_off
        if <uint32_t>NO_TRAILER_IDS >> f.id & 1 or name_is_kept(name, f.name_len) or \
                name_is_no_trailer(name, f.name_len):
            f.bits |= FIELD_DROP
            m.bits |= MSG_DROPS
    return rc


# --- writing ---

cdef uint32_t h1_copy_fields(uint8_t *dst, const msg_t *m) noexcept nogil:
    cdef uint32_t i, n = 0, start, stop
    start = stop = m.fields_off
    for i in range(m.n_fields):
        if m.fields[i].bits & FIELD_DROP:
            memcpy(dst + n, m.base + start, stop - start)
            n += stop - start
            start = m.fields[i].end_off
        elif m.fields[i].name_off != stop:
            # Added behind the head: see edit.pxd.
            memcpy(dst + n, m.base + start, stop - start)
            n += stop - start
            start = m.fields[i].name_off
        stop = m.fields[i].end_off
    memcpy(dst + n, m.base + start, stop - start)
    return n + stop - start


cdef const char *h1_reason(int status) noexcept nogil:
    return reason_of(status)
