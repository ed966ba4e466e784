from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy

from fastmesh._core.http.chunked cimport chunked_init, chunked_step, chunked_t
from fastmesh._core.http.h1 cimport (
    H1_AGAIN, h1_copy_fields, h1_limits_t, h1_parse_request, h1_parse_response, h1_parse_trailers)
from fastmesh._core.http.msg cimport FIELD_DROP, FRAME_LENGTH, field_t, msg_t
from fastmesh._core.http.token cimport METHOD_CONNECT
from fastmesh._core.http.uri cimport URI_AMBIGUOUS, URI_READINGS, URI_SAME, uri_normalize, uri_read_again
from fastmesh._core.lb.endpoint cimport endpoint_row_t
from fastmesh._core.mem.fault cimport FM_EPROTO
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.snapshot.snapshot cimport live_free, live_new, snapshot_decode, snapshot_put, snapshot_t

cdef enum:
    HEAD_BYTES = 4096         # less than the default, so that the fuzzer reaches it
    LINE_BYTES = 1024
    FIELDS = 32
    CUTS = 64                 # places at which a message is cut; all of them when it is short
    ROWS = 8
    INPUT_CAP = 65535

ctypedef struct decoded_t:
    int64_t taken             # bytes, or a fault
    int64_t payload           # bytes

cdef h1_limits_t limits
limits.head_bytes = HEAD_BYTES
limits.line_bytes = LINE_BYTES
limits.fields = FIELDS

cdef msg_t whole
cdef msg_t part
cdef uint8_t first_room[2 * INPUT_CAP]
cdef uint8_t second_room[2 * INPUT_CAP]
cdef endpoint_row_t rows[ROWS]


cdef int parse(msg_t *m, const uint8_t *p, uint32_t n, uint32_t scanned, int method) noexcept nogil:
    # Requests have no method yet.
    if method < 0:
        return h1_parse_request(m, p, n, scanned, &limits)
    return h1_parse_response(m, p, n, scanned, &limits, method)


cdef bint is_clean(const uint8_t *p, uint32_t n) noexcept nogil:
    """Nothing in it that could end a field line or a string for whoever reads it next."""
    return n == 0 or not (memchr(p, 0, n) or memchr(p, b'\r', n) or memchr(p, b'\n', n))


cdef const char *check_fields(const msg_t *m, uint32_t taken) noexcept nogil:
    cdef uint32_t i, at = m.fields_off
    cdef const field_t *f
    if m.len != taken or m.n_fields > FIELDS or m.fields_off > taken:
        return "the head does not say what was taken"
    for i in range(m.n_fields):
        f = &m.fields[i]
        if f.name_off != at or f.name_len == 0 or <uint32_t>f.name_off + f.name_len > f.value_off:
            return "a field's name is not where its line begins"
        if <uint32_t>f.value_off + f.value_len + 2 > f.end_off or f.end_off > taken - 2:
            return "a field's value leaves its line"
        if not is_clean(m.base + f.name_off, f.name_len) or not is_clean(m.base + f.value_off, f.value_len):
            return "a field holds a line end or a NUL"
        if memchr(m.base + f.name_off, b':', f.name_len) or memchr(m.base + f.name_off, b' ', f.name_len):
            return "a field's name is no token"
        at = f.end_off
    return NULL


cdef const char *check_cuts(const uint8_t *p, uint32_t n, int result, int method) noexcept nogil:
    """In pieces, the same: a proxy that read less at a time must not see another message."""
    cdef uint32_t step = n // CUTS + 1, cut = 0, before = 0
    cdef int again
    while cut < n:
        again = parse(&part, p, cut, before, method)
        if result > 0 and cut < <uint32_t>result and again != H1_AGAIN:
            return "a part of a good head was not waited for"
        if result > 0 and cut >= <uint32_t>result and again != result:
            return "a head was longer or shorter when less came with it"
        if result == H1_AGAIN and again != H1_AGAIN:
            return "a part of an unfinished head was judged, the rest was not"
        if result < 0 and again > 0:
            return "a part of a bad head was good"
        # What was looked through and held no end of head.
        before = cut if again == H1_AGAIN else 0
        cut += step
    again = parse(&part, p, n, before, method)
    # A fault in an unfinished head may show only when its end has come: the rest is looked through, not parsed.
    if again != result and (result >= 0 or result == H1_AGAIN or again > 0):
        return "in pieces the result is another"
    return NULL


cdef const char *check_forwarded(const uint8_t *p, int method) noexcept nogil:
    """What is passed on must be read as we read it."""
    cdef uint32_t n = whole.fields_off, i, kept = 0
    cdef int again
    memcpy(first_room, p, n)
    n += h1_copy_fields(first_room + n, &whole)
    if n > whole.len - 2:
        return "more was copied than there was"
    memcpy(first_room + n, b"\r\n", 2)
    n += 2
    for i in range(whole.n_fields):
        kept += not whole.fields[i].bits & FIELD_DROP
    again = parse(&part, first_room, n, 0, method)
    if again != <int>n:
        return "a forwarded head was refused"
    if part.n_fields != kept or part.status != whole.status or part.method != whole.method:
        return "a forwarded head says something else"
    if whole.framing == FRAME_LENGTH and (part.framing != FRAME_LENGTH or part.length != whole.length):
        return "a forwarded head frames another body"
    return NULL


cdef const char *h1_head(const uint8_t *p, uint32_t n, int method) noexcept nogil:
    cdef int result = parse(&whole, p, n, 0, method)
    cdef const char *why
    if result == H1_AGAIN and n > HEAD_BYTES:
        return "a head beyond the limit is still waited for"
    if result == 0 or result > <int>n or result == -1:
        return "a result that cannot be"
    if result > 0:
        why = check_fields(&whole, result)
        if why is NULL:
            why = check_forwarded(p, method)
        if why is not NULL:
            return why
    elif result != H1_AGAIN and whole.fault is NULL:
        return "a refusal without a reason"
    return check_cuts(p, n, result, method)


cdef const char *h1_request(const uint8_t *p, size_t n) noexcept nogil:
    cdef const char *why
    if n > INPUT_CAP:
        return NULL
    why = h1_head(p, n, -1)
    # A path that was accepted in a head may still be refused, never mistaken.
    if why is NULL and parse(&whole, p, n, 0, -1) > 0 and whole.path_len:
        if not is_clean(whole.base + whole.path_off, whole.path_len):
            return "a path holds a line end or a NUL"
        why = uri(whole.base + whole.path_off, whole.path_len)
    return why


cdef const char *h1_response(const uint8_t *p, size_t n) noexcept nogil:
    # The first byte chooses the method that is answered.
    if n == 0 or n > INPUT_CAP:
        return NULL
    return h1_head(p + 1, n - 1, p[0] % (METHOD_CONNECT + 1))


cdef decoded_t decode(const uint8_t *p, uint32_t n, uint32_t piece, uint8_t *out) noexcept nogil:
    """Bytes taken (or a fault) and bytes of payload, when at most `piece` bytes are seen at a time."""
    cdef decoded_t r
    cdef chunked_t c
    cdef span_t run
    cdef uint32_t at = 0
    cdef int taken
    r.taken = 0
    r.payload = 0
    chunked_init(&c)
    while at < n and not c.done:
        run.ptr = NULL
        run.len = 0
        taken = chunked_step(&c, p + at, min(piece, n - at), &run)
        if taken <= 0 or <uint32_t>taken > n - at:
            r.taken = FM_EPROTO if taken == FM_EPROTO else -100
            return r
        if run.len:
            if run.ptr < p + at or run.ptr + run.len > p + at + taken:
                r.taken = -101
                return r
            memcpy(out + r.payload, run.ptr, run.len)
            r.payload += run.len
        at += taken
    r.taken = at
    return r


cdef const char *chunked(const uint8_t *p, size_t n) noexcept nogil:
    # The first byte says how long the pieces are.
    cdef decoded_t one, many
    cdef int result
    if n == 0 or n > INPUT_CAP:
        return NULL
    one = decode(p + 1, n - 1, INPUT_CAP, first_room)
    many = decode(p + 1, n - 1, p[0] % 16 + 1, second_room)
    if one.taken < -99 or many.taken < -99:
        return "a step took nothing, too much, or gave bytes from elsewhere"
    if one.taken != many.taken:
        return "in pieces the end is elsewhere"
    # Of a body that is refused, more may have been given out before when it came in pieces.
    if one.taken >= 0 and one.payload != many.payload:
        return "in pieces the payload is another"
    for result in range(min(one.payload, many.payload)):
        if first_room[result] != second_room[result]:
            return "in pieces the payload is another"
    if one.taken >= 0:
        result = h1_parse_trailers(&whole, p + 1 + one.taken, n - 1 - one.taken, 0, &limits)
        if result > <int>(n - 1 - one.taken):
            return "trailers longer than what came"
    return NULL


cdef bint has_dots(const uint8_t *p, uint32_t n) noexcept nogil:
    """A segment that is "." or ".."."""
    cdef uint32_t i, begin = 1
    for i in range(1, n + 1):
        if i == n or p[i] == b'/':
            if i - begin == 1 and p[begin] == b'.' or i - begin == 2 and p[begin] == b'.' and p[begin + 1] == b'.':
                return True
            begin = i + 1
    return False


cdef const char *uri(const uint8_t *p, size_t n) noexcept nogil:
    cdef uint32_t length = 0, second = 0
    cdef int result, which
    cdef const uint8_t *normal = first_room
    if n == 0 or n > INPUT_CAP:
        return NULL
    result = uri_normalize(p, n, first_room, &length)
    if result < 0:
        return NULL
    if result == URI_SAME:
        normal, length = p, n
    if length == 0 or length > n or normal[0] != b'/':
        return "a normal form of an impossible length"
    if has_dots(normal, length):
        return "a normal form with dot segments"
    if uri_normalize(normal, length, second_room, &second) < 0:
        return "a normal form is refused"
    if second != length and second != 0:
        return "a normal form that is not normal"
    for which in range(1, URI_READINGS):
        second = uri_read_again(normal, length, which, second_room)
        if second > length or (second and (second_room[0] != b'/' or has_dots(second_room, second))):
            return "another reading with dot segments"
        if second and result != URI_AMBIGUOUS and (second != length or memcmp(second_room, normal, length)):
            return "a path that is read in two ways is not said to be"
    return NULL


cdef const char *snapshot(const uint8_t *p, size_t n) noexcept nogil:
    cdef char why[200]
    cdef void *live = live_new()
    cdef snapshot_t *s
    why[0] = 0
    s = snapshot_decode(p, n, rows, ROWS, live, why, sizeof(why))
    if s is NULL and why[0] == 0:
        return "a snapshot was refused without a reason"
    if s is not NULL:
        snapshot_put(s)
    live_free(live)
    return NULL


cdef fuzz_target_t fuzz_target(bytes name):
    if name == b"h1_request":
        return h1_request
    if name == b"h1_response":
        return h1_response
    if name == b"chunked":
        return chunked
    if name == b"uri":
        return uri
    if name == b"snapshot":
        return snapshot
    return NULL


TARGETS = ("h1_request", "h1_response", "chunked", "uri", "snapshot")


def run(str name, bytes content):
    """One input; what did not hold, or None."""
    cdef fuzz_target_t target = fuzz_target(name.encode())
    if target is NULL:
        raise KeyError(name)
    cdef const char *why = target(content, len(content))
    return None if why is NULL else why.decode()


def refusal(bytes content):
    """Why a snapshot is not taken; None when it is."""
    cdef char why[256]
    cdef void *live = live_new()
    cdef snapshot_t *s = snapshot_decode(content, len(content), rows, ROWS, live, why, sizeof(why))
    if s is not NULL:
        snapshot_put(s)
    live_free(live)
    return None if s is not NULL else why.decode()
