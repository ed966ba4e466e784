"""io_uring: declarations only; the system calls are in include/uring_sys.h."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "uring_sys.h" nogil:
    struct io_uring_sqe:
        uint8_t opcode
        uint8_t flags
        uint16_t ioprio
        int32_t fd
        uint64_t off
        uint64_t addr
        uint32_t len
        uint32_t msg_flags
        uint32_t accept_flags
        uint32_t poll32_events
        uint32_t cancel_flags
        uint64_t user_data
        uint16_t buf_group
    struct io_uring_cqe:
        uint64_t user_data
        int32_t res
        uint32_t flags
    ctypedef struct fm_ring:
        int fd
        unsigned int sq_entries
        unsigned int cq_entries
    ctypedef struct fm_bufs:
        unsigned int entries
    enum:
        IORING_OP_RECV, IORING_OP_SEND, IORING_OP_SENDMSG, IORING_OP_ACCEPT, IORING_OP_CONNECT, IORING_OP_POLL_ADD
        IORING_OP_ASYNC_CANCEL, IORING_OP_CLOSE
        IORING_RECV_MULTISHOT, IORING_RECVSEND_POLL_FIRST, IORING_ACCEPT_MULTISHOT, IORING_POLL_ADD_MULTI
        IOSQE_BUFFER_SELECT, IOSQE_CQE_SKIP_SUCCESS
        IORING_CQE_F_BUFFER, IORING_CQE_F_MORE, IORING_CQE_BUFFER_SHIFT
    int fm_ring_open(fm_ring *r, unsigned int entries, unsigned int cq_entries)
    void fm_ring_close(fm_ring *r)
    io_uring_sqe *fm_ring_sqe(fm_ring *r)
    unsigned int fm_ring_queued(fm_ring *r)
    int fm_ring_enter(fm_ring *r, int wait, uint64_t wait_ns)
    unsigned int fm_cq_ready(fm_ring *r)
    io_uring_cqe *fm_cq_at(fm_ring *r, unsigned int i)
    void fm_cq_advance(fm_ring *r, unsigned int n)
    int fm_cq_overflow(fm_ring *r)
    int fm_bufs_open(fm_ring *r, fm_bufs *b, unsigned int entries, unsigned short group)
    void fm_bufs_close(fm_bufs *b)
    void fm_bufs_put(fm_bufs *b, void *at, unsigned int length, unsigned short bid)
    void fm_bufs_publish(fm_bufs *b)
