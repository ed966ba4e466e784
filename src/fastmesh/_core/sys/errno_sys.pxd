"""errno values that libc.errno does not declare everywhere."""
cdef extern from "<errno.h>" nogil:
    int errno
    int EAGAIN, EINTR, EINPROGRESS, ECONNABORTED, ECONNREFUSED, ECONNRESET, ECANCELED, ENOBUFS, EPIPE
    int EALREADY, ENOENT, ETIMEDOUT, EMFILE, ENFILE, EHOSTUNREACH, ENETUNREACH, ENOTCONN, EOPNOTSUPP, EOWNERDEAD
