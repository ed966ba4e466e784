"""The token buckets of one rate limit, alone: counted as workers count them in shared memory, with a clock that the
caller has. For simulations."""
from libc.stdint cimport uint64_t
from fastmesh._core.mem.arena cimport heap_array, heap_free
from fastmesh._core.mem.bucket cimport bucket_take, draw_t
from fastmesh._core.mem.segment cimport (
    KIND_BUCKETS, SHARED_FIRST, SHARED_OK, object_size, object_t, segment_init, segment_object, segment_t)
from fastmesh._core.mem.sip cimport sip_hash

cdef enum:
    LINE = 64


cdef class Buckets:
    cdef segment_t *g
    cdef object_t *buckets
    cdef uint64_t token_ns
    cdef uint64_t burst_ns

    def __cinit__(self, uint64_t token_ns, uint64_t depth, uint64_t keys):
        """`token_ns`: in which a token comes back; `depth` tokens are in a full bucket; `keys` have one each."""
        cdef uint64_t size = SHARED_FIRST + object_size(KIND_BUCKETS, keys, 0) + LINE
        cdef uint64_t seed[2]
        seed[0] = 1
        seed[1] = 2
        self.token_ns = token_ns
        self.burst_ns = token_ns * depth
        self.g = <segment_t *>heap_array(size // LINE + 1, LINE)
        if segment_init(self.g, size, seed) != 0 or segment_object(
                self.g, KIND_BUCKETS, b"simulated", 9, keys, 0, &self.buckets) != SHARED_OK:
            raise MemoryError("the buckets of a rate limit cannot be made")

    def __dealloc__(self):
        heap_free(self.g)

    def take(self, uint64_t now_ns, uint64_t key):
        """Whether the request may pass; its token is taken then."""
        cdef uint64_t digest[2]
        cdef draw_t draw
        sip_hash(<const unsigned char *>&key, sizeof(key), self.g.seed, digest)
        self.g.clock_ns = now_ns
        bucket_take(self.g, self.buckets, digest, self.token_ns, self.burst_ns, self.burst_ns, &draw)
        return draw.wait_ns == 0
