"""What concerns one hop only: Connection, the fields it names, TE (RFC 9110 section 7.6.1)."""
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.http.token cimport (
    HEADER_CONTENT_LENGTH, HEADER_CONTENT_TYPE, HEADER_DATE, HEADER_EXPECT, HEADER_FORWARDED, HEADER_HOST,
    HEADER_TRACEPARENT, HEADER_VIA, HEADER_X_FORWARDED_FOR, HEADER_X_FORWARDED_HOST, HEADER_X_FORWARDED_PROTO,
    HEADER_X_REQUEST_ID)

cdef enum:
    # Stay when Connection names them: framing, and what routing, logs and policies rely on. A client could
    # otherwise take a field away that this proxy or one before it has put there (CVE-2022-31813). Envoy answers
    # 400 to such a request; here the name is passed over, which is enough. More names: name_is_kept.
    HOP_KEPT = (1 << HEADER_HOST | 1 << HEADER_CONTENT_LENGTH | 1 << HEADER_CONTENT_TYPE | 1 << HEADER_EXPECT |
                1 << HEADER_X_FORWARDED_FOR | 1 << HEADER_X_FORWARDED_PROTO | 1 << HEADER_X_FORWARDED_HOST |
                1 << HEADER_X_REQUEST_ID | 1 << HEADER_FORWARDED | 1 << HEADER_VIA | 1 << HEADER_TRACEPARENT |
                1 << HEADER_DATE)
    HOP_NAMED_CAP = 32        # names in Connection: each is looked for among all fields, so their number is bounded


# Reads the Connection field (all of them when there are `several`) into m.bits and marks the fields it names
# with FIELD_DROP. 0, or H1_EBAD with m.fault set. The field must be there.
cdef int hop_read_connection(msg_t *m, bint several) noexcept nogil
# Sets MSG_TE_TRAILERS when a TE field says that trailers are welcome.
cdef void hop_read_te(msg_t *m) noexcept nogil
