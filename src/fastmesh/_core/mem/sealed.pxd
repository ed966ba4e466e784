"""Memory that another process has made and that nobody can change any more: it is read where it lies.

A memfd that could shrink would end whoever reads behind its new end (SIGBUS), and one that could be written would be
another while it is read: both must be ruled out by its seals.
"""
from libc.errno cimport EINVAL, EPERM, errno
from libc.stdint cimport uint8_t, uint64_t
from posix.mman cimport MAP_FAILED, MAP_PRIVATE, PROT_READ, mmap, munmap
from posix.stat cimport fstat, struct_stat

cdef extern from "<fcntl.h>" nogil:
    int F_GET_SEALS, F_SEAL_SHRINK, F_SEAL_WRITE
    int fcntl(int fd, int what, ...)


cdef inline int sealed_map(int fd, uint64_t size, const uint8_t **bytes_) noexcept nogil:
    """The first `size` bytes, for `sealed_unmap`. 0, or an errno for a descriptor of anything else."""
    cdef struct_stat found
    cdef void *p
    cdef int seals = fcntl(fd, F_GET_SEALS)
    if seals < 0:
        return errno
    if seals & F_SEAL_SHRINK == 0 or seals & F_SEAL_WRITE == 0:
        return EPERM
    if fstat(fd, &found) != 0:
        return errno
    if size == 0 or <uint64_t>found.st_size < size:
        return EINVAL
    # Private, though nobody writes: before Linux 6.7 a shared mapping counts as one that may be.
    p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0)
    if p == MAP_FAILED:
        return errno
    bytes_[0] = <const uint8_t *>p
    return 0


cdef inline void sealed_unmap(const uint8_t *p, uint64_t size) noexcept nogil:
    munmap(<void *>p, size)
