"""splice(2) and pipes: declarations only."""

cdef extern from "<fcntl.h>" nogil:
    ssize_t splice(int fd_in, long long *off_in, int fd_out, long long *off_out, size_t n, unsigned int flags)
    unsigned int SPLICE_F_MOVE, SPLICE_F_NONBLOCK, SPLICE_F_MORE
    int F_SETPIPE_SZ, F_GETPIPE_SZ

cdef extern from "<unistd.h>" nogil:
    int pipe2(int *fds, int flags)
