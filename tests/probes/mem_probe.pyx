"""Doors for tests onto arenas and hashes."""
from libc.stdint cimport uint8_t, uintptr_t
from libc.string cimport memcpy, memset
from fastmesh._core.mem.arena cimport (
    arena_alloc, arena_array, arena_bytes, arena_dup, arena_free, arena_live, arena_new, arena_t, heap_array, heap_free,
    heap_live, heap_new)
from fastmesh._core.mem.hash cimport hash_bytes


def alive():
    """(arenas, bytes in them, heap blocks)."""
    return arena_live(), arena_bytes(), heap_live()


cdef class Arena:
    cdef arena_t *a

    def __cinit__(self, size_t first):
        self.a = arena_new(first)

    def take(self, size_t n, int fill):
        """Takes n bytes and fills them: (address, were they all zero)."""
        cdef uint8_t *p = <uint8_t *>arena_alloc(self.a, n)
        was_zero = not any((<char *>p)[:n])
        memset(p, fill, n)
        return <uintptr_t>p, was_zero

    def array(self, size_t count, size_t size):
        return <uintptr_t>arena_array(self.a, count, size)

    def dup(self, bytes what):
        cdef const char *p = what
        return (<char *>arena_dup(self.a, p, len(what)))[:len(what)]

    def read(self, uintptr_t at, size_t n):
        return (<char *>at)[:n]

    def close(self):
        arena_free(self.a)
        self.a = NULL

    def __dealloc__(self):
        arena_free(self.a)


def take_heap(size_t n):
    """(address modulo 64, were they all zero) of a block that is given back."""
    cdef char *p = <char *>heap_new(n)
    result = <uintptr_t>p % 64, not any(p[:n])
    memset(p, 1, n)
    heap_free(p)
    return result


def hash_of(bytes what, seed=0):
    """The bytes lie at the end of their block."""
    cdef size_t n = len(what)
    cdef const char *p = what
    cdef char *room = <char *>heap_array(n, 1)
    memcpy(room, p, n)
    result = hash_bytes(<uint8_t *>room, n, seed)
    heap_free(room)
    return result
