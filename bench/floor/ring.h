/* The io_uring system calls the floor needs, without liburing.
 * Constants younger than the oldest supported kernel headers are spelled out. */
#ifndef FASTMESH_BENCH_RING_H
#define FASTMESH_BENCH_RING_H

#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_NO_SQARRAY (1U << 16) /* IORING_SETUP_NO_SQARRAY, Linux 6.6 */

typedef struct {
    int enter_fd; /* index of the registered ring, or the ring's own descriptor */
    unsigned enter_flags;
    unsigned sq_mask, sq_entries, cq_mask;
    unsigned sq_local_tail; /* entries filled, not yet shown to the kernel */
    unsigned sq_submitted;
    unsigned *sq_head, *sq_tail, *sq_array;
    unsigned *cq_head, *cq_tail;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
} ring_t;

static int ring_open(ring_t *ring, unsigned entries, unsigned completions) {
    struct io_uring_params params;
    unsigned optional = RING_NO_SQARRAY;
    int fd;
    for (;;) {
        memset(&params, 0, sizeof params);
        params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                       IORING_SETUP_CQSIZE | optional;
        params.cq_entries = completions;
        fd = (int)syscall(__NR_io_uring_setup, entries, &params);
        if (fd >= 0) break;
        if (errno != EINVAL || !optional) return -errno;
        optional = 0;
    }
    size_t rings = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    size_t array = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    if (array > rings) rings = array;
    char *base = mmap(NULL, rings, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING);
    if (base == MAP_FAILED) return -errno;
    ring->sqes = mmap(NULL, params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQES);
    if (ring->sqes == MAP_FAILED) return -errno;
    ring->sq_head = (unsigned *)(base + params.sq_off.head);
    ring->sq_tail = (unsigned *)(base + params.sq_off.tail);
    ring->cq_head = (unsigned *)(base + params.cq_off.head);
    ring->cq_tail = (unsigned *)(base + params.cq_off.tail);
    ring->cqes = (struct io_uring_cqe *)(base + params.cq_off.cqes);
    ring->sq_entries = params.sq_entries;
    ring->sq_mask = params.sq_entries - 1;
    ring->cq_mask = params.cq_entries - 1;
    ring->sq_local_tail = ring->sq_submitted = *ring->sq_tail;
    if (!optional) { /* the identity, written once */
        ring->sq_array = (unsigned *)(base + params.sq_off.array);
        for (unsigned i = 0; i < params.sq_entries; i++) ring->sq_array[i] = i;
    }
    ring->enter_fd = fd;
    ring->enter_flags = 0;
    struct io_uring_rsrc_update update = {.offset = -1U, .data = (uint64_t)fd};
    if (syscall(__NR_io_uring_register, fd, IORING_REGISTER_RING_FDS, &update, 1) == 1) {
        ring->enter_fd = (int)update.offset;
        ring->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
    return fd;
}

/* Hands over all filled entries and waits for `wait` completions. */
static int ring_enter(ring_t *ring, unsigned wait) {
    unsigned count = ring->sq_local_tail - ring->sq_submitted;
    __atomic_store_n(ring->sq_tail, ring->sq_local_tail, __ATOMIC_RELEASE);
    int done = (int)syscall(__NR_io_uring_enter, ring->enter_fd, count, wait,
                            ring->enter_flags | IORING_ENTER_GETEVENTS, NULL, 0);
    if (done < 0) return -errno;
    ring->sq_submitted += (unsigned)done;
    return done;
}

static inline struct io_uring_sqe *ring_entry(ring_t *ring) {
    if (ring->sq_local_tail - ring->sq_submitted >= ring->sq_entries) ring_enter(ring, 0);
    struct io_uring_sqe *sqe = &ring->sqes[ring->sq_local_tail++ & ring->sq_mask];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

static inline unsigned ring_ready(ring_t *ring) {
    return __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) - *ring->cq_head;
}
static inline struct io_uring_cqe *ring_completion(ring_t *ring, unsigned i) {
    return &ring->cqes[(*ring->cq_head + i) & ring->cq_mask];
}
static inline void ring_seen(ring_t *ring, unsigned count) {
    __atomic_store_n(ring->cq_head, *ring->cq_head + count, __ATOMIC_RELEASE);
}

/* A ring of receive blocks the kernel picks from (group 0). */
typedef struct {
    struct io_uring_buf *entries;
    char *memory;
    unsigned mask, size;
    uint16_t tail;
} blocks_t;

static int blocks_open(blocks_t *blocks, int ring_fd, unsigned count, unsigned size) {
    blocks->memory = mmap(NULL, (size_t)count * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *entries = mmap(NULL, count * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (blocks->memory == MAP_FAILED || entries == MAP_FAILED) return -errno;
    blocks->entries = entries;
    blocks->mask = count - 1;
    blocks->size = size;
    blocks->tail = 0;
    struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)entries, .ring_entries = count, .bgid = 0};
    if (syscall(__NR_io_uring_register, ring_fd, IORING_REGISTER_PBUF_RING, &reg, 1) < 0) return -errno;
    return 0;
}
static inline char *blocks_at(blocks_t *blocks, unsigned id) { return blocks->memory + (size_t)id * blocks->size; }
static inline void blocks_give(blocks_t *blocks, unsigned id) {
    struct io_uring_buf *entry = &blocks->entries[blocks->tail++ & blocks->mask];
    entry->addr = (uint64_t)(uintptr_t)blocks_at(blocks, id);
    entry->len = blocks->size;
    entry->bid = (uint16_t)id;
}
/* The tail of the ring lies in the reserved field of its first entry. */
static inline void blocks_publish(blocks_t *blocks) {
    __atomic_store_n(&blocks->entries[0].resv, blocks->tail, __ATOMIC_RELEASE);
}

#endif
