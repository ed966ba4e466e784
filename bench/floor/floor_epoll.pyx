"""The floor with epoll: forwards whole messages, knows nothing else.

Edge triggered, each descriptor added once and never changed; a readable socket is read once into one block and the
block is written to the other side at once.  A message must fit the block and clients do not pipeline: whatever
breaks that is closed, which the load generator counts as a failure.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc
from posix.unistd cimport close

cdef extern from "<sys/epoll.h>" nogil:
    union epoll_data_t:
        int fd
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        EPOLLIN, EPOLLRDHUP, EPOLLET, EPOLL_CTL_ADD, EPOLL_CLOEXEC
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int what, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int count, int timeout)
cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_NONBLOCK
    ssize_t recv(int fd, void *to, size_t length, int flags)
    ssize_t send(int fd, const void *start, size_t length, int flags)
    int accept4(int fd, void *address, void *length, int flags)
cdef extern from "message.h" nogil:
    long message_length(const char *bytes, long available)
cdef extern from "sockets.h" nogil:
    int socket_listen(int port)
    int socket_connect(int port)
    void socket_no_delay(int fd)

cdef enum:
    SOCKETS = 32768         # index = descriptor
    BLOCK = 16384
    EVENTS = 512

ctypedef struct end_t:
    int peer                # the descriptor at the other side while a request is under way, else -1
    bint upstream
    bint open

cdef int poller
cdef end_t *ends
cdef int *idle              # stack of free upstream descriptors
cdef int idle_count
cdef int origin
cdef char block[BLOCK]


cdef void open_end(int fd, bint upstream) noexcept nogil:
    cdef epoll_event event
    ends[fd].peer = -1
    ends[fd].upstream = upstream
    ends[fd].open = True
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLET
    event.data.fd = fd
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)


cdef void close_end(int fd) noexcept nogil:
    cdef int peer = ends[fd].peer
    if not ends[fd].open:
        return
    ends[fd].open = False
    ends[fd].peer = -1
    close(fd)
    if peer >= 0:
        ends[peer].peer = -1
        close_end(peer)


cdef int take_upstream() noexcept nogil:
    global idle_count
    cdef int fd
    while idle_count:
        idle_count -= 1
        fd = idle[idle_count]
        if ends[fd].open and ends[fd].upstream and ends[fd].peer < 0:
            return fd
    fd = socket_connect(origin)
    if fd >= 0:
        open_end(fd, True)
    return fd


cdef void on_readable(int fd) noexcept nogil:
    global idle_count
    cdef end_t *end = &ends[fd]
    cdef int to = end.peer
    cdef ssize_t length
    if not end.open:
        return
    length = recv(fd, block, BLOCK, 0)
    if length < 0 and errno == EAGAIN:
        return
    if length <= 0 or message_length(block, length) != length or end.upstream == (to < 0):
        close_end(fd)
        return
    if end.upstream:
        end.peer = ends[to].peer = -1
        idle[idle_count] = fd
        idle_count += 1
    else:
        to = take_upstream()
        if to < 0:
            close_end(fd)
            return
        end.peer = to
        ends[to].peer = fd
    if send(to, block, <size_t>length, MSG_NOSIGNAL) != length:
        close_end(to)


cdef void on_acceptable(int listener) noexcept nogil:
    cdef int fd
    while True:
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)
        if fd < 0:
            return
        socket_no_delay(fd)
        open_end(fd, False)


cdef int forward(int listener) noexcept nogil:
    cdef epoll_event events[EVENTS]
    cdef int count, i
    while True:
        count = epoll_wait(poller, events, EVENTS, -1)
        if count < 0 and errno != EINTR:
            return -errno
        for i in range(count):
            if events[i].data.fd == listener:
                on_acceptable(listener)
            else:
                on_readable(events[i].data.fd)


def serve(int port, int origin_port) -> None:
    """Forward from one loopback port to another until killed."""
    global ends, idle, origin, poller
    cdef int failed
    cdef int listener = socket_listen(port)
    if listener < 0:
        raise OSError(-listener, "listen")
    origin = origin_port
    ends = <end_t *>calloc(SOCKETS, sizeof(end_t))
    idle = <int *>calloc(SOCKETS, sizeof(int))
    poller = epoll_create1(EPOLL_CLOEXEC)
    open_end(listener, False)
    with nogil:
        failed = forward(listener)
    raise OSError(-failed, "epoll_wait")
