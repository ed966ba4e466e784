"""Memory that is freed all at once, and single blocks from the heap."""
from libc.stdint cimport uint8_t, uint64_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort, free
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **p, size_t alignment, size_t size)

cdef enum:
    ALIGN = 16
    CHUNK_MIN = 4096
    CHUNK_MAX = 4 << 20
    # From here on a chunk is a mapping: what is not used of it takes no memory, and all goes back when it is freed.
    MAP_MIN = 128 << 10
    PAGE = 4096
    TEXT_BLOCK = 4096
    TEXT_ALONE = 512          # longer ones are not put together with others

cdef uint64_t n_arenas = 0
cdef uint64_t n_heap = 0
cdef uint64_t n_bytes = 0


cdef void die(size_t n) noexcept nogil:
    fprintf(stderr, b"fastmesh: no memory for %zu bytes\n", n)
    abort()


cdef void *take(size_t align, size_t n) noexcept nogil:
    cdef void *p = NULL
    if posix_memalign(&p, align, n) != 0:
        die(n)
    memset(p, 0, n)
    return p


cdef inline size_t rounded(size_t n, size_t to) noexcept nogil:
    cdef size_t up = (n + to - 1) & ~(to - 1)
    if up < n:
        die(n)
    return up


cdef inline size_t product(size_t count, size_t size) noexcept nogil:
    if size != 0 and count > (<size_t>-1) / size:
        die(<size_t>-1)
    return count * size


cdef chunk_t *chunk_new(size_t size) noexcept nogil:
    cdef size_t total = rounded(size, ALIGN) + sizeof(chunk_t)
    cdef chunk_t *c
    if total < size:
        die(size)
    if total >= MAP_MIN:
        total = rounded(total, PAGE)
        c = <chunk_t *>mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if c == MAP_FAILED:
            die(total)
        c.mapped = total
    else:
        c = <chunk_t *>take(ALIGN, total)
    c.size = total - sizeof(chunk_t)
    return c


cdef arena_t *arena_new(size_t first) noexcept nogil:
    global n_arenas, n_bytes
    cdef arena_t *a = <arena_t *>heap_new(sizeof(arena_t))
    a.grow = first if first > CHUNK_MIN else <size_t>CHUNK_MIN
    if not MEM_IS_EXACT:
        a.head = chunk_new(a.grow)
        n_bytes += a.head.size
    n_arenas += 1
    return a


cdef void *arena_alloc(arena_t *a, size_t n) noexcept nogil:
    global n_bytes
    cdef size_t need = rounded(n, ALIGN)
    cdef chunk_t *c = a.head
    cdef void *p
    if MEM_IS_EXACT:
        # Exactly n bytes, so that the byte after them is out of bounds for AddressSanitizer.
        c = <chunk_t *>take(ALIGN, sizeof(chunk_t) + n)
        c.size = n
        c.next = a.head
        a.head = c
        n_bytes += n
        return <uint8_t *>c + sizeof(chunk_t)
    if need > c.size - c.used:
        if a.grow < CHUNK_MAX:
            a.grow *= 2
        if need >= a.grow:
            # A large one gets a chunk of its own behind the head, which may still have room for small ones.
            c = chunk_new(need)
            c.used = need
            c.next = a.head.next
            a.head.next = c
            n_bytes += c.size
            return <uint8_t *>c + sizeof(chunk_t)
        c = chunk_new(a.grow)
        c.next = a.head
        a.head = c
        n_bytes += c.size
    p = <uint8_t *>c + sizeof(chunk_t) + c.used
    c.used += need
    return p


cdef void *arena_array(arena_t *a, size_t count, size_t size) noexcept nogil:
    return arena_alloc(a, product(count, size))


cdef uint8_t *arena_dup(arena_t *a, const void *src, size_t n) noexcept nogil:
    cdef uint8_t *p = <uint8_t *>arena_alloc(a, n)
    if n != 0:
        memcpy(p, src, n)
    return p


cdef uint8_t *arena_text(arena_t *a, const void *src, size_t n) noexcept nogil:
    cdef uint8_t *p
    if MEM_IS_EXACT or n > TEXT_ALONE:
        return arena_dup(a, src, n)
    if a.text is NULL or n > a.text_left:
        a.text = <uint8_t *>arena_alloc(a, TEXT_BLOCK)
        a.text_left = TEXT_BLOCK
    p = a.text
    memcpy(p, src, n)
    a.text += n
    a.text_left -= n
    return p


cdef void arena_free(arena_t *a) noexcept nogil:
    global n_arenas, n_bytes
    cdef chunk_t *c
    cdef chunk_t *next
    if a is NULL:
        return
    c = a.head
    while c is not NULL:
        next = c.next
        n_bytes -= c.size
        if c.mapped != 0:
            munmap(c, c.mapped)
        else:
            free(c)
        c = next
    heap_free(a)
    n_arenas -= 1


cdef void *heap_new(size_t n) noexcept nogil:
    global n_heap
    cdef size_t align = 64 if n >= 64 else ALIGN
    n_heap += 1
    return take(align, n if n != 0 else 1)


cdef void *heap_array(size_t count, size_t size) noexcept nogil:
    return heap_new(product(count, size))


cdef void heap_free(void *p) noexcept nogil:
    global n_heap
    if p is NULL:
        return
    n_heap -= 1
    free(p)


cdef uint64_t arena_live() noexcept nogil:
    return n_arenas


cdef uint64_t heap_live() noexcept nogil:
    return n_heap


cdef uint64_t arena_bytes() noexcept nogil:
    return n_bytes
