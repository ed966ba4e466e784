"""Request paths: what rules are matched against (RFC 3986 section 6.2.2)."""
from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    URI_SAME = 0              # already in normal form: nothing was written
    URI_CHANGED = 1           # `out` holds the normal form
    # As URI_CHANGED, and servers disagree about it (%2F, %5C, a backslash, "/..;x/"): `out` keeps those as they
    # are, `uri_decode_slashes` gives the other reading.
    URI_AMBIGUOUS = 2

# Normal form of a path (no query): percent-encoded unreserved characters decoded, other escapes in upper case,
# runs of "/" merged, dot segments removed (never above the root). Fails with FM_EPROTO on a broken escape,
# an encoded NUL, or a path that does not begin with "/".
# `out` has room for n bytes, *out_len is set when the result is not URI_SAME.
cdef int uri_normalize(const uint8_t *path, uint32_t n, uint8_t *out, uint32_t *out_len) noexcept nogil
# The reading of servers that decode slashes: %2F, %5C and "\" as "/", "..;x" (dots with a path parameter, as
# Java servers have them) as "..", then the normal form again.
# `path` is a normal form; `out` has room for n bytes. Returns its length.
cdef uint32_t uri_decode_slashes(const uint8_t *path, uint32_t n, uint8_t *out) noexcept nogil
