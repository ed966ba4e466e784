"""A 64-bit hash of byte ranges, for tables whose keys come from the configuration.

Not keyed against attackers: what is inserted is chosen by the operator, a peer only
chooses what is looked up, and a lookup costs one probe run whatever its key is.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    static inline uint64_t fm_mul_fold(uint64_t a, uint64_t b) {
        unsigned __int128 r = (unsigned __int128)a * b;
        return (uint64_t)r ^ (uint64_t)(r >> 64);
    }
    static inline uint64_t fm_mul_high(uint64_t a, uint64_t b) {
        return (uint64_t)(((unsigned __int128)a * b) >> 64);
    }
    """
    uint64_t fm_mul_fold(uint64_t a, uint64_t b) noexcept nogil
    uint64_t fm_mul_high(uint64_t a, uint64_t b) noexcept nogil


cdef inline uint64_t hash_mix(uint64_t a, uint64_t b) noexcept nogil:
    return fm_mul_fold(a ^ <uint64_t>0xA0761D6478BD642F, b ^ <uint64_t>0xE7037ED1A0B428DB)


cdef inline uint64_t hash_bytes(const uint8_t *p, uint32_t n, uint64_t seed) noexcept nogil:
    # The folded 64 x 64 multiply of wyhash (Wang Yi), 16 bytes a round; the tail is read with
    # overlapping loads, so no byte outside [p, p + n) is touched.
    cdef uint64_t a = 0
    cdef uint64_t b = 0
    cdef uint32_t a4 = 0
    cdef uint32_t b4 = 0
    cdef uint32_t left = n
    seed ^= <uint64_t>n * <uint64_t>0x9E3779B97F4A7C15
    while left > 16:
        memcpy(&a, p, 8)
        memcpy(&b, p + 8, 8)
        seed = hash_mix(a ^ seed, b)
        p += 16
        left -= 16
    if left >= 8:
        memcpy(&a, p, 8)
        memcpy(&b, p + left - 8, 8)
    elif left >= 4:
        memcpy(&a4, p, 4)
        memcpy(&b4, p + left - 4, 4)
        a = a4
        b = b4
    elif left > 0:
        a = (<uint64_t>p[0] << 16) | (<uint64_t>p[left >> 1] << 8) | p[left - 1]
        b = 0
    # Once more: after one multiply the low bits of short texts still show what they have in common.
    return hash_mix(hash_mix(a ^ seed, b ^ <uint64_t>0x8EBC6AF09C88C6E3), n)
