"""What each worker has in use of every cluster and endpoint, for all the others to see.

Part of the pages of mem/health. Each worker has a seat, and alone writes what is in it: plain stores do, and what a
limit is compared with is the sum over all seats. A seat counts while it is taken. Control empties the seat of a worker
that has died, however it died, and with it goes all that it had in use: nothing has to be given back.
"""
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    TALLY_SEATS = 128             # workers that may be alive at the same time; further ones count by themselves
    TALLY_CLUSTERS = 16384        # the numbers of rows are those of mem/counter
    TALLY_ENDPOINTS = 131072

    # what is counted of a cluster: tally_t.used
    USED_REQUESTS = 0
    USED_PENDING = 1
    USED_CONNECTIONS = 2
    USED_RETRIES = 3
    USED_COUNT = 4

# One cache line, written by one worker and read by the others.
ctypedef struct tally_t:
    uint32_t used[4]
    uint32_t reserved[3]          # what adaptive and admission show
    uint32_t most[4]              # the most of each that all had together, as far as this worker has seen
    uint32_t near_s[4]            # when it has last seen little left of a limit, CLOCK_MONOTONIC; 0 = never
    uint32_t reserved2

# Kept only for clusters with a limit for each endpoint.
ctypedef struct endpoint_tally_t:
    uint32_t requests
    uint32_t reserved

ctypedef struct seat_t:
    tally_t clusters[16384]
    endpoint_tally_t endpoints[131072]

ctypedef struct seats_t:
    uint64_t n                    # seats that were ever taken: the first so many
    uint64_t pids[128]            # 0 = free
    uint64_t near[128]            # of each seat: how often one of its near_s was set
    uint64_t reserved[255]
    seat_t seats[128]

# A free seat, emptied; -1 when there is none.
cdef int seat_take(seats_t *s, uint64_t pid) noexcept nogil
cdef void seat_leave(seats_t *s, int seat) noexcept nogil
# How many seats are taken, and how many of those come before `seat`.
cdef uint32_t seat_rank(seats_t *s, int seat, uint32_t *rank) noexcept nogil
# What all others have in use: `used` is set.
cdef void tally_others(seats_t *s, int seat, uint32_t row, uint32_t *used) noexcept nogil
cdef uint32_t tally_endpoint_others(seats_t *s, int seat, uint32_t row) noexcept nogil
