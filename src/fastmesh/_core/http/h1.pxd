"""HTTP/1.x heads and trailers: pure functions over bytes (RFC 9110, RFC 9112).

No file descriptor, no clock, no allocation, no state: a head that is not complete is
parsed again when more has arrived, `scanned` saying how much was searched before.
"""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.msg cimport msg_t

# What was wrong, negative; the mux turns it into a status.
cdef enum h1_fault_t:
    H1_AGAIN = -2             # same value as FM_AGAIN
    H1_EBAD = -20             # 400
    H1_EURI = -21             # 414: the request line is longer than the limit
    H1_EHEAD = -22            # 431: the head is longer than the limit
    H1_EFIELDS = -23          # 431: more fields than the limit
    H1_EVERSION = -24         # 505: a major version other than 1 (an HTTP/2 preface is H1_EBAD, so is HTTP/0.9)
    # 501 by the RFC: a transfer coding other than chunked. The mux answers 400, as to everything unclear.
    H1_ECODING = -25

ctypedef struct h1_limits_t:
    uint32_t head_bytes       # whole head, at most 65,535
    uint32_t line_bytes       # request line
    uint32_t fields           # at most MSG_FIELDS_ROOM

# > 0: bytes of the complete head; H1_AGAIN: incomplete and within limits; else h1_fault_t with m.fault set.
# `scanned`: bytes at the front already known to hold no end of head (0 the first time, the old `n` afterwards).
cdef int h1_parse_request(msg_t *m, const uint8_t *p, uint32_t n, uint32_t scanned,
                          const h1_limits_t *limits) noexcept nogil
# `method` is the request's METHOD_*: HEAD has no body (RFC 9112 section 6.3). Interim answers (1xx) are ordinary
# results with FRAME_NONE. 101 is FRAME_NONE: the mux decides about the splice.
cdef int h1_parse_response(msg_t *m, const uint8_t *p, uint32_t n, uint32_t scanned,
                           const h1_limits_t *limits, int method) noexcept nogil
# A trailer section after the last chunk, its empty line included ("\r\n" alone when there are none).
# Fields that may not be trailers (framing, routing, hop-by-hop…) carry FIELD_DROP.
cdef int h1_parse_trailers(msg_t *m, const uint8_t *p, uint32_t n, uint32_t scanned,
                           const h1_limits_t *limits) noexcept nogil
# Copies the field lines that do not carry FIELD_DROP, in order, runs at a time; no empty line at the end.
# `dst` has room for m.len bytes. Returns bytes written.
cdef uint32_t h1_copy_fields(uint8_t *dst, const msg_t *m) noexcept nogil
# The reason phrase of RFC 9110 for a status; "Unknown" otherwise. Static storage.
cdef const char *h1_reason(int status) noexcept nogil
