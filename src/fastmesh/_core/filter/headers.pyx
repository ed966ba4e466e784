"""See headers.pxd."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeLatin1, PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.edit cimport EDIT_OWN, EDIT_REFUSED, head_add, head_drop, head_empty, head_find, head_free
from fastmesh._core.http.msg cimport FIELD_DROP, MSG_DROPS
from fastmesh._core.mem.fault cimport FM_ELIMIT
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.filter.field_map import FieldMap, fields_equal

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object s, Py_ssize_t *n) except NULL
    bint PyUnicode_Check(object o)

cimport cython


class ViewClosed(RuntimeError):
    """A view was used outside of the phases it is for. The text says which, and what to keep instead."""


class HeaderError(ValueError):
    """A header's name or value cannot be sent as it is, or is not a filter's to set."""


cdef str text_of(const unsigned char *p, Py_ssize_t n):
    try:
        # Looks for ASCII first, a word at a time.
        return PyUnicode_DecodeUTF8(<const char *>p, n, NULL)
    except UnicodeDecodeError:
        return PyUnicode_DecodeLatin1(<const char *>p, n, NULL)


cdef int raise_edit(int rc, object name, object value) except -1:
    if rc == EDIT_OWN:
        raise HeaderError(f"header {name!r} is the proxy's own: it says how this one connection carries the message. "
                          "Bodies are changed in body phases, lengths follow by themselves")
    if rc == FM_ELIMIT:
        raise HeaderError(f"header {name!r} does not fit: a head has at most 64 KiB and 264 fields")
    if rc == EDIT_REFUSED:
        if value is None or not _is_token(name):
            raise HeaderError(f"{name!r} is no header name: letters, digits and !#$%&'*+-.^_`|~ are allowed, "
                              "1024 at most")
        raise HeaderError(f"the value {value!r} of header {name!r} cannot be sent: line breaks, NUL and other control "
                          "characters are not allowed")
    return 0


cdef object not_a_name(object name):
    return TypeError(f"a header name is a str, not {type(name).__name__}")


cdef object not_a_value(object name, object value):
    return HeaderError(f"the value of header {name!r} is a {type(value).__name__}: str, bytes and numbers are allowed")


cdef bint _is_token(object name):
    if not isinstance(name, str) or not 0 < len(name) <= 1024 or not name.isascii():
        return False
    for letter in name:
        if not (letter.isalnum() or letter in "!#$%&'*+-.^_`|~"):
            return False
    return True


cdef const uint8_t *_name(object name, uint32_t *n) except NULL:
    cdef Py_ssize_t size
    cdef const char *p
    if not PyUnicode_Check(name):
        raise not_a_name(name)
    p = PyUnicode_AsUTF8AndSize(name, &size)
    n[0] = <uint32_t>size if size < 65536 else 65536
    return <const uint8_t *>p


cdef class View:
    cdef msg_t *look(self) except NULL:
        raise ViewClosed("there is nothing to look at")

    cdef head_t *edit(self) except NULL:
        raise ViewClosed("there is nothing to change")


cdef class OwnHead(View):

    def __cinit__(self):
        self.h = head_empty()
        self.is_open = True

    def __dealloc__(self):
        head_free(self.h)

    cdef msg_t *look(self) except NULL:
        return &self.h.m

    cdef head_t *edit(self) except NULL:
        return self.h


cdef Headers headers_of(View owner):
    cdef Headers made = Headers.__new__(Headers)
    made.owner = owner
    return made


@cython.freelist(32)
cdef class Headers:
    """Header fields in the order they are sent in: a dictionary whose names have no case, and may stand several
    times.

    Values are `str`, decoded as Latin-1 outside of ASCII only when they are not UTF-8; `raw` gives the bytes.
    Reading decodes what is read and nothing else.
    """

    def __init__(self, fields=()):
        self.owner = OwnHead()
        for name, value in (fields.items() if hasattr(fields, "items") else fields):
            self.add(name, value)

    cdef int _add(self, head_t *h, object name, object value) except -1:
        cdef uint32_t n
        cdef const uint8_t *p = _name(name, &n)
        cdef Py_ssize_t size
        cdef const char *v
        cdef bytes kept
        if PyUnicode_Check(value):
            v = PyUnicode_AsUTF8AndSize(value, &size)
        elif isinstance(value, bytes):
            v = PyBytes_AS_STRING(value)
            size = PyBytes_GET_SIZE(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            kept = str(value).encode()
            v = PyBytes_AS_STRING(kept)
            size = PyBytes_GET_SIZE(kept)
        else:
            raise not_a_value(name, value)
        if size > 65535:
            raise_edit(FM_ELIMIT, name, value)
        return raise_edit(head_add(h, p, n, span_of(<const uint8_t *>v, <uint32_t>size)), name, value)

    def __getitem__(self, name):
        """The first value of the name. Raises KeyError when there is none."""
        cdef uint32_t n
        cdef const uint8_t *p = _name(name, &n)
        cdef msg_t *m = self.owner.look()
        cdef int i = head_find(m, p, n, 0)
        if i < 0:
            raise KeyError(name)
        return text_of(m.base + m.fields[i].value_off, m.fields[i].value_len)

    def get(self, name, default=None):
        """The first value of the name; `default` when there is none."""
        cdef uint32_t n
        cdef const uint8_t *p = _name(name, &n)
        cdef msg_t *m = self.owner.look()
        cdef int i = head_find(m, p, n, 0)
        if i < 0:
            return default
        return text_of(m.base + m.fields[i].value_off, m.fields[i].value_len)

    def get_all(self, name):
        """Every value of the name, in order; an empty list when there is none."""
        cdef uint32_t n
        cdef const uint8_t *p = _name(name, &n)
        cdef msg_t *m = self.owner.look()
        cdef int i = head_find(m, p, n, 0)
        cdef list found = []
        while i >= 0:
            found.append(text_of(m.base + m.fields[i].value_off, m.fields[i].value_len))
            i = head_find(m, p, n, i + 1)
        return found

    def raw(self, name):
        """The first value as it came, undecoded."""
        cdef uint32_t n
        cdef const uint8_t *p = _name(name, &n)
        cdef msg_t *m = self.owner.look()
        cdef int i = head_find(m, p, n, 0)
        if i < 0:
            return None
        return (<const char *>m.base + m.fields[i].value_off)[:m.fields[i].value_len]

    def raw_all(self, name):
        """Every value of the name as it came, undecoded and in order; an empty list when there is none."""
        cdef uint32_t n
        cdef const uint8_t *p = _name(name, &n)
        cdef msg_t *m = self.owner.look()
        cdef int i = head_find(m, p, n, 0)
        cdef list found = []
        while i >= 0:
            found.append((<const char *>m.base + m.fields[i].value_off)[:m.fields[i].value_len])
            i = head_find(m, p, n, i + 1)
        return found

    def __setitem__(self, name, value):
        """One field of that name from now on, behind all others. Raises HeaderError."""
        cdef uint32_t n
        cdef const uint8_t *p = _name(name, &n)
        cdef head_t *h = self.owner.edit()
        cdef int before = h.m.n_fields
        cdef int i
        # The new one first: a value that is refused leaves everything as it was.
        self._add(h, name, value)
        i = head_find(&h.m, p, n, 0)
        while 0 <= i < before:
            h.m.fields[i].bits |= FIELD_DROP
            h.m.bits |= MSG_DROPS
            i = head_find(&h.m, p, n, i + 1)
        if h.m.fields[before].id != 0:
            h.m.at[h.m.fields[before].id] = <short>before

    def add(self, name, value):
        """One more field, whatever there is of that name. Raises HeaderError."""
        self._add(self.owner.edit(), name, value)

    def __delitem__(self, name):
        """Take every field of that name away. Raises KeyError when there is none."""
        if self._drop(name) == 0:
            raise KeyError(name)

    def discard(self, name):
        """Take every field of that name away; it need not be there."""
        self._drop(name)

    cdef int _drop(self, name) except -1:
        cdef uint32_t n
        cdef const uint8_t *p = _name(name, &n)
        cdef int found = head_drop(self.owner.edit(), p, n)
        if found < 0:
            raise_edit(found, name, None)
        return found

    def __contains__(self, name):
        """There is a field of that name."""
        cdef uint32_t n
        cdef const uint8_t *p
        if not PyUnicode_Check(name):
            return False
        p = _name(name, &n)
        return head_find(self.owner.look(), p, n, 0) >= 0

    def __iter__(self):
        """Each name once, in lower case, in the order of the fields."""
        # A list of its own: whoever changes headers while iterating sees the names that there were.
        return iter(self._names())

    cdef list _names(self):
        cdef msg_t *m = self.owner.look()
        cdef int i
        cdef list names = []
        cdef set seen = set()
        for i in range(m.n_fields):
            if m.fields[i].bits & FIELD_DROP:
                continue
            name = text_of(m.base + m.fields[i].name_off, m.fields[i].name_len).lower()
            if name not in seen:
                seen.add(name)
                names.append(name)
        return names

    def __len__(self):
        """How many different names there are."""
        return len(self._names())

    def fields(self):
        """Names as they were written, and values, each field by itself."""
        cdef msg_t *m = self.owner.look()
        cdef int i
        cdef list found = []
        for i in range(m.n_fields):
            if not m.fields[i].bits & FIELD_DROP:
                found.append((text_of(m.base + m.fields[i].name_off, m.fields[i].name_len),
                              text_of(m.base + m.fields[i].value_off, m.fields[i].value_len)))
        return found

    def keys(self):
        """list[str]. Each name once, in lower case, in the order of the fields."""
        return self._names()

    copy = FieldMap.copy
    values = FieldMap.values
    items = FieldMap.items
    setdefault = FieldMap.setdefault
    pop = FieldMap.pop
    popitem = FieldMap.popitem
    clear = FieldMap.clear
    update = FieldMap.update

    def __eq__(self, other):
        return fields_equal(self, other, isinstance(other, Headers))

    def __repr__(self):
        try:
            return f"Headers({self.fields()!r})"
        except ViewClosed:
            return "<Headers, closed>"


def cookies_of(headers):
    """By name; of one that stands there twice the first, as most servers have it."""
    cdef dict found = {}
    for line in headers.get_all("cookie"):
        for part in line.split(";"):
            name, equals, value = part.strip(" \t").partition("=")
            if equals and name not in found:
                found[name] = value.strip('"') if value.startswith('"') else value
    return found
