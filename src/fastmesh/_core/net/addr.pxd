"""Socket addresses as values: IPv4, IPv6 and Unix-domain paths.

Text forms: "127.0.0.1:80", "[::1]:80", "unix:/run/x.sock", "unix:@abstract".
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp
from fastmesh._core.mem.hash cimport hash_bytes, hash_mix

cdef enum:
    ADDR_TEXT = 120       # room for the longest printed form, without NUL
    ADDR_PATH_MAX = 107   # of a Unix path: the kernel's 108 less its NUL

ctypedef struct addr_t:
    uint16_t family       # AF_INET, AF_INET6, AF_UNIX; 0 = none
    uint16_t port         # host order; 0 for AF_UNIX
    uint32_t len          # of `ip` in use: 4, 16, or the path's length
    uint8_t ip[108]       # network order, or the Unix path (not terminated; an abstract one begins with NUL)

# A set of peers.
ctypedef struct cidr_t:
    uint8_t family            # 4, 6, or 1 for Unix-domain peers
    uint8_t bits
    uint8_t ip[16]

# FM_OK, or FM_EPROTO when the text is none of the forms above. Host names are not looked up.
cdef int addr_parse(addr_t *a, const char *text, uint32_t n) noexcept nogil
# An IP address alone, as it stands in X-Forwarded-For: with or without brackets and a port, which is not kept.
# FM_OK, or FM_EPROTO.
cdef int addr_parse_ip(addr_t *a, const uint8_t *text, uint32_t n) noexcept nogil
# Writes the text form, not terminated; returns its length, at most ADDR_TEXT. "-" for no address.
cdef uint32_t addr_print(const addr_t *a, char *dst) noexcept nogil
# The same without port and brackets, as in X-Forwarded-For; "unix" for any Unix-domain peer.
cdef uint32_t addr_print_ip(const addr_t *a, char *dst) noexcept nogil
# Fills a struct sockaddr_storage; returns the length for bind or connect, 0 when there is no address.
cdef uint32_t addr_to_sockaddr(const addr_t *a, void *storage) noexcept nogil
# An IPv4 peer seen through an IPv6 socket (::ffff:a.b.c.d) becomes AF_INET. FM_OK, or FM_EPROTO for another
# family (a.family = 0 then). An unnamed Unix peer is AF_UNIX with len 0.
cdef int addr_from_sockaddr(addr_t *a, const void *storage, uint32_t n) noexcept nogil
# `family` is 4, 6 or 1; `ip` has 4 or 16 bytes. Family 1 holds for every Unix-domain peer.
cdef bint addr_in_cidr(const addr_t *a, uint8_t family, uint8_t bits, const uint8_t *ip) noexcept nogil
# Less than, equal to or greater than 0: a total order, by family, bytes, port.
cdef int addr_compare(const addr_t *a, const addr_t *b) noexcept nogil


cdef inline bint addr_eq(const addr_t *a, const addr_t *b) noexcept nogil:
    return (a.family == b.family and a.port == b.port and a.len == b.len and
            memcmp(a.ip, b.ip, a.len) == 0)


cdef inline uint64_t addr_hash(const addr_t *a, uint64_t seed) noexcept nogil:
    return hash_bytes(a.ip, a.len, hash_mix(seed, (<uint64_t>a.family << 16) | a.port))
