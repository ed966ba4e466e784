"""See capture.pxd."""
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.route.pattern cimport PATTERN_DEAD, PATTERN_NO, PATTERN_START, pattern_t

cdef enum:
    PATH_MAX = 65535

# Bit i of marks[p]: part i and all that follow take the path from byte p on. One thread, and nothing outlives the call.
cdef uint32_t marks[PATH_MAX + 1]


cdef void mark(const pattern_t *p, span_t path, uint32_t bit) noexcept nogil:
    cdef uint32_t state = PATTERN_START
    cdef uint32_t at = path.len
    while True:
        if p.flags[state] != PATTERN_NO:
            marks[at] |= bit
        if at == 0:
            return
        at -= 1
        state = p.table[state * p.n_classes + p.classes[path.ptr[at]]]
        if state == PATTERN_DEAD:
            return


cdef int32_t longest(const pattern_t *p, span_t path, uint32_t start, uint32_t bit) noexcept nogil:
    """Where the longest text of the part ends that leaves room for the rest; -1 for none."""
    cdef uint32_t state = PATTERN_START
    cdef uint32_t at = start
    cdef int32_t found = -1
    while True:
        if p.flags[state] != PATTERN_NO and marks[at] & bit:
            found = <int32_t>at
        if at == path.len:
            return found
        state = p.table[state * p.n_classes + p.classes[path.ptr[at]]]
        if state == PATTERN_DEAD:
            return found
        at += 1


cdef int32_t capture_replace(const capture_part_t *parts, uint32_t n_parts, const capture_piece_t *pieces,
                             uint32_t n_pieces, span_t path, uint8_t *to, uint32_t cap) noexcept nogil:
    cdef span_t found[CAPTURE_PARTS_MAX]
    cdef span_t piece
    cdef uint32_t at = 0
    cdef uint32_t n = 0
    cdef uint32_t i
    cdef int32_t end
    if path.len > PATH_MAX or n_parts > CAPTURE_PARTS_MAX:
        return -1
    memset(marks, 0, (path.len + 1) * sizeof(uint32_t))
    for i in range(n_parts):
        mark(parts[i].rest, path, <uint32_t>1 << i)
    marks[path.len] |= <uint32_t>1 << n_parts
    for i in range(n_parts):
        end = longest(parts[i].part, path, at, <uint32_t>1 << (i + 1))
        if end < 0:
            return -1
        found[i] = span_of(path.ptr + at, <uint32_t>end - at)
        at = <uint32_t>end
    if at != path.len:
        return -1
    for i in range(n_pieces):
        piece = pieces[i].text if pieces[i].part < 0 else found[pieces[i].part]
        # What stood for the rest of a path begins with its slash.
        if n > 0 and to[n - 1] == c'/' and piece.len > 0 and piece.ptr[0] == c'/':
            piece = span_of(piece.ptr + 1, piece.len - 1)
        if piece.len > cap - n:
            return -1
        if piece.len > 0:
            memcpy(to + n, piece.ptr, piece.len)
        n += piece.len
    return <int32_t>n
