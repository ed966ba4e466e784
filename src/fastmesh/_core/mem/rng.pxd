"""A small random generator per worker, seeded once from the kernel.

Not for secrets. Callers pass the state, so that tests choose it.
"""
from libc.stdint cimport uint32_t, uint64_t

cdef inline uint64_t rng_next(uint64_t *state) noexcept nogil:
    # splitmix64 (Steele, Lea, Flood 2014): one add and three mixes, full period.
    cdef uint64_t z
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    z = state[0]
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef inline uint32_t rng_below(uint64_t *state, uint32_t n) noexcept nogil:
    """A number in [0, n); n must not be 0."""
    # Lemire's multiply-shift: no division, bias below n / 2**32.
    return <uint32_t>(((rng_next(state) >> 32) * <uint64_t>n) >> 32)
