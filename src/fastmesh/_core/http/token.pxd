"""Numbers for the methods and header names that the proxy itself looks at."""

cdef enum:
    METHOD_OTHER = 0
    METHOD_GET = 1
    METHOD_HEAD = 2
    METHOD_POST = 3
    METHOD_PUT = 4
    METHOD_DELETE = 5
    METHOD_OPTIONS = 6
    METHOD_TRACE = 7
    METHOD_PATCH = 8
    METHOD_CONNECT = 9

# Below 32, so that msg_t.at can be an array (anonymous: a named enum cannot be an index).
cdef enum:
    HEADER_NONE = 0
    HEADER_HOST = 1
    HEADER_CONNECTION = 2
    HEADER_CONTENT_LENGTH = 3
    HEADER_TRANSFER_ENCODING = 4
    HEADER_TE = 5
    HEADER_TRAILER = 6
    HEADER_UPGRADE = 7
    HEADER_EXPECT = 8
    HEADER_KEEP_ALIVE = 9
    HEADER_PROXY_CONNECTION = 10
    HEADER_X_FORWARDED_FOR = 11
    HEADER_X_FORWARDED_PROTO = 12
    HEADER_X_FORWARDED_HOST = 13
    HEADER_X_REQUEST_ID = 14
    HEADER_USER_AGENT = 15
    HEADER_DATE = 16
    HEADER_SERVER = 17
    HEADER_VIA = 18
    HEADER_CONTENT_TYPE = 19
    HEADER_PROXY_AUTHENTICATE = 20
    HEADER_PROXY_AUTHORIZATION = 21
    HEADER_HTTP2_SETTINGS = 22
    HEADER_FORWARDED = 23
    HEADER_TRACEPARENT = 24
    HEADER_REFERER = 25


cdef inline bint method_is_idempotent(int method) noexcept nogil:
    """RFC 9110 section 9.2.2; an unknown method is not."""
    return (METHOD_GET <= method <= METHOD_HEAD or
            METHOD_PUT <= method <= METHOD_TRACE)
