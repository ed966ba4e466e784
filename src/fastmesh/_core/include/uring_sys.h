/* io_uring without liburing: three system calls and the two rings' memory.
 *
 * Only what the engine uses. The kernel's header may be older than the running kernel, so
 * constants that came late are defined when absent; the probe finds out what the kernel does.
 */
#ifndef FASTMESH_URING_SYS_H
#define FASTMESH_URING_SYS_H

#include <errno.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

typedef struct {
    int fd;
    int enter_fd;            /* index of the registered ring when enter_flags says so */
    unsigned enter_flags;
    unsigned sq_entries, cq_entries;
    unsigned sq_mask, cq_mask;
    unsigned sq_tail;        /* ours; published to *k_sq_tail at submit */
    unsigned sq_sent;        /* what the kernel was told of */
    unsigned *k_sq_head, *k_sq_tail, *k_sq_flags;
    unsigned *k_cq_head, *k_cq_tail;
    struct io_uring_cqe *cqes;
    struct io_uring_sqe *sqes;
    void *ring, *sqe_mem;
    size_t ring_len, sqe_len;
} fm_ring;

static inline int fm_ring_register(fm_ring *r, unsigned op, void *arg, unsigned n) {
    int rc = (int)syscall(__NR_io_uring_register, r->fd, op, arg, n);
    return rc < 0 ? -errno : rc;
}

static inline void fm_ring_close(fm_ring *r) {
    if (r->sqe_mem) munmap(r->sqe_mem, r->sqe_len);
    if (r->ring) munmap(r->ring, r->ring_len);
    if (r->fd >= 0) close(r->fd);
    r->fd = -1;
    r->ring = r->sqe_mem = NULL;
}

static inline int fm_ring_open(fm_ring *r, unsigned entries, unsigned cq_entries) {
    struct io_uring_params p;
    memset(r, 0, sizeof *r);
    memset(&p, 0, sizeof p);
    p.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN;
    p.cq_entries = cq_entries;
    r->fd = (int)syscall(__NR_io_uring_setup, entries, &p);
    if (r->fd < 0) return -errno;
    if (!(p.features & IORING_FEAT_SINGLE_MMAP) || !(p.features & IORING_FEAT_EXT_ARG) || !(p.features & IORING_FEAT_NODROP)) {
        fm_ring_close(r);
        return -ENOSYS;
    }
    size_t sq_len = p.sq_off.array + p.sq_entries * sizeof(unsigned);
    size_t cq_len = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    r->ring_len = sq_len > cq_len ? sq_len : cq_len;
    r->ring = mmap(NULL, r->ring_len, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
    if (r->ring == MAP_FAILED) { int e = errno; r->ring = NULL; fm_ring_close(r); return -e; }
    r->sqe_len = p.sq_entries * sizeof(struct io_uring_sqe);
    r->sqe_mem = mmap(NULL, r->sqe_len, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
    if (r->sqe_mem == MAP_FAILED) { int e = errno; r->sqe_mem = NULL; fm_ring_close(r); return -e; }
    char *at = (char *)r->ring;
    r->sqes = (struct io_uring_sqe *)r->sqe_mem;
    r->k_sq_head = (unsigned *)(at + p.sq_off.head);
    r->k_sq_tail = (unsigned *)(at + p.sq_off.tail);
    r->k_sq_flags = (unsigned *)(at + p.sq_off.flags);
    r->k_cq_head = (unsigned *)(at + p.cq_off.head);
    r->k_cq_tail = (unsigned *)(at + p.cq_off.tail);
    r->cqes = (struct io_uring_cqe *)(at + p.cq_off.cqes);
    r->sq_entries = p.sq_entries;
    r->cq_entries = p.cq_entries;
    r->sq_mask = p.sq_entries - 1;
    r->cq_mask = p.cq_entries - 1;
    unsigned *array = (unsigned *)(at + p.sq_off.array);
    for (unsigned i = 0; i < p.sq_entries; i++) array[i] = i;
    r->enter_fd = r->fd;
    r->enter_flags = 0;
#ifdef IORING_REGISTER_RING_FDS
    struct io_uring_rsrc_update up;
    memset(&up, 0, sizeof up);
    up.offset = -1U;
    up.data = r->fd;
    /* Saves the look-up of the ring's file at every enter. */
    if (fm_ring_register(r, IORING_REGISTER_RING_FDS, &up, 1) == 1) {
        r->enter_fd = up.offset;
        r->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
#endif
    return 0;
}

/* Entries handed out and not yet taken by the kernel. */
static inline unsigned fm_ring_queued(fm_ring *r) { return r->sq_tail - r->sq_sent; }

static inline struct io_uring_sqe *fm_ring_sqe(fm_ring *r) {
    if (r->sq_tail - __atomic_load_n(r->k_sq_head, __ATOMIC_ACQUIRE) >= r->sq_entries) return NULL;
    struct io_uring_sqe *s = &r->sqes[r->sq_tail & r->sq_mask];
    r->sq_tail++;
    memset(s, 0, sizeof *s);
    return s;
}

/* Submits what is queued; with `wait`, until an event is there or wait_ns have passed. Returns 0 or -errno. */
static inline int fm_ring_enter(fm_ring *r, int wait, uint64_t wait_ns) {
    struct __kernel_timespec ts;
    struct io_uring_getevents_arg arg;
    unsigned n = r->sq_tail - r->sq_sent;
    __atomic_store_n(r->k_sq_tail, r->sq_tail, __ATOMIC_RELEASE);
    memset(&arg, 0, sizeof arg);
    ts.tv_sec = (long long)(wait_ns / 1000000000u);
    ts.tv_nsec = (long long)(wait_ns % 1000000000u);
    arg.ts = (uint64_t)(uintptr_t)&ts;
    /* A zero time-out only collects: min_complete 0 returns at once. */
    long rc = syscall(__NR_io_uring_enter, r->enter_fd, n, wait && wait_ns ? 1 : 0,
                      IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | r->enter_flags, &arg, sizeof arg);
    int e = rc < 0 ? -errno : 0;
    /* What was taken shows in the head, also when the wait ended in a time-out or a signal. */
    r->sq_sent = __atomic_load_n(r->k_sq_head, __ATOMIC_ACQUIRE);
    return e;
}

static inline unsigned fm_cq_ready(fm_ring *r) {
    return __atomic_load_n(r->k_cq_tail, __ATOMIC_ACQUIRE) - *r->k_cq_head;
}
static inline struct io_uring_cqe *fm_cq_at(fm_ring *r, unsigned i) { return &r->cqes[(*r->k_cq_head + i) & r->cq_mask]; }
static inline void fm_cq_advance(fm_ring *r, unsigned n) {
    __atomic_store_n(r->k_cq_head, *r->k_cq_head + n, __ATOMIC_RELEASE);
}
static inline int fm_cq_overflow(fm_ring *r) {
    return (__atomic_load_n(r->k_sq_flags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW) != 0;
}

/* --- provided buffers ------------------------------------------------------------------------ */

typedef struct {
    struct io_uring_buf_ring *ring;
    unsigned entries, mask;
    unsigned short tail;
    unsigned short group;
} fm_bufs;

static inline int fm_bufs_open(fm_ring *r, fm_bufs *b, unsigned entries, unsigned short group) {
    struct io_uring_buf_reg reg;
    size_t len = entries * sizeof(struct io_uring_buf);
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return -errno;
    memset(&reg, 0, sizeof reg);
    reg.ring_addr = (uint64_t)(uintptr_t)at;
    reg.ring_entries = entries;
    reg.bgid = group;
    int rc = fm_ring_register(r, IORING_REGISTER_PBUF_RING, &reg, 1);
    if (rc < 0) { munmap(at, len); return rc; }
    b->ring = (struct io_uring_buf_ring *)at;
    b->entries = entries;
    b->mask = entries - 1;
    b->tail = 0;
    b->group = group;
    return 0;
}
static inline void fm_bufs_close(fm_bufs *b) {
    if (b->ring) munmap(b->ring, b->entries * sizeof(struct io_uring_buf));
    b->ring = NULL;
}
static inline void fm_bufs_put(fm_bufs *b, void *at, unsigned len, unsigned short bid) {
    struct io_uring_buf *k = &((struct io_uring_buf *)b->ring)[b->tail & b->mask];
    k->addr = (uint64_t)(uintptr_t)at;
    k->len = len;
    k->bid = bid;
    b->tail++;
}
static inline void fm_bufs_publish(fm_bufs *b) { __atomic_store_n(&b->ring->tail, b->tail, __ATOMIC_RELEASE); }

#endif
