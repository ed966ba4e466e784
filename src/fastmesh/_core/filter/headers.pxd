"""Header fields as filters see them."""
from fastmesh._core.http.edit cimport head_t
from fastmesh._core.http.msg cimport msg_t


cdef class View:
    """Something with a head: it says which, when it may be looked at, and when it may be changed."""
    cdef msg_t *look(self) except NULL
    cdef head_t *edit(self) except NULL


cdef class Headers:
    cdef View owner
    cdef int _add(self, head_t *h, object name, object value) except -1
    cdef int _drop(self, name) except -1
    cdef list _names(self)


cdef class OwnHead(View):
    """A head that belongs to nobody else: of an answer that a filter makes, or of trailers."""
    cdef head_t *h
    cdef bint is_open


cdef str text_of(const unsigned char *p, Py_ssize_t n)
# Raises what a refusal of http/edit means to an author. `value`: None when it is the name that was refused.
cdef int raise_edit(int rc, object name, object value) except -1
# Errors, to be raised.
cdef object not_a_name(object name)
cdef object not_a_value(object name, object value)
cdef Headers headers_of(View owner)
