"""Reading a snapshot value by value, with the place of each kept for the refusal."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from fastmesh._core.mem.arena cimport arena_text
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.snapshot.unpack cimport (
    UNPACK_TRUNCATED, unpack_array, unpack_bool, unpack_bytes, unpack_int, unpack_kind, unpack_uint)

cdef enum:
    TEXT = 160                # room for one sentence


cdef void take_enter(take_t *t, const char *name) noexcept nogil:
    t.places[t.depth].name = name
    t.places[t.depth].index = -1
    t.depth += 1


cdef void take_leave(take_t *t) noexcept nogil:
    t.depth -= 1


cdef bint take_refuse(take_t *t, const char *name, const char *text) noexcept nogil:
    cdef uint32_t at = 0
    cdef uint32_t i
    cdef int n
    if t.why_cap == 0:
        return False
    t.why[0] = 0
    for i in range(t.depth):
        if t.places[i].index >= 0:
            n = snprintf(t.why + at, t.why_cap - at, b"%s%s[%lld]", b"." if i else b"", t.places[i].name,
                         <long long>t.places[i].index)
        else:
            n = snprintf(t.why + at, t.why_cap - at, b"%s%s", b"." if i else b"", t.places[i].name)
        if n < 0 or at + n >= t.why_cap:
            return False
        at += n
    if name is not NULL:
        n = snprintf(t.why + at, t.why_cap - at, b"%s%s", b"." if at else b"", name)
        if n < 0 or at + n >= t.why_cap:
            return False
        at += n
    snprintf(t.why + at, t.why_cap - at, b"%s%s", b": " if at else b"", text)
    return False


cdef bint refuse_kind(take_t *t, const char *name, int code, const char *wanted) noexcept nogil:
    cdef char text[TEXT]
    if code == UNPACK_TRUNCATED:
        return take_refuse(t, name, b"the data ends here")
    snprintf(text, TEXT, b"found %s, must be %s", unpack_kind(&t.u), wanted)
    return take_refuse(t, name, text)


cdef bint take_uint(take_t *t, const char *name, uint64_t least, uint64_t most, uint64_t *v) noexcept nogil:
    cdef char text[TEXT]
    cdef int code = unpack_uint(&t.u, v)
    if code != FM_OK:
        return refuse_kind(t, name, code, b"a number")
    if v[0] < least:
        snprintf(text, TEXT, b"found %llu, must be at least %llu", <unsigned long long>v[0], <unsigned long long>least)
        return take_refuse(t, name, text)
    if v[0] > most:
        snprintf(text, TEXT, b"found %llu, must be at most %llu", <unsigned long long>v[0], <unsigned long long>most)
        return take_refuse(t, name, text)
    return True


cdef bint take_u32(take_t *t, const char *name, uint32_t least, uint32_t most, uint32_t *v) noexcept nogil:
    cdef uint64_t wide = 0
    if not take_uint(t, name, least, most, &wide):
        return False
    v[0] = <uint32_t>wide
    return True


cdef bint take_u8(take_t *t, const char *name, uint8_t most, uint8_t *v) noexcept nogil:
    cdef uint64_t wide = 0
    if not take_uint(t, name, 0, most, &wide):
        return False
    v[0] = <uint8_t>wide
    return True


cdef bint take_bool(take_t *t, const char *name, uint8_t *v) noexcept nogil:
    cdef int code = unpack_bool(&t.u, v)
    return True if code == FM_OK else refuse_kind(t, name, code, b"a boolean")


cdef bint take_duration(take_t *t, const char *name, uint64_t *v) noexcept nogil:
    # Up to 36 years, so that "now + duration" never overflows.
    return take_uint(t, name, 0, <uint64_t>1 << 60, v)


cdef bint take_index(take_t *t, const char *name, int64_t *v) noexcept nogil:
    cdef char text[TEXT]
    cdef int code = unpack_int(&t.u, v)
    if code != FM_OK:
        return refuse_kind(t, name, code, b"a number")
    if v[0] < -1:
        snprintf(text, TEXT, b"found %lld, must be at least -1", <long long>v[0])
        return take_refuse(t, name, text)
    return True


cdef bint take_place(take_t *t, const char *name, int32_t *v) noexcept nogil:
    cdef int64_t index = -1
    if not take_index(t, name, &index):
        return False
    v[0] = <int32_t>(index if index < 0x7FFFFFFF else 0x7FFFFFFF)
    return True


cdef bint take_int(take_t *t, const char *name, int64_t *v) noexcept nogil:
    cdef int code = unpack_int(&t.u, v)
    return True if code == FM_OK else refuse_kind(t, name, code, b"a number")


cdef bint take_entry(take_t *t, const char *name, uint32_t n, const char *nouns, uint32_t *place) noexcept nogil:
    cdef char text[TEXT]
    if not take_u32(t, name, 0, 0xFFFFFFFF, place):
        return False
    if place[0] >= n:
        snprintf(text, TEXT, b"found %u, but there are %u %s", place[0], n, nouns)
        return take_refuse(t, name, text)
    return True


cdef bint take_bytes(take_t *t, const char *name, uint32_t least, uint32_t most, span_t *s) noexcept nogil:
    if not take_borrowed(t, name, least, most, s):
        return False
    s.ptr = arena_text(t.arena, s.ptr, s.len)
    return True


cdef bint take_borrowed(take_t *t, const char *name, uint32_t least, uint32_t most, span_t *s) noexcept nogil:
    cdef char text[TEXT]
    cdef int code = unpack_bytes(&t.u, s)
    if code != FM_OK:
        return refuse_kind(t, name, code, b"a string or bytes")
    if s.len < least:
        snprintf(text, TEXT, b"found %u bytes, must be at least %u", s.len, least)
        return take_refuse(t, name, text)
    if s.len > most:
        snprintf(text, TEXT, b"found %u bytes, must be at most %u", s.len, most)
        return take_refuse(t, name, text)
    return True


cdef bint take_text(take_t *t, const char *name, uint32_t least, uint32_t most, span_t *s) noexcept nogil:
    cdef char text[TEXT]
    cdef uint32_t i
    if not take_bytes(t, name, least, most, s):
        return False
    for i in range(s.len):
        if (s.ptr[i] < 32 and s.ptr[i] != 9) or s.ptr[i] == 127:
            snprintf(text, TEXT, b"found the control character 0x%02x, which is not allowed", <unsigned int>s.ptr[i])
            return take_refuse(t, name, text)
    return True


cdef inline bint is_token(uint8_t c, bint is_lower) noexcept nogil:
    if 97 <= c <= 122 or 48 <= c <= 57:
        return True
    if 65 <= c <= 90:
        return not is_lower
    return (c == 33 or 35 <= c <= 39 or c == 42 or c == 43 or c == 45 or c == 46 or 94 <= c <= 96 or c == 124 or
            c == 126)


cdef bint take_token(take_t *t, const char *name, bint is_lower, span_t *s) noexcept nogil:
    cdef uint32_t i
    if not take_bytes(t, name, 1, 1024, s):
        return False
    for i in range(s.len):
        if not is_token(s.ptr[i], is_lower):
            return take_refuse(t, name, b"must be a token in lower case" if is_lower else b"must be a token")
    return True


cdef bint take_record(take_t *t, const char *name, uint32_t n) noexcept nogil:
    cdef char text[TEXT]
    cdef uint32_t count = 0
    cdef int code = unpack_array(&t.u, &count)
    if code != FM_OK:
        return refuse_kind(t, name, code, b"an array")
    if count != n:
        snprintf(text, TEXT, b"found an array of %u, must be of %u", count, n)
        return take_refuse(t, name, text)
    return True


cdef bint take_list(take_t *t, const char *name, uint32_t bytes_each, uint32_t most, uint32_t *n) noexcept nogil:
    cdef char text[TEXT]
    cdef int code = unpack_array(&t.u, n)
    if code != FM_OK:
        return refuse_kind(t, name, code, b"an array")
    if n[0] > most:
        snprintf(text, TEXT, b"found an array of %u, must be of at most %u", n[0], most)
        return take_refuse(t, name, text)
    # Before anybody allocates for it: a short text cannot make a large table.
    if <uint64_t>n[0] * bytes_each > <uint64_t>(t.u.end - t.u.p):
        return take_refuse(t, name, b"the data ends before the array does")
    return True


cdef bint take_texts(take_t *t, const char *name, uint32_t n, uint32_t least, uint32_t most, span_t *s) noexcept nogil:
    cdef uint32_t i
    take_enter(t, name)
    for i in range(n):
        take_at(t, i)
        if not take_text(t, NULL, least, most, &s[i]):
            return False
    take_leave(t)
    return True


cdef bint take_tokens(take_t *t, const char *name, uint32_t n, span_t *s) noexcept nogil:
    cdef uint32_t i
    take_enter(t, name)
    for i in range(n):
        take_at(t, i)
        if not take_token(t, NULL, True, &s[i]):
            return False
    take_leave(t)
    return True
