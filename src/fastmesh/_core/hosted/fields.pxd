"""Header fields as isolated filters see them."""
from libc.stdint cimport uint32_t
from fastmesh._core.hosted.heard cimport heard_t


cdef class Owner:
    """Whose header fields they are: it says when they may be looked at, and writes down what is changed."""
    # Raises ViewClosed.
    cdef int look(self) except -1
    cdef int change(self, int which, object name, object value) except -1


cdef class Headers:
    cdef Owner owner          # None: an answer's that a filter makes, or nobody's
    cdef bytes message        # that `came` points into
    cdef heard_t came         # the fields as they came, names and values in turn; while `pairs` is None
    cdef uint32_t n_raw       # of both
    cdef list late            # what was put behind them: (which, name, value); None
    cdef list pairs           # (name in lower case, name, value)
    cdef Py_ssize_t size      # of them all, as they are sent; -1: not counted yet
    cdef Py_ssize_t count     # likewise
    cdef int _look(self) except -1
    cdef object _seek(self, object name)
    cdef list _all(self)
    cdef list _found(self, object name)
    cdef int _spread(self) except -1
    cdef int _put(self, int which, object name, object value) except -1
    cdef object _checked(self, object name, object value)
    cdef int _make_room(self, object name, Py_ssize_t more) except -1
    cdef int _measure(self) except -1
    cdef int _tell(self, int which, object name, object value) except -1
    cdef int _add(self, int which, object name, object value) except -1
    cdef bint _drop(self, object name) except -1


# Of a message, of which the array of names and values is next, and is read. Raises ValueError.
cdef Headers headers_heard(Owner owner, bytes message, heard_t *h)
# Of names and values in turn.
cdef Headers headers_flat(Owner owner, object flat)
cdef str text_of(object value)
