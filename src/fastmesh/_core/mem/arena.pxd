"""Memory that is freed all at once, and single blocks from the heap.

Everything handed out is zeroed and aligned to 16 bytes. Nothing here returns NULL: a size
that overflows or memory that is refused ends the process, because nothing above could do
better (the supervisor starts a new worker). Callers bound their sizes before they ask.
"""
from libc.stdint cimport uint8_t, uint64_t

cdef extern from *:
    """
    /* Pools and bump allocation hide overruns and late uses from AddressSanitizer: in debug builds each object has an
     * allocation of its own. */
    #ifdef FM_DEBUG
    #define MEM_IS_EXACT 1
    #else
    #define MEM_IS_EXACT 0
    #endif
    """
    const bint MEM_IS_EXACT

ctypedef struct chunk_t:
    chunk_t *next
    size_t size               # of the memory behind this header
    size_t used
    size_t mapped             # bytes of its own mapping, this header included; 0 = it is of the heap

ctypedef struct arena_t:
    chunk_t *head             # the one that is being filled
    size_t grow               # size of the next chunk
    uint8_t *text             # where the next text goes; NULL at first
    size_t text_left

# `first` bytes are reserved at once; later chunks grow from there.
cdef arena_t *arena_new(size_t first) noexcept nogil
cdef void *arena_alloc(arena_t *a, size_t n) noexcept nogil
cdef void *arena_array(arena_t *a, size_t count, size_t size) noexcept nogil
cdef uint8_t *arena_dup(arena_t *a, const void *src, size_t n) noexcept nogil
# The same without alignment: short texts lie one behind the other.
cdef uint8_t *arena_text(arena_t *a, const void *src, size_t n) noexcept nogil
cdef void arena_free(arena_t *a) noexcept nogil           # NULL is legal

# One block with an owner of its own. Aligned to a cache line when `n` is 64 or more.
cdef void *heap_new(size_t n) noexcept nogil
cdef void *heap_array(size_t count, size_t size) noexcept nogil
cdef void heap_free(void *p) noexcept nogil              # NULL is legal

# For tests: arenas and heap blocks that are alive, and bytes that arenas hold.
cdef uint64_t arena_live() noexcept nogil
cdef uint64_t heap_live() noexcept nogil
cdef uint64_t arena_bytes() noexcept nogil
