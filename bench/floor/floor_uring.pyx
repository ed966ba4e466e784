"""The floor with io_uring: forwards whole messages, knows nothing else.

One issuer with deferred task work, multishot accept and receive into a ring of blocks of 2 KiB, sends that complete
only when they fail, one submit-and-wait per turn.  Few blocks go round, so that they stay in cache: a send does not
wait, so it is done when the enter that submits it returns, and its block is free again.  A message must fit one block
and clients do not pipeline: whatever breaks that is closed, which the load generator counts as a failure.
"""

from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from posix.unistd cimport close

cdef extern from "<linux/io_uring.h>" nogil:
    struct io_uring_sqe:
        unsigned char opcode, flags
        uint16_t ioprio, buf_group
        int fd
        uint64_t addr, user_data
        uint32_t len, msg_flags, accept_flags
    struct io_uring_cqe:
        uint64_t user_data
        int32_t res
        uint32_t flags
    enum:
        IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND
        IORING_ACCEPT_MULTISHOT, IORING_RECV_MULTISHOT, IORING_RECVSEND_POLL_FIRST
        IOSQE_BUFFER_SELECT, IOSQE_CQE_SKIP_SUCCESS
        IORING_CQE_F_MORE, IORING_CQE_F_BUFFER, IORING_CQE_BUFFER_SHIFT
cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT, MSG_NOSIGNAL, MSG_WAITALL, SOCK_CLOEXEC
cdef extern from "<errno.h>" nogil:
    enum:
        EINTR, ENOBUFS
cdef extern from "ring.h" nogil:
    ctypedef struct ring_t:
        pass
    ctypedef struct blocks_t:
        pass
    int ring_open(ring_t *ring, unsigned entries, unsigned completions)
    int ring_enter(ring_t *ring, unsigned wait)
    io_uring_sqe *ring_entry(ring_t *ring)
    unsigned ring_ready(ring_t *ring)
    io_uring_cqe *ring_completion(ring_t *ring, unsigned i)
    void ring_seen(ring_t *ring, unsigned count)
    int blocks_open(blocks_t *blocks, int ring_fd, unsigned count, unsigned size)
    char *blocks_at(blocks_t *blocks, unsigned id)
    void blocks_give(blocks_t *blocks, unsigned id)
    void blocks_publish(blocks_t *blocks)
cdef extern from "message.h" nogil:
    long message_length(const char *bytes, long available)
cdef extern from "sockets.h" nogil:
    int socket_listen(int port)
    int socket_connect(int port)
    void socket_no_delay(int fd)

cdef enum:
    SOCKETS = 32768         # index = descriptor
    BLOCKS = 4096           # at most
    BLOCKS_START = 64       # doubled when a turn brings more messages than that
    BLOCK = 2048
    ON_ACCEPT = 1           # what a completion is for: the upper half of user_data, the descriptor is the lower
    ON_RECEIVE = 2
    ON_SEND = 3

ctypedef struct end_t:
    int peer                # the descriptor at the other side while a request is under way, else -1
    bint upstream
    bint open

cdef ring_t ring
cdef blocks_t blocks
cdef end_t *ends
cdef int *idle              # stack of free upstream descriptors
cdef int idle_count
cdef int origin
cdef int block_count
cdef int sent[BLOCKS]       # blocks under way in the sends of this turn
cdef int sent_count
cdef bint starved           # a receive of this turn found no block


cdef void add_blocks(int count) noexcept nogil:
    global block_count
    while count and block_count < BLOCKS:
        blocks_give(&blocks, <unsigned>block_count)
        block_count += 1
        count -= 1


cdef void arm_accept(int listener) noexcept nogil:
    cdef io_uring_sqe *sqe = ring_entry(&ring)
    sqe.opcode = IORING_OP_ACCEPT
    sqe.fd = listener
    sqe.ioprio = IORING_ACCEPT_MULTISHOT
    sqe.accept_flags = SOCK_CLOEXEC
    sqe.user_data = (<uint64_t>ON_ACCEPT << 32) | <uint32_t>listener


cdef void arm_receive(int fd) noexcept nogil:
    cdef io_uring_sqe *sqe = ring_entry(&ring)
    sqe.opcode = IORING_OP_RECV
    sqe.fd = fd
    sqe.ioprio = IORING_RECV_MULTISHOT | IORING_RECVSEND_POLL_FIRST
    sqe.flags = IOSQE_BUFFER_SELECT
    sqe.user_data = (<uint64_t>ON_RECEIVE << 32) | <uint32_t>fd


cdef void send_block(int fd, int block, int length) noexcept nogil:
    global sent_count
    cdef io_uring_sqe *sqe = ring_entry(&ring)
    sqe.opcode = IORING_OP_SEND
    sqe.fd = fd
    sqe.addr = <uint64_t>blocks_at(&blocks, <unsigned>block)
    sqe.len = <uint32_t>length
    sqe.msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL
    sqe.flags = IOSQE_CQE_SKIP_SUCCESS
    sqe.user_data = (<uint64_t>ON_SEND << 32) | <uint32_t>fd
    sent[sent_count] = block
    sent_count += 1


cdef void open_end(int fd, bint upstream) noexcept nogil:
    ends[fd].peer = -1
    ends[fd].upstream = upstream
    ends[fd].open = True
    arm_receive(fd)


cdef void close_end(int fd) noexcept nogil:
    cdef end_t *end = &ends[fd]
    cdef int peer = end.peer
    if not end.open:
        return
    end.open = False
    end.peer = -1
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


cdef void on_message(int fd, int block, int length) noexcept nogil:
    global idle_count
    cdef end_t *end = &ends[fd]
    cdef int to = end.peer
    if not end.open or message_length(blocks_at(&blocks, <unsigned>block), length) != length or (
            end.upstream == (to < 0)):
        blocks_give(&blocks, <unsigned>block)
        close_end(fd)
        return
    if end.upstream:
        end.peer = ends[to].peer = -1
        idle[idle_count] = fd
        idle_count += 1
    else:
        to = take_upstream()
        if to < 0:
            blocks_give(&blocks, <unsigned>block)
            close_end(fd)
            return
        end.peer = to
        ends[to].peer = fd
    send_block(to, block, length)


cdef void on_completion(io_uring_cqe *cqe) noexcept nogil:
    global starved
    cdef int fd = <int><uint32_t>cqe.user_data
    cdef int what = <int>(cqe.user_data >> 32)
    if what == ON_RECEIVE:
        if cqe.res > 0:
            on_message(fd, <int>(cqe.flags >> IORING_CQE_BUFFER_SHIFT), cqe.res)
        elif cqe.res == -ENOBUFS:
            starved = True
        else:
            close_end(fd)
        if not cqe.flags & IORING_CQE_F_MORE and ends[fd].open:
            arm_receive(fd)
    elif what == ON_ACCEPT:
        if cqe.res >= 0:
            socket_no_delay(cqe.res)
            open_end(cqe.res, False)
        if not cqe.flags & IORING_CQE_F_MORE:
            arm_accept(fd)
    else:
        close_end(fd)


cdef int forward(int listener) noexcept nogil:
    global sent_count, starved
    cdef unsigned count, i
    cdef int failed
    arm_accept(listener)
    while True:
        blocks_publish(&blocks)
        failed = ring_enter(&ring, 1)
        if failed < 0 and failed != -EINTR:
            return failed
        while sent_count:
            sent_count -= 1
            blocks_give(&blocks, <unsigned>sent[sent_count])
        count = ring_ready(&ring)
        for i in range(count):
            on_completion(ring_completion(&ring, i))
        ring_seen(&ring, count)
        if starved:
            starved = False
            add_blocks(block_count)


def serve(int port, int origin_port) -> None:
    """Forward from one loopback port to another until killed."""
    global ends, idle, origin
    cdef int fd, failed
    cdef int listener = socket_listen(port)
    if listener < 0:
        raise OSError(-listener, "listen")
    origin = origin_port
    ends = <end_t *>calloc(SOCKETS, sizeof(end_t))
    idle = <int *>calloc(SOCKETS, sizeof(int))
    fd = ring_open(&ring, 4096, 16384)
    if fd < 0:
        raise OSError(-fd, "io_uring_setup")
    failed = blocks_open(&blocks, fd, BLOCKS, BLOCK)
    if failed < 0:
        raise OSError(-failed, "provided buffers")
    add_blocks(BLOCKS_START)
    with nogil:
        failed = forward(listener)
    raise OSError(-failed, "io_uring_enter")
