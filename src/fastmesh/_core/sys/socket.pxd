"""Sockets as the kernel has them: declarations only."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef extern from "<sys/types.h>" nogil:
    pass

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_storage:
        unsigned short ss_family
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    int AF_INET, AF_INET6, AF_UNIX
    int SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC
    int SOL_SOCKET, SO_ERROR, SO_LINGER
    int MSG_NOSIGNAL, MSG_DONTWAIT, MSG_WAITALL, MSG_PEEK, MSG_MORE
    int SHUT_RD, SHUT_WR, SHUT_RDWR
    int socket(int domain, int kind, int protocol)
    int accept4(int fd, sockaddr *addr, socklen_t *n, int flags)
    int connect(int fd, const sockaddr *addr, socklen_t n)
    int getsockopt(int fd, int level, int name, void *value, socklen_t *n)
    int setsockopt(int fd, int level, int name, const void *value, socklen_t n)
    int getpeername(int fd, sockaddr *addr, socklen_t *n)
    ssize_t recv(int fd, void *to, size_t n, int flags)
    ssize_t send(int fd, const void *what, size_t n, int flags)
    ssize_t sendmsg(int fd, const msghdr *m, int flags)
    int shutdown(int fd, int how)
    int socketpair(int domain, int kind, int protocol, int *fds)

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_NODELAY, TCP_QUICKACK

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long what, ...)

cdef extern from "<linux/sockios.h>" nogil:
    unsigned long SIOCOUTQ

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int POLLIN, POLLOUT, POLLERR, POLLHUP, POLLRDHUP
    int poll(pollfd *fds, unsigned long n, int timeout_ms)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)
    ssize_t read(int fd, void *to, size_t n)
    ssize_t write(int fd, const void *what, size_t n)

cdef extern from "<fcntl.h>" nogil:
    int fcntl(int fd, int what, ...)
    int F_GETFL, F_SETFL, O_NONBLOCK, O_CLOEXEC
    int open(const char *path, int flags, ...)
    int O_RDONLY
