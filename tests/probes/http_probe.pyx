# cython: language_level=3str
"""Doors from Python to the HTTP codec, for tests, benchmarks and the fuzzer.

Input is copied to the very end of a page that is followed by one nobody may touch
(picohttpparser's trick), so that a read of one byte too many is a crash, not luck.
`front=True` puts it at the start of its page instead, with a forbidden page before it.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastmesh._core.http.chunked cimport chunked_init, chunked_put_size, chunked_step, chunked_t
from fastmesh._core.http.h1 cimport (
    H1_AGAIN, h1_copy_fields, h1_limits_t, h1_parse_request, h1_parse_response, h1_parse_trailers, h1_reason)
from fastmesh._core.http.msg cimport FIELD_DROP, msg_t
from fastmesh._core.http.retry_after cimport retry_after_seconds
from fastmesh._core.http.cache_control cimport (
    CACHE_NO_CACHE, CACHE_NO_STORE, CACHE_PRIVATE, CACHE_PUBLIC, CACHE_REVALIDATE, CACHE_SHARED, cache_control_read,
    cache_control_t)
from fastmesh._core.http.uri cimport uri_normalize, uri_read_again
from fastmesh._core.mem.span cimport span_of, span_t

cdef extern from "<sys/mman.h>" nogil:
    enum:
        PROT_NONE
        PROT_READ
        PROT_WRITE
        MAP_PRIVATE
        MAP_ANONYMOUS
    void *mmap(void *addr, size_t length, int prot, int flags, int fd, long offset)
    int mprotect(void *addr, size_t length, int prot)

cdef extern from "field_name.h" nogil:
    unsigned int field_name_id(const uint8_t *p, size_t n)
    bint name_is_kept(const uint8_t *p, size_t n)
    bint name_is_no_trailer(const uint8_t *p, size_t n)

cdef extern from "scan.h" nogil:
    const uint8_t *scan_name(const uint8_t *p, const uint8_t *end, const uint8_t *low)
    const uint8_t *scan_value(const uint8_t *p, const uint8_t *end, const uint8_t *low)
    const uint8_t *scan_target(const uint8_t *p, const uint8_t *end, const uint8_t *low)
    const uint8_t *scan_path(const uint8_t *p, const uint8_t *end, const uint8_t *low)
    const uint8_t *scan_plain_path(const uint8_t *p, const uint8_t *end)
    const uint8_t *scan_host(const uint8_t *p, const uint8_t *end)
    bint char_is(uint8_t c, int class_bits)

cdef enum:
    PAGE = 4096
    ROOM = 32 * PAGE          # bytes between the two forbidden pages

cdef uint8_t *_room = NULL


cdef uint8_t *_guarded(const uint8_t *p, size_t n, bint front) except NULL:
    """A copy of p[0:n) beside a forbidden page; valid until the next call."""
    global _room
    cdef uint8_t *at
    if _room is NULL:
        at = <uint8_t *>mmap(NULL, ROOM + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if <void *>at == <void *>-1 or mprotect(at, PAGE, PROT_NONE) or mprotect(at + PAGE + ROOM, PAGE, PROT_NONE):
            raise OSError("no guarded memory")
        _room = at + PAGE
    if n > ROOM:
        raise ValueError("longer than the guarded room")
    at = _room if front else _room + ROOM - n
    if n:  # p may be NULL then
        memcpy(at, p, n)
    return at


cdef dict _bits_of(const msg_t *m):
    names = ["close", "keepalive", "upgrade", "expect_continue", "te_trailers", "drops", "has_length"]
    return {name: bool(m.bits >> i & 1) for i, name in enumerate(names)}


cdef bytes _slice(const msg_t *m, uint16_t off, uint16_t n):
    return m.base[off:off + n]


cdef dict _message(const msg_t *m):
    framings = ["none", "length", "chunked", "close"]
    cdef int i
    fields = []
    for i in range(m.n_fields):
        fields.append((_slice(m, m.fields[i].name_off, m.fields[i].name_len),
                       _slice(m, m.fields[i].value_off, m.fields[i].value_len)))
    cdef uint8_t *out = <uint8_t *>malloc(m.len + 1)
    copied = out[:h1_copy_fields(out, m)]
    free(out)
    return {
        "len": m.len, "minor": m.minor, "status": m.status, "method_id": m.method,
        "method": _slice(m, m.method_off, m.method_len), "target": _slice(m, m.target_off, m.target_len),
        "reason": _slice(m, m.reason_off, m.reason_len), "authority": _slice(m, m.authority_off, m.authority_len),
        "path": _slice(m, m.path_off, m.path_len),
        "query": _slice(m, m.query_off, m.query_len) if m.query_has else None,
        "absolute": bool(m.absolute), "framing": framings[m.framing], "length": m.length, "bits": _bits_of(m),
        "fields": fields, "ids": [m.fields[i].id for i in range(m.n_fields)],
        "ends": [m.fields[i].end_off for i in range(m.n_fields)], "fields_off": m.fields_off,
        "dropped": [fields[i][0] for i in range(m.n_fields) if m.fields[i].bits & FIELD_DROP],
        "at": {i: m.at[i] for i in range(32) if m.at[i] != -1}, "copied": copied,
    }


def parse(str kind, const uint8_t[::1] source not None, uint32_t scanned=0, uint32_t head_bytes=61440,
          uint32_t line_bytes=16384, uint32_t fields=100, int method=1, bint front=False):
    """(code, message or None, fault or None) of one call; code > 0 is the length of the head."""
    cdef msg_t m
    cdef h1_limits_t limits
    cdef uint32_t n = <uint32_t>source.shape[0]
    cdef const uint8_t *p = _guarded(&source[0] if n else NULL, n, front)
    cdef int rc
    limits.head_bytes = head_bytes
    limits.line_bytes = line_bytes
    limits.fields = fields
    # The parser must not rely on what the struct held before.
    memset(&m, 0xa5, sizeof(m))
    if kind == "request":
        rc = h1_parse_request(&m, p, n, scanned, &limits)
    elif kind == "response":
        rc = h1_parse_response(&m, p, n, scanned, &limits, method)
    elif kind == "trailers":
        rc = h1_parse_trailers(&m, p, n, scanned, &limits)
    else:
        raise ValueError(kind)
    fault = None if m.fault is NULL else m.fault.decode()
    return rc, _message(&m) if rc > 0 else None, fault


def parse_ns(str kind, const uint8_t[::1] source not None, int loops, uint32_t scanned=0):
    """Nanoseconds per parse, over `loops` of them."""
    cdef msg_t m
    cdef h1_limits_t limits
    cdef uint32_t n = <uint32_t>source.shape[0]
    cdef const uint8_t *p = &source[0]
    cdef timespec t0, t1
    cdef int left = loops, sum = 0, what = {"request": 0, "response": 1, "uri": 2}[kind]
    cdef uint8_t out[4096]
    cdef uint32_t out_len = 0
    limits.head_bytes = 61440
    limits.line_bytes = 16384
    limits.fields = 100
    with nogil:
        clock_gettime(CLOCK_MONOTONIC, &t0)
        while left > 0:
            left -= 1
            if what == 0:
                sum += h1_parse_request(&m, p, n, scanned, &limits)
            elif what == 1:
                sum += h1_parse_response(&m, p, n, scanned, &limits, 1)
            else:
                sum += uri_normalize(p, n, out, &out_len)
        clock_gettime(CLOCK_MONOTONIC, &t1)
    if what != 2 and sum != loops * <int>n:
        raise ValueError("not a complete head")
    return ((t1.tv_sec - t0.tv_sec) * 1e9 + (t1.tv_nsec - t0.tv_nsec)) / loops


def parse_loop(str kind, const uint8_t[::1] source not None, int loops):
    """The same without a clock of its own, for pytest-benchmark."""
    parse_ns(kind, source, loops)


def trickle_ns(const uint8_t[::1] source not None):
    """Nanoseconds to receive a request one byte at a time, each byte followed by a parse."""
    cdef msg_t m
    cdef h1_limits_t limits
    cdef uint32_t i, n = <uint32_t>source.shape[0]
    cdef const uint8_t *p = &source[0]
    cdef timespec t0, t1
    cdef int rc = H1_AGAIN
    limits.head_bytes = 65535
    limits.line_bytes = 65535
    limits.fields = 256
    with nogil:
        clock_gettime(CLOCK_MONOTONIC, &t0)
        for i in range(n):
            rc = h1_parse_request(&m, p, i + 1, i, &limits)
            if rc != H1_AGAIN:
                break
        clock_gettime(CLOCK_MONOTONIC, &t1)
    return rc, (t1.tv_sec - t0.tv_sec) * 1e9 + (t1.tv_nsec - t0.tv_nsec)


def dechunk(pieces, bint front=False):
    """Feed pieces of a chunked body; (payload, state, rest).

    `state` is "done" (`rest` is what follows the last size line), "more", or "bad"; a payload
    that was handed out before the fault is returned with it.
    """
    cdef chunked_t c
    cdef span_t run
    cdef const uint8_t[::1] view
    cdef const uint8_t *p
    cdef uint32_t n, off
    cdef int rc
    chunked_init(&c)
    out = bytearray()
    rest = b""
    for piece in pieces:
        if c.done:
            rest += bytes(piece)
            continue
        view = piece
        n = <uint32_t>view.shape[0]
        p = _guarded(&view[0] if n else NULL, n, front)
        off = 0
        while off < n and not c.done:
            rc = chunked_step(&c, p + off, n - off, &run)
            if rc < 0:
                # A fault is final.
                assert chunked_step(&c, p, n, &run) == rc
                return bytes(out), "bad", rest
            assert 0 < rc <= <int>(n - off), rc
            if run.len:
                assert run.ptr >= p + off and run.ptr + run.len <= p + off + rc
                out += run.ptr[:run.len]
            off += rc
        rest += p[off:n]
    return bytes(out), "done" if c.done else "more", rest


def retry_after(bytes value, date=None):
    cdef span_t of_value, of_date
    cdef const char *p = value
    of_value = span_of(<const uint8_t *>p, len(value))
    of_date = span_of(NULL, 0)
    if date is not None:
        p = date
        of_date = span_of(<const uint8_t *>p, len(date))
    return retry_after_seconds(of_value, of_date)


def cache_control(bytes value):
    """(names of what it says, lifetime, stale-if-error)."""
    cdef cache_control_t c
    cdef const char *p = value
    cache_control_read(span_of(<const uint8_t *>p, len(value)), &c)
    names = {CACHE_NO_STORE: "no-store", CACHE_PRIVATE: "private", CACHE_NO_CACHE: "no-cache", CACHE_PUBLIC: "public",
             CACHE_REVALIDATE: "revalidate", CACHE_SHARED: "shared"}
    return {name for bit, name in names.items() if c.bits & bit}, c.lifetime_s, c.if_error_s


def chunk_size(uint64_t n):
    cdef uint8_t out[20]
    return out[:chunked_put_size(out, n)]


def normalize(const uint8_t[::1] path not None, bint front=False):
    """(code, normal form or None)."""
    cdef uint32_t n = <uint32_t>path.shape[0], out_len = 0
    cdef const uint8_t *p = _guarded(&path[0] if n else NULL, n, front)
    cdef uint8_t *out = <uint8_t *>malloc(n + 1)
    cdef int rc
    out[n] = 0x5a  # one byte too many would show
    rc = uri_normalize(p, n, out, &out_len)
    over = out[n] != 0x5a or out_len > n
    result = p[:n] if rc == 0 else out[:out_len] if rc > 0 else None
    free(out)
    assert not over, "wrote past the room it was given"
    return rc, result


def read_again(const uint8_t[::1] path not None, int which):
    """The reading, or None."""
    cdef uint32_t n = <uint32_t>path.shape[0], out_len
    cdef const uint8_t *p = _guarded(&path[0] if n else NULL, n, False)
    cdef uint8_t *out = <uint8_t *>malloc(n + 1)
    out[n] = 0x5a
    out_len = uri_read_again(p, n, which, out)
    over = out[n] != 0x5a or out_len > n
    result = out[:out_len] if out_len else None
    free(out)
    assert not over, "wrote past the room it was given"
    return result


def reason(int status):
    return h1_reason(status).decode()


def name_id(bytes name):
    return field_name_id(name, len(name))


def name_lists(bytes name):
    return bool(name_is_kept(name, len(name))), bool(name_is_no_trailer(name, len(name)))


def scan(str what, const uint8_t[::1] source not None, uint32_t start=0, bint front=False):
    """Offset of the first byte at or after `start` that scan_<what> stops at."""
    cdef uint32_t n = <uint32_t>source.shape[0]
    cdef const uint8_t *p = _guarded(&source[0] if n else NULL, n, front)
    cdef const uint8_t *q = p + start
    cdef const uint8_t *end = p + n
    if what == "name":
        q = scan_name(q, end, p)
    elif what == "value":
        q = scan_value(q, end, p)
    elif what == "target":
        q = scan_target(q, end, p)
    elif what == "path":
        q = scan_path(q, end, p)
    elif what == "plain_path":
        q = scan_plain_path(q, end)
    elif what == "host":
        q = scan_host(q, end)
    else:
        raise ValueError(what)
    return q - p


def class_of(uint8_t c, int class_bits):
    return bool(char_is(c, class_bits))
