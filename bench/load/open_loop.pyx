# cython: language_level=3str
"""A load with an appointed time for every request, whatever became of those before: open loop.

Request number i is due at start + i / rate.  It is sent then on the connection that has been idle longest; when none
is idle it waits for one, and its latency counts from when it was due.  So a proxy that stalls is charged for every
request that it held up, also for those which a closed loop would never have sent (coordinated omission).

A connection that ends under a request, or an answer other than 200, is a failed request; nothing is repeated.  One
that says `connection: close`, or ends while idle, is replaced.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

cdef extern from "<string.h>" nogil:
    char *strcasestr(const char *text, const char *what)
cdef extern from "<sys/epoll.h>" nogil:
    union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        EPOLLIN, EPOLLRDHUP, EPOLL_CTL_ADD, EPOLL_CLOEXEC
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int what, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int count, int timeout)
cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    enum:
        POLLIN
    int ppoll(pollfd *fds, unsigned long count, const timespec *timeout, const void *mask)
cdef extern from "<sys/prctl.h>" nogil:
    enum:
        PR_SET_TIMERSLACK
    int prctl(int what, unsigned long value)
cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_NOSIGNAL, MSG_DONTWAIT
    ssize_t recv(int fd, void *to, size_t length, int flags)
    ssize_t send(int fd, const void *start, size_t length, int flags)
cdef extern from "message.h" nogil:
    long message_length(const char *bytes, long available)
cdef extern from "sockets.h" nogil:
    int socket_connect(int port)

cdef enum:
    BLOCK = 8192            # of an answer; a longer one is a failure
    EVENTS = 256
    GRACE = 5               # seconds after the last request was due, for the last answers

ctypedef struct line_t:
    int fd                  # -1 when connecting failed
    bint waiting            # for an answer
    int64_t due             # of the request on its way
    long got
    char block[BLOCK + 1]

ctypedef struct play_t:
    int port
    int poller
    int count               # of lines
    line_t *lines
    int *idle               # ring of idle lines, longest idle first
    int first, idle_count
    const char *request
    size_t request_length
    uint64_t *latencies
    long answered
    long failed
    long reconnected


cdef int64_t now() noexcept nogil:
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <int64_t> at.tv_sec * 1000000000 + at.tv_nsec


cdef void rest(play_t *play, int number) noexcept nogil:
    play.idle[(play.first + play.idle_count) % play.count] = number
    play.idle_count += 1


cdef void connect_line(play_t *play, int number) noexcept nogil:
    cdef line_t *line = &play.lines[number]
    cdef epoll_event event
    if line.fd >= 0:
        close(line.fd)
    line.fd = socket_connect(play.port)
    if line.fd < 0:
        line.fd = -1
        return
    event.events = EPOLLIN | EPOLLRDHUP
    event.data.u64 = number
    epoll_ctl(play.poller, EPOLL_CTL_ADD, line.fd, &event)


cdef void failed(play_t *play, int number) noexcept nogil:
    play.failed += 1
    play.lines[number].waiting = False
    connect_line(play, number)
    rest(play, number)


cdef void ask(play_t *play, int number, int64_t due) noexcept nogil:
    cdef line_t *line = &play.lines[number]
    if line.fd < 0:
        connect_line(play, number)
    line.waiting = True
    line.due = due
    line.got = 0
    if line.fd < 0 or send(line.fd, play.request, play.request_length, MSG_NOSIGNAL) != <ssize_t> play.request_length:
        failed(play, number)


cdef void hear(play_t *play, int number) noexcept nogil:
    cdef line_t *line = &play.lines[number]
    cdef ssize_t got = recv(line.fd, line.block + line.got, BLOCK - line.got, MSG_DONTWAIT)
    cdef long whole
    if got < 0 and (errno == EAGAIN or errno == EINTR):
        return
    if got <= 0 or not line.waiting:
        if line.waiting:
            failed(play, number)
        else:
            play.reconnected += 1
            connect_line(play, number)
        return
    line.got += got
    line.block[line.got] = 0
    whole = message_length(line.block, line.got)
    if whole == 0 or line.got < whole:
        if line.got == BLOCK:
            failed(play, number)
        return
    if line.got > whole or memcmp(line.block, b"HTTP/1.1 200", 12):
        failed(play, number)
        return
    play.latencies[play.answered] = now() - line.due
    play.answered += 1
    line.waiting = False
    if strcasestr(line.block, b"\r\nconnection: close"):
        play.reconnected += 1
        connect_line(play, number)
    rest(play, number)


cdef long run(play_t *play, double interval, long total, uint64_t *late, long *late_count) noexcept nogil:
    """Returns how many requests were sent."""
    cdef epoll_event events[EVENTS]
    cdef pollfd waiter
    cdef timespec timeout
    cdef int64_t start = now() + 1000000, due = start, at, pause
    cdef int64_t end = start + <int64_t> (interval * total) + <int64_t> GRACE * 1000000000
    cdef long sent = 0
    cdef bint starved = False
    cdef int i, ready, number
    waiter.fd = play.poller
    waiter.events = POLLIN
    while True:
        at = now()
        while sent < total and due <= at and play.idle_count:
            number = play.idle[play.first]
            play.first = (play.first + 1) % play.count
            play.idle_count -= 1
            if not starved:
                late[late_count[0]] = at - due
                late_count[0] += 1
            ask(play, number, due)
            sent += 1
            due = start + <int64_t> (interval * sent)
            at = now()
        # What waits for a connection is late through the proxy, not through this client.
        starved = sent < total and due <= at
        if at >= end or (sent == total and play.idle_count == play.count):
            return sent
        pause = end - at
        if sent < total and not starved:
            pause = due - at
        timeout.tv_sec = pause // 1000000000
        timeout.tv_nsec = pause % 1000000000
        if ppoll(&waiter, 1, &timeout, NULL) <= 0:
            continue
        ready = epoll_wait(play.poller, events, EVENTS, 0)
        for i in range(ready):
            hear(play, <int> events[i].data.u64)


def play(int port, double rate, int connections, double seconds, bytes request, uint64_t[::1] latencies,
         uint64_t[::1] late):
    """Counts; latencies and the client's own lateness (nanoseconds) go into the arrays, one per request each."""
    cdef play_t one
    cdef long total = <long> (rate * seconds), sent, late_count = 0
    cdef int i
    if total < 1 or connections < 1 or latencies.shape[0] < total or late.shape[0] < total:
        raise ValueError("no request, no connection, or no room for the latencies")
    prctl(PR_SET_TIMERSLACK, 1)
    one.port = port
    one.count = connections
    one.lines = <line_t *> calloc(connections, sizeof(line_t))
    one.idle = <int *> calloc(connections, sizeof(int))
    if not one.lines or not one.idle:
        free(one.lines)
        free(one.idle)
        raise MemoryError
    one.poller = epoll_create1(EPOLL_CLOEXEC)
    one.first = one.idle_count = 0
    one.request = request
    one.request_length = len(request)
    one.latencies = &latencies[0]
    one.answered = one.failed = one.reconnected = 0
    with nogil:
        for i in range(connections):
            one.lines[i].fd = -1
            connect_line(&one, i)
            rest(&one, i)
        sent = run(&one, 1e9 / rate, total, &late[0], &late_count)
        # Never answered, or never sent for want of a connection.
        one.failed += total - one.answered - one.failed
        for i in range(connections):
            if one.lines[i].fd >= 0:
                close(one.lines[i].fd)
        close(one.poller)
    free(one.lines)
    free(one.idle)
    return {"requests": one.answered, "sent": sent, "failed": one.failed, "reconnected": one.reconnected,
            "late_count": late_count}
