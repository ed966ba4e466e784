"""The kernel's clocks: declarations only, and the two readings that are used."""
from libc.stdint cimport uint64_t

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC, CLOCK_REALTIME
    int clock_gettime(int which, timespec *at)


cdef inline uint64_t clock_monotonic_ns() noexcept nogil:
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <uint64_t>at.tv_sec * <uint64_t>1000000000 + <uint64_t>at.tv_nsec


cdef inline uint64_t clock_realtime_ns() noexcept nogil:
    cdef timespec at
    clock_gettime(CLOCK_REALTIME, &at)
    return <uint64_t>at.tv_sec * <uint64_t>1000000000 + <uint64_t>at.tv_nsec
