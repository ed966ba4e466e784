"""What tells the buckets of a rate limit apart: values of a request, hashed with a seed that no client knows.

A client that wants more than its share varies what it is known by. So values are taken in the form in which most
applications read them (letters of a host, escapes of a query, quotes of a cookie), and one that can be read in
several ways is nobody's: all such requests share one bucket. Those are a header, cookie or parameter that stands there
with different values, one of more than KEY_VALUE_MAX bytes, and a path that servers disagree about.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.net.addr cimport addr_t

# In the order of KEY_SOURCES in snapshot/wire.py.
cdef enum:
    KEY_CLIENT_ADDRESS = 0
    KEY_CLIENT_NETWORK = 1        # an IPv6 address without its last 64 bits: what one customer is given
    KEY_METHOD = 2
    KEY_HOST = 3
    KEY_PATH = 4
    KEY_ROUTE = 5
    KEY_HEADER = 6
    KEY_COOKIE = 7
    KEY_QUERY = 8
    KEY_LABEL = 9

    KEY_PARTS_MAX = 4
    KEY_VALUE_MAX = 4096          # bytes

    # What limit_key_of answers.
    KEY_WHOLE = 0
    KEY_MISSING = 1               # a value is not there, and counts as one of its own
    KEY_ODD = 2                   # the bucket of all that can be read in several ways

ctypedef struct limit_part_t:
    uint8_t source                # KEY_*
    span_t name                   # of the header (in lower case), cookie, parameter or label

ctypedef struct limit_key_t:
    limit_part_t *parts
    uint32_t n                    # 0 = one bucket for all
    uint64_t shape                # differs between keys of different parts: they find no bucket of each other's

# A request as keys and rules see it. All of it is borrowed for one call.
ctypedef struct caller_t:
    const msg_t *m
    span_t path                   # in normal form
    bint is_path_odd              # broken, or servers disagree about it
    const addr_t *client
    const addr_t *peer            # whose connection it is: of a trusted one, not the client
    span_t listener
    span_t route                  # absent before there is one
    const uint8_t *labels         # of filters, see mem/label.pxd
    uint32_t labels_len

# Sets `shape` from the parts.
cdef void limit_key_begin(limit_key_t *k) noexcept nogil
# The key's digest, two words.
cdef int limit_key_of(const limit_key_t *k, const caller_t *a, const uint64_t *seed, uint64_t *digest) noexcept nogil
