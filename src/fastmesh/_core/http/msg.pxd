"""The version-neutral head of one message, as offsets into the bytes it came in.

A codec fills a `msg_t`; the stream reads it. Nothing is copied: `base` is borrowed
from the receive buffer and the msg_t is valid only as long as those bytes stay put.
Heads are at most 65,535 bytes, so every offset fits 16 bits.
"""
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.mem.span cimport span_t

cdef extern from "scan.h" nogil:
    bint scan_is_fold(const uint8_t *p, const char *lower, size_t n) noexcept

cdef enum:
    MSG_FIELDS_CAP = 256      # the configured limit is at most this
    MSG_FIELDS_ROOM = 272     # hard ceiling: a head as it is passed on may have a few more

# How the body is delimited (RFC 9112 section 6.3).
cdef enum framing_t:
    FRAME_NONE = 0            # no body
    FRAME_LENGTH = 1          # `length` bytes
    FRAME_CHUNKED = 2
    FRAME_CLOSE = 3           # a response that ends with its connection

# Facts gathered while parsing, so that nobody searches the fields again.
cdef enum msg_bits_t:
    MSG_CLOSE = 1             # Connection: close
    MSG_KEEPALIVE = 2         # Connection: keep-alive
    MSG_UPGRADE = 4           # Connection: upgrade, together with an Upgrade field
    MSG_EXPECT_CONTINUE = 8   # Expect: 100-continue
    MSG_TE_TRAILERS = 16      # TE: trailers
    MSG_DROPS = 32            # at least one field carries FIELD_DROP
    MSG_HAS_LENGTH = 64       # a Content-Length field was present (also in HEAD and 304 answers)
    MSG_EDITED = 128          # fields were added or taken away: see edit.pxd
    MSG_LINE = 256            # the start line is not the one in `base`: path, query or status are others

cdef enum field_bits_t:
    FIELD_DROP = 1            # hop-by-hop, or named by Connection: not forwarded (RFC 9110 section 7.6.1)
    FIELD_MERGED = 4          # FIELD_DROP too: its value goes into a field that the proxy writes
    FIELD_OURS = 2            # added by a filter or the proxy: not what the peer said

# Index (into `fields`) of the first field of a known name, -1 when absent: see token.pxd for the ids.
ctypedef struct field_t:
    uint16_t name_off         # from msg_t.base
    uint16_t name_len
    uint16_t value_off        # optional white space already stripped
    uint16_t value_len
    uint16_t end_off          # first byte after this field's line (after its CRLF)
    uint8_t id                # token.pxd, 0 = a name without an id
    uint8_t bits              # field_bits_t; the stream may set FIELD_DROP on fields it replaces

ctypedef struct msg_t:
    const uint8_t *base       # borrowed
    uint32_t len              # bytes of the head, its empty line included
    uint16_t n_fields
    uint16_t fields_off       # where the first field line begins
    uint8_t method            # METHOD_* (requests)
    uint8_t minor             # HTTP/1.<minor>, 0 or 1
    uint16_t status           # responses
    uint16_t method_off, method_len
    uint16_t target_off, target_len     # as received
    uint16_t reason_off, reason_len     # responses
    uint16_t authority_off, authority_len   # of an absolute-form target, else of Host
    uint16_t path_off, path_len             # path without query; "*" for the asterisk form; len 0: "/" is meant
    uint16_t query_off, query_len           # after "?", without it; query_has tells empty from absent
    uint8_t query_has
    uint8_t absolute          # the target was in absolute form
    uint8_t framing           # framing_t
    uint32_t bits             # msg_bits_t
    uint64_t length           # FRAME_LENGTH; or the announced length when MSG_HAS_LENGTH without a body
    int16_t at[32]            # at[HEADER_x] = index of that field, or -1
    const char *fault         # a sentence for people when a parse failed; static storage
    field_t fields[272]


cdef inline span_t msg_span(const msg_t *m, uint16_t off, uint16_t n) noexcept nogil:
    cdef span_t s
    s.ptr = m.base + off
    s.len = n
    return s


cdef inline span_t msg_value(const msg_t *m, int i) noexcept nogil:
    """The value of field `i`, absent (NULL) when i < 0."""
    cdef span_t s
    if i < 0:
        s.ptr = NULL
        s.len = 0
        return s
    s.ptr = m.base + m.fields[i].value_off
    s.len = m.fields[i].value_len
    return s


cdef inline bint msg_value_is(const msg_t *m, const field_t *f, const char *lower, uint32_t n) noexcept nogil:
    """The value equals `lower`, a word in lower case made of letters, digits and "-", whatever its own case."""
    return f.value_len == n and scan_is_fold(m.base + f.value_off, lower, n)


cdef inline int msg_fail(msg_t *m, int code, const char *why) noexcept nogil:
    m.fault = why
    return code
