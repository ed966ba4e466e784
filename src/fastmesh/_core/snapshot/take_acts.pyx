"""See take_acts.pxd."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from fastmesh._core.mem.arena cimport arena_alloc, arena_array, arena_t
from fastmesh._core.route.acts cimport (
    CHANGE_NONE, CHANGE_PARTS, CHANGE_WHOLE, EDIT_ADD, EDIT_REMOVE, acts_t, change_t, edit_t, edits_t, piece_t)
from fastmesh._core.route.capture cimport CAPTURE_PARTS_MAX, capture_part_t, capture_piece_t
from fastmesh._core.route.route_table cimport ROUTE_HOST_MAX
from fastmesh._core.snapshot.take cimport (
    take_at, take_bool, take_bytes, take_enter, take_leave, take_list, take_place, take_record, take_refuse, take_t,
    take_text, take_token, take_u8, take_u32)
from fastmesh._core.snapshot.unpack cimport unpack_nil

cdef enum:
    PATH_MAX = 8192
    U32_MAX = 0xFFFFFFFF
    VALUE_MAX = 16384
    EDITS_MAX = 192           # three lists of 64
    PIECES_MAX = 4096
    FIELD_MAX = 29            # LOG_CLIENT of proxy/access_log
    FIELD_REQUEST_HEADER = 12
    FIELD_REQUEST_ID = 20


cdef bint take_part_pieces(take_t *t, arena_t *arena, change_t *c) noexcept nogil:
    cdef uint32_t i
    if not take_list(t, b"pieces", 3, PIECES_MAX, &c.n_pieces):
        return False
    c.pieces = <capture_piece_t *>arena_array(arena, c.n_pieces, sizeof(capture_piece_t))
    take_enter(t, b"pieces")
    for i in range(c.n_pieces):
        take_at(t, i)
        if not (take_record(t, NULL, 2) and take_place(t, b"part", &c.pieces[i].part) and
                take_text(t, b"text", 0, PATH_MAX, &c.pieces[i].text)):
            return False
        if c.pieces[i].part >= <int32_t>c.n_parts:
            return take_refuse(t, b"part", b"must be the place of a part")
    take_leave(t)
    return True


cdef bint take_parts(take_t *t, arena_t *arena, const pattern_t *patterns, uint32_t n_patterns,
                     change_t *c) noexcept nogil:
    cdef uint32_t part = 0
    cdef uint32_t rest = 0
    cdef uint32_t i
    if not take_list(t, b"parts", 3, CAPTURE_PARTS_MAX, &c.n_parts):
        return False
    c.parts = <capture_part_t *>arena_array(arena, c.n_parts, sizeof(capture_part_t))
    take_enter(t, b"parts")
    for i in range(c.n_parts):
        take_at(t, i)
        if not (take_record(t, NULL, 2) and take_u32(t, b"part", 0, U32_MAX, &part) and
                take_u32(t, b"rest", 0, U32_MAX, &rest)):
            return False
        if part >= n_patterns or rest >= n_patterns:
            return take_refuse(t, NULL, b"must be places of patterns")
        c.parts[i].part = &patterns[part]
        c.parts[i].rest = &patterns[rest]
    take_leave(t)
    return True


cdef bint take_change(take_t *t, arena_t *arena, const pattern_t *patterns, uint32_t n_patterns,
                      change_t *c) noexcept nogil:
    if not take_record(t, b"change", 5):
        return False
    take_enter(t, b"change")
    if not (take_u8(t, b"kind", CHANGE_PARTS, &c.kind) and take_text(t, b"text", 0, PATH_MAX, &c.text) and
            take_u32(t, b"cut", 0, PATH_MAX, &c.cut) and take_parts(t, arena, patterns, n_patterns, c) and
            take_part_pieces(t, arena, c)):
        return False
    if c.text.len != 0 and c.text.ptr[0] != 47:
        return take_refuse(t, b"text", b"must begin with \"/\"")
    if c.text.len == 0 and c.kind == CHANGE_WHOLE:
        return take_refuse(t, b"text", b"must not be empty")
    take_leave(t)
    return True


cdef bint take_pieces(take_t *t, arena_t *arena, const char *name, uint32_t most, bint has_lines, piece_t **pieces,
                      uint32_t *count) noexcept nogil:
    cdef piece_t *piece
    cdef uint32_t i
    if not take_list(t, name, 3, PIECES_MAX, count):
        return False
    pieces[0] = <piece_t *>arena_array(arena, count[0], sizeof(piece_t))
    take_enter(t, name)
    for i in range(count[0]):
        take_at(t, i)
        piece = &pieces[0][i]
        if not (take_record(t, NULL, 2) and take_u8(t, b"field", FIELD_MAX, &piece.field)):
            return False
        if piece.field == FIELD_REQUEST_HEADER:
            if not take_token(t, b"text", True, &piece.text):
                return False
        elif has_lines:
            if not take_bytes(t, b"text", 0, most, &piece.text):
                return False
        elif not take_text(t, b"text", 0, most, &piece.text):
            return False
    take_leave(t)
    return True


cdef bint _take_value(take_t *t, arena_t *arena, edit_t *e, bint *has_id) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_pieces(t, arena, b"pieces", VALUE_MAX, False, &e.pieces, &n):
        return False
    e.n = <uint16_t>n
    for i in range(n):
        has_id[0] |= e.pieces[i].field == FIELD_REQUEST_ID
    return True


cdef bint take_edits(take_t *t, arena_t *arena, const char *name, edits_t *list_) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t i
    cdef edit_t *e
    if not take_list(t, name, 4, EDITS_MAX, &n):
        return False
    list_.edits = <edit_t *>arena_array(arena, n, sizeof(edit_t))
    list_.n = <uint16_t>n
    take_enter(t, name)
    for i in range(n):
        take_at(t, i)
        e = &list_.edits[i]
        if not (take_record(t, NULL, 3) and take_u8(t, b"op", EDIT_ADD, &e.op) and
                take_token(t, b"name", True, &e.name) and _take_value(t, arena, e, &list_.has_id)):
            return False
        if e.op == EDIT_REMOVE and e.n != 0:
            return take_refuse(t, b"pieces", b"must be empty, as it is removed")
    take_leave(t)
    return True


cdef bint take_redirect(take_t *t, arena_t *arena, const pattern_t *patterns, uint32_t n_patterns,
                        acts_t *a) noexcept nogil:
    cdef uint32_t status = 0
    cdef uint32_t port = 0
    cdef uint8_t strips = 0
    if unpack_nil(&t.u):
        return True
    a.is_redirect = True
    if not take_record(t, b"redirect", 6):
        return False
    take_enter(t, b"redirect")
    if not (take_u32(t, b"status", 301, 308, &status) and take_text(t, b"scheme", 0, 8, &a.scheme) and
            take_text(t, b"host", 0, ROUTE_HOST_MAX, &a.place) and take_u32(t, b"port", 0, 65535, &port) and
            take_change(t, arena, patterns, n_patterns, &a.change) and take_bool(t, b"strip_query", &strips)):
        return False
    a.port = <uint16_t>port
    a.strips_query = strips
    take_leave(t)
    return True


cdef bint take_acts(take_t *t, arena_t *arena, const pattern_t *patterns, uint32_t n_patterns,
                    const acts_t **acts) noexcept nogil:
    cdef acts_t *a
    cdef change_t change
    acts[0] = NULL
    if unpack_nil(&t.u):
        return True
    a = <acts_t *>arena_alloc(arena, sizeof(acts_t))
    if not take_record(t, b"acts", 5):
        return False
    take_enter(t, b"acts")
    if not (take_redirect(t, arena, patterns, n_patterns, a) and take_text(t, b"host", 0, ROUTE_HOST_MAX, &a.host) and
            take_change(t, arena, patterns, n_patterns, &change)):
        return False
    if a.is_redirect and (change.kind != CHANGE_NONE or a.host.len != 0):
        return take_refuse(t, b"change", b"must change nothing, as there is a redirect")
    if not a.is_redirect:
        a.change = change
    if not (take_edits(t, arena, b"request_edits", &a.request) and
            take_edits(t, arena, b"response_edits", &a.response)):
        return False
    take_leave(t)
    acts[0] = a
    return True
