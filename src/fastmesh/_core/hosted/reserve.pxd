"""Tasks that stand ready in a filter host, and coroutines that are driven step by step."""
from libc.stdint cimport uint64_t
from fastmesh._core.hosted.exchange cimport Call


cdef class Steps:
    """The steps of a phase that is a coroutine: which filter runs is told, and its time is taken."""
    cdef Call call
    cdef object coroutine
    cdef uint64_t *pulse      # where the place of the filter that runs stands
    cdef object go(self, object value, bint *is_over)


cdef class Reserve:
    cdef readonly list ready          # that wait to be needed
    cdef public int coming            # that the loop has not run yet
    cdef object loop
    cdef object _next(self)


cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    static inline uint64_t fm_thread_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    """
    uint64_t fm_thread_ns() noexcept nogil
