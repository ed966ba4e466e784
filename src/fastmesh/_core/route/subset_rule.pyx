"""See subset_rule.pxd."""
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport msg_value


cdef bint subset_word_value(const subset_word_t *w, const msg_t *m, span_t *value) noexcept nogil:
    cdef int at
    if w.header.len != 0 and m is not NULL:
        at = head_find(m, w.header.ptr, w.header.len, 0)
        # An empty value is none, as among hash keys.
        if at >= 0:
            value[0] = msg_value(m, at)
            if value[0].len != 0:
                return True
    value[0] = w.value
    return w.has_value
