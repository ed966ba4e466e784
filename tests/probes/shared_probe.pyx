"""Doors for tests onto shared memory: its hash, its locks held by who dies, and whether its tables are whole."""
import os

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from fastmesh._core.mem.segment cimport (
    entry_t, object_entry, object_heads, object_lock, object_t, object_unlock, segment_t, table_find)
from fastmesh._core.mem.sip cimport sip_hash

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_lock(pthread_mutex_t *mutex)


def sip(bytes key, bytes seed):
    """16 bytes, as the reference implementation writes them."""
    cdef uint64_t words[2]
    cdef uint64_t out[2]
    assert len(seed) == 16
    memcpy(words, <const char *>seed, 16)
    sip_hash(<const uint8_t *><const char *>key, len(key), words, out)
    return (<char *>out)[:16]


cdef class Raw:
    """A second mapping of a segment, from its descriptor."""

    cdef segment_t *g
    cdef size_t size

    def __cinit__(self, int fd):
        self.size = os.fstat(fd).st_size
        cdef void *at = mmap(NULL, self.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if at == MAP_FAILED:
            raise OSError("mmap")
        self.g = <segment_t *>at

    def __dealloc__(self):
        if self.g is not NULL:
            munmap(self.g, self.size)

    cdef object_t *_of(self, str name) except NULL:
        cdef uint64_t offset = self.g.first
        cdef object_t *o
        while offset:
            o = <object_t *>(<uint8_t *>self.g + offset)
            if o.name[:o.name_len].decode() == name:
                return o
            offset = o.next
        raise KeyError(name)

    def names(self):
        cdef uint64_t offset = self.g.first
        cdef object_t *o
        found = []
        while offset:
            o = <object_t *>(<uint8_t *>self.g + offset)
            found.append(o.name[:o.name_len].decode())
            offset = o.next
        return found

    def hold(self, str name):
        """Takes the object's lock and keeps it."""
        object_lock(self._of(name))

    def tear(self, str name):
        """As `hold`, and leaves a table behind that nobody may follow."""
        cdef object_t *o = self._of(name)
        cdef uint32_t i
        object_lock(o)
        for i in range(o.n_heads):
            object_heads(o)[i] = 0xFFFFFFFF
        o.newest = 0xFFFFFFFF
        o.oldest = 0xFFFFFFFF
        o.free = 0xFFFFFFFF

    def hold_list(self):
        """Takes the lock of the list of objects, and leaves half an object behind its end."""
        cdef uint64_t offset = self.g.first
        cdef uint64_t end = 256
        cdef object_t *o
        pthread_mutex_lock(&self.g.lock)
        while offset:
            o = <object_t *>(<uint8_t *>self.g + offset)
            end = offset + o.size
            offset = o.next
        o = <object_t *>(<uint8_t *>self.g + end)
        o.next = 0xFFFFFFFF
        o.kind = 5
        o.capacity = 1 << 40

    @property
    def recovered(self):
        return self.g.recovered

    def check(self, str name):
        """Follows every chain of a table. How many entries it has; raises AssertionError when it is not whole."""
        cdef object_t *o = self._of(name)
        cdef uint32_t one, i, before
        cdef entry_t *e
        object_lock(o)
        try:
            chained, lined, free = set(), [], []
            for i in range(o.n_heads):
                one = object_heads(o)[i]
                while one:
                    assert one <= o.fresh and one not in chained
                    chained.add(one)
                    e = object_entry(o, one)
                    assert e.key[0] & (o.n_heads - 1) == i
                    assert table_find(o, e.key) == e
                    one = e.chain
            one, before = o.newest, 0
            while one:
                e = object_entry(o, one)
                assert e.newer == before and len(lined) < o.n
                lined.append(one)
                before, one = one, e.older
            assert before == o.oldest and set(lined) == chained and len(lined) == o.n
            one = o.free
            while one:
                assert one not in chained and len(free) <= o.fresh
                free.append(one)
                one = object_entry(o, one).chain
            assert len(free) + o.n == o.fresh <= o.capacity
            return o.n
        finally:
            object_unlock(o)
