"""Request paths: what rules are matched against (RFC 3986 section 6.2.2)."""
from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    URI_SAME = 0              # already in normal form: nothing was written
    URI_CHANGED = 1           # `out` holds the normal form
    # As URI_CHANGED, and servers disagree about it (%2F, %5C, a backslash, "/a;x/"): `out` keeps those as they
    # are, `uri_read_again` gives the other readings.
    URI_AMBIGUOUS = 2
    URI_READINGS = 4          # how many others there are

# Normal form of a path (no query): percent-encoded unreserved characters decoded, other escapes in upper case,
# runs of "/" merged, dot segments removed (never above the root). Fails with FM_EPROTO on a broken escape,
# an encoded NUL, or a path that does not begin with "/".
# `out` has room for n bytes, *out_len is set when the result is not URI_SAME.
cdef int uri_normalize(const uint8_t *path, uint32_t n, uint8_t *out, uint32_t *out_len) noexcept nogil
# How other servers read a normal form, `which` of URI_READINGS, each brought into the normal form again:
#   0  slashes are decoded: %2F, %5C and "\" are "/" (and %C0%AF, for decoders that take UTF-8 longer than it may be)
#   1  path parameters are taken away, as Java servers do: "/a;x=1/..;/b" is "/b"
#   2  slashes are decoded, then parameters taken away
#   3  parameters are taken away, then slashes decoded
# "..;x" is ".." in all of them. `out` has room for n bytes. Returns the length; 0 when there is no such reading.
cdef uint32_t uri_read_again(const uint8_t *path, uint32_t n, int which, uint8_t *out) noexcept nogil
