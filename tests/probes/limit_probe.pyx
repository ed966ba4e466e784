"""Doors for tests onto rate limits: asked with requests as they come in, without a proxy around them."""
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from fastmesh._core.http.h1 cimport h1_limits_t, h1_parse_request
from fastmesh._core.http.msg cimport MSG_FIELDS_CAP, msg_span, msg_t
from fastmesh._core.http.uri cimport URI_AMBIGUOUS, URI_SAME, uri_normalize
from fastmesh._core.mem.counter cimport endpoint_row_t, limit_row_t
from fastmesh._core.mem.segment cimport object_entry, object_heads, object_t, segment_t
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.net.addr cimport addr_parse, addr_t
from fastmesh._core.resil.limit_key cimport caller_t, limit_key_of
from fastmesh._core.resil.rate_limit cimport drawn_t, rate_limit_ask, rate_limit_keep, rate_limit_t
from fastmesh._core.snapshot.snapshot cimport live_free, live_new, snapshot_decode, snapshot_put, snapshot_t
from fastmesh._core.sys.clock_sys cimport clock_monotonic_ns

PASSED, REFUSED, SKIPPED = 0, 1, 2
WHOLE, MISSING, ODD = 0, 1, 2

cdef enum:
    HEAD = 65535
    DRAWN = 8

cdef h1_limits_t ANY
ANY.head_bytes = HEAD
ANY.line_bytes = HEAD
ANY.fields = MSG_FIELDS_CAP


cdef class Limits:
    """The rate limits of a snapshot, with their buckets in a segment."""
    cdef snapshot_t *s
    cdef void *live
    cdef endpoint_row_t endpoint
    cdef object segment
    cdef limit_row_t *counts
    cdef drawn_t drawn
    cdef msg_t *m
    cdef uint8_t *head
    cdef uint8_t *path
    cdef uint64_t rng
    cdef addr_t client
    cdef caller_t a

    def __cinit__(self, bytes packed, segment, uint64_t seed=1):
        cdef char why[512]
        why[0] = 0
        self.live = live_new()
        self.s = snapshot_decode(<const uint8_t *><char *>packed, len(packed), &self.endpoint, 1, self.live, why, 512)
        if self.s is NULL:
            raise ValueError((<bytes>why).decode())
        # Not from mem/arena, whose live blocks other tests count.
        self.counts = <limit_row_t *>calloc(self.s.n_rate_limits + 1, sizeof(limit_row_t))
        self.m = <msg_t *>calloc(1, sizeof(msg_t))
        self.head = <uint8_t *>calloc(1, 65536)
        self.path = <uint8_t *>calloc(2, 65536)
        self.rng = seed
        self.keep(segment)

    def keep(self, segment):
        """Buckets in this memory. What segment_object says of the last limit."""
        cdef segment_t *g = <segment_t *>PyCapsule_GetPointer(segment.handle(), b"segment")
        self.segment = segment
        found = 0
        for i in range(self.s.n_rate_limits):
            found = rate_limit_keep(&self.s.rate_limits[i], g)
        return found

    def close(self):
        if self.s is not NULL:
            snapshot_put(self.s)
            self.s = NULL
            live_free(self.live)
            free(self.counts)
            free(self.m)
            free(self.head)
            free(self.path)

    def __dealloc__(self):
        self.close()

    cdef const rate_limit_t *_limit(self, int i) except NULL:
        if self.s is NULL or not 0 <= i < <int>self.s.n_rate_limits:
            raise IndexError(i)
        return &self.s.rate_limits[i]

    def request(self, bytes head, bytes client=b"10.0.0.1:1", bytes route=None, bytes labels=b""):
        """Who asks next: a whole head. `labels` as filters leave them (mem/label.pxd)."""
        cdef uint32_t n = 0
        cdef int rc
        cdef const char *text = head
        assert len(head) <= HEAD
        memcpy(self.head, text, len(head))
        if h1_parse_request(self.m, self.head, <uint32_t>len(head), 0, &ANY) <= 0:
            raise ValueError(f"no request: {self.m.fault}")
        text = client
        assert addr_parse(&self.client, text, <uint32_t>len(client)) == 0
        memset(&self.a, 0, sizeof(caller_t))
        self.a.m = self.m
        self.a.client = &self.client
        self.a.peer = &self.client
        self.a.listener = span_of(b"web", 3)
        self.a.path = msg_span(self.m, self.m.path_off, self.m.path_len)
        rc = uri_normalize(self.a.path.ptr, self.a.path.len, self.path, &n)
        self.a.is_path_odd = rc < 0 or rc == URI_AMBIGUOUS
        if rc > URI_SAME:
            self.a.path = span_of(self.path, n)
        if route is not None:
            memcpy(self.path + 65536, <char *>route, len(route))
            self.a.route = span_of(self.path + 65536, <uint32_t>len(route))
        memcpy(self.path + 66560, <char *>labels, len(labels))
        self.a.labels = self.path + 66560
        self.a.labels_len = <uint32_t>len(labels)

    def ask(self, int i=0):
        """(how, tokens left, ns to wait) for the request that was told last."""
        cdef int how = rate_limit_ask(self._limit(i), &self.a, &self.counts[i], &self.rng, &self.drawn)
        if how == SKIPPED:
            return how, 0, 0
        return how, self.drawn.left, self.drawn.wait_ns

    def chains(self, int i=0):
        """How many entries the table has, and how many of them are looked at for one key at most."""
        cdef object_t *o = self._limit(i).buckets
        cdef uint32_t longest = 0
        cdef uint32_t at, one, n
        for at in range(o.n_heads):
            one = object_heads(o)[at]
            n = 0
            while one != 0:
                n += 1
                one = object_entry(o, one).chain
            longest = max(longest, n)
        return o.n, longest

    def give_back(self):
        """What the last `ask` has taken."""
        self.drawn.limit.ops.give_back(self.drawn.limit, self.drawn.key)

    def key(self, int i=0):
        """(how, digest) of the key of the request that was told last."""
        cdef uint64_t digest[2]
        cdef const rate_limit_t *l = self._limit(i)
        cdef int how = limit_key_of(&l.key, &self.a, l.segment.seed, digest)
        return how, (<char *>digest)[:16]

    def counted(self, int i=0):
        self._limit(i)
        row = &self.counts[i]
        return {"checked": row.checked, "limited": row.limited, "would": row.would, "evicted": row.evicted,
                "odd_keys": row.odd_keys}

    def flood(self, uint32_t n, int i=0):
        """So many clients ask once each; how many passed, and the nanoseconds that all of it took."""
        cdef const rate_limit_t *l = self._limit(i)
        cdef uint32_t k
        cdef uint64_t begun
        cdef uint64_t passed = 0
        with nogil:
            begun = clock_monotonic_ns()
            for k in range(n):
                memcpy(self.client.ip, &k, 4)
                passed += rate_limit_ask(l, &self.a, &self.counts[i], &self.rng, &self.drawn) == 0
            begun = clock_monotonic_ns() - begun
        return passed, begun

    def loop(self, uint32_t n, int i=0):
        """The same request so often; how many passed."""
        cdef const rate_limit_t *l = self._limit(i)
        cdef uint32_t _k
        cdef uint64_t passed = 0
        with nogil:
            for _k in range(n):
                passed += rate_limit_ask(l, &self.a, &self.counts[i], &self.rng, &self.drawn) == 0
        return passed
