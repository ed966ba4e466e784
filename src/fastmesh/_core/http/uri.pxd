"""Request paths: what rules are matched against (RFC 3986 section 6.2.2)."""
from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    URI_SAME = 0              # already in normal form: nothing was written
    URI_CHANGED = 1           # `out` holds the normal form
    # As URI_CHANGED, and servers disagree about it (%2F, %5C, a backslash, "/a;x/"): `out` keeps those as they
    # are, `uri_read_again` gives the other readings.
    URI_AMBIGUOUS = 2
    # Another reading, as a sum. Parameters are taken away as Java servers do: "/a;x=1/..;/b" is "/b".
    URI_SLASHES = 1           # %2F is "/" (and %C0%AF is, and %C0%AE ".", for decoders that take overlong UTF-8)
    URI_BACKSLASHES = 2       # "\" and %5C are "/"
    URI_STRIPS_LAST = 4       # parameters are taken away after all that is decoded, %3B as well
    URI_STRIPS_FIRST = 8      # parameters are taken away, and then it is decoded
    URI_READINGS = 16         # all sums are below

# Normal form of a path (no query): percent-encoded unreserved characters decoded, other escapes in upper case,
# runs of "/" merged, dot segments removed (never above the root). Fails with FM_EPROTO on a broken escape,
# an encoded NUL, or a path that does not begin with "/".
# `out` has room for n bytes, *out_len is set when the result is not URI_SAME.
cdef int uri_normalize(const uint8_t *path, uint32_t n, uint8_t *out, uint32_t *out_len) noexcept nogil
# How other servers read a normal form, brought into the normal form again. `out` has room for n bytes.
# Returns the length; 0 when nothing in the path is read in another way then, or the sum makes no sense.
cdef uint32_t uri_read_again(const uint8_t *path, uint32_t n, int which, uint8_t *out) noexcept nogil
