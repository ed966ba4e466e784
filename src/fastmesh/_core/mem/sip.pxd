"""SipHash-2-4 with 128 bits: a hash that a stranger who does not know the seed can neither steer nor collide.

For keys that come from requests and outlive them. 128 bits are enough to stand for the key itself: two of a
billion keys are taken for one with a chance below 10^-20. (Aumasson and Bernstein, 2012; the long output is that of
the reference implementation.)
"""
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

ctypedef struct sip_t:
    uint64_t v0
    uint64_t v1
    uint64_t v2
    uint64_t v3


cdef inline uint64_t sip_turn(uint64_t x, int bits) noexcept nogil:
    return (x << bits) | (x >> (64 - bits))


cdef inline void sip_rounds(sip_t *s, int n) noexcept nogil:
    cdef uint64_t a = s.v0
    cdef uint64_t b = s.v1
    cdef uint64_t c = s.v2
    cdef uint64_t d = s.v3
    cdef int _
    for _ in range(n):
        a += b
        b = sip_turn(b, 13) ^ a
        a = sip_turn(a, 32)
        c += d
        d = sip_turn(d, 16) ^ c
        a += d
        d = sip_turn(d, 21) ^ a
        c += b
        b = sip_turn(b, 17) ^ c
        c = sip_turn(c, 32)
    s.v0 = a
    s.v1 = b
    s.v2 = c
    s.v3 = d


cdef inline void sip_hash(const uint8_t *p, uint64_t n, const uint64_t *seed, uint64_t *out) noexcept nogil:
    """`seed` and `out` are two words each. Words are read as little-endian machines have them."""
    cdef sip_t s
    cdef uint64_t word = 0
    cdef uint64_t left = n
    s.v0 = seed[0] ^ <uint64_t>0x736F6D6570736575
    s.v1 = seed[1] ^ <uint64_t>0x646F72616E646F6D ^ <uint64_t>0xEE
    s.v2 = seed[0] ^ <uint64_t>0x6C7967656E657261
    s.v3 = seed[1] ^ <uint64_t>0x7465646279746573
    while left >= 8:
        memcpy(&word, p, 8)
        s.v3 ^= word
        sip_rounds(&s, 2)
        s.v0 ^= word
        p += 8
        left -= 8
    word = 0
    if left != 0:
        memcpy(&word, p, left)
    word |= n << 56
    s.v3 ^= word
    sip_rounds(&s, 2)
    s.v0 ^= word
    s.v2 ^= <uint64_t>0xEE
    sip_rounds(&s, 4)
    out[0] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3
    s.v1 ^= <uint64_t>0xDD
    sip_rounds(&s, 4)
    out[1] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3
