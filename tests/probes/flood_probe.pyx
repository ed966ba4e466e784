"""Doors for tests onto tables whose keys peers choose: how much there is to be looked at for one key."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.lb.endpoint cimport endpoint_row_t
from fastmesh._core.mem.hash cimport hash_bytes
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.resil.stale cimport (
    STALE_FOREVER, copy_keep, copy_new, copy_t, stale_find, stale_hash, stale_place, stale_t, stales_free, stales_new,
    stales_t)
from fastmesh._core.route.route_table cimport route_host_steps
from fastmesh._core.snapshot.snapshot cimport live_free, live_new, snapshot_decode, snapshot_put, snapshot_t


def colliding(uint32_t count, uint32_t bits, bytes begin=b"k", bytes end=b""):
    """So many texts for which the lowest bits of the hash without a seed are the same."""
    cdef char text[64]
    cdef uint64_t mask = (<uint64_t>1 << bits) - 1
    cdef uint64_t wanted = 0
    cdef uint64_t number = 0
    cdef uint64_t hash_
    cdef int n
    cdef const char *first = begin
    cdef const char *last = end
    found = []
    while <uint32_t>len(found) < count:
        n = snprintf(text, 64, b"%s%llx%s", first, <unsigned long long>number, last)
        hash_ = hash_bytes(<const uint8_t *>text, <uint32_t>n, 0) & mask
        if number == 0:
            wanted = hash_
        if hash_ == wanted:
            found.append(text[:n])
        number += 1
    return found


cdef class Copies:
    """The copies of one chain of a worker."""
    cdef stales_t *all_
    cdef stale_t *place
    cdef msg_t *m

    def __cinit__(self, uint64_t seed, uint32_t most):
        self.all_ = stales_new(&seed)
        self.place = stale_place(self.all_, span_of(b"place", 5), 1 << 30, most)
        self.m = <msg_t *>calloc(1, sizeof(msg_t))

    def keep(self, bytes key):
        cdef const char *text = key
        cdef copy_t *c = copy_new(self.all_, span_of(<const uint8_t *>text, <uint32_t>len(key)), span_of(NULL, 0),
                                  span_of(b"\r\n", 2), 0, 1 << 20)
        assert c is not NULL
        c.hash = stale_hash(self.all_, span_of(<const uint8_t *>text, <uint32_t>len(key)))
        c.until_ns = STALE_FOREVER
        copy_keep(self.all_, self.place, c, self.m)

    def has(self, bytes key):
        cdef const char *text = key
        return stale_find(self.place, stale_hash(self.all_, span_of(<const uint8_t *>text, <uint32_t>len(key))),
                          span_of(<const uint8_t *>text, <uint32_t>len(key)), self.m) is not NULL

    def chains(self):
        """How many copies there are, and how many of them are looked at for one key at most."""
        cdef copy_t *c
        cdef uint32_t at
        longest = 0
        for at in range(self.place.n_buckets):
            n = 0
            c = self.place.buckets[at]
            while c is not NULL:
                n += 1
                c = c.chain
            longest = max(longest, n)
        return self.place.n, longest

    def __dealloc__(self):
        stales_free(self.all_)
        free(self.m)


def host_steps(bytes packed, list hosts):
    """How many places of the index of the first listener's routes are looked at for each host."""
    cdef char why[512]
    cdef endpoint_row_t row
    cdef const char *text = packed
    cdef void *live = live_new()
    cdef snapshot_t *s = snapshot_decode(<const uint8_t *>text, <uint64_t>len(packed), &row, 1, live, why, 512)
    assert s is not NULL, why
    found = []
    for host in hosts:
        text = host
        found.append(route_host_steps(&s.listeners[0].routes, span_of(<const uint8_t *>text, <uint32_t>len(host))))
    snapshot_put(s)
    live_free(live)
    return found
