"""Header fields in a filter host: as they came, until more is asked for than a value of a name.

They lie in the worker's message, undecoded. A filter that reads two of them and sets one makes an object of each value
that it reads, and of nothing else. What is changed is written down by their owner, for the worker.
"""
import re
from collections.abc import Mapping

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.hosted.heard cimport heard_array, heard_skip, heard_t, heard_text, heard_value
from fastmesh._core.filter.headers cimport not_a_name, not_a_value, raise_edit
from fastmesh._core.http.edit cimport EDIT_OWN, EDIT_REFUSED
from fastmesh._core.mem.fault cimport FM_ELIMIT
from fastmesh._core.filter.field_map import FieldMap, fields_equal
from fastmesh._core.filter.headers import ViewClosed

cimport cython

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object s)
    Py_ssize_t PyUnicode_GET_LENGTH(object s)
    const uint8_t *PyUnicode_1BYTE_DATA(object s)

cdef enum:
    # As in fastmesh.filters.protocol.
    SET = 0
    ADD = 1
    DISCARD = 2
    FIELDS_MOST = 256
    BYTES_MOST = 64512
    VALUE_MOST = 65535
    KNOWN_MOST = 1000
    LATE_MOST = 8             # fields that are put behind those that came, before all are looked at

cdef object NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,1024}", re.ASCII)
cdef object UNFIT = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
cdef frozenset OWN = frozenset(("connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade",
                                "keep-alive", "proxy-connection", "http2-settings"))
cdef set known = set()        # names that filters have set, and that were found to be in order


cdef str text_of(object value):
    """As UTF-8, or else as Latin-1."""
    if isinstance(value, str):
        return value
    try:
        return (<bytes>value).decode()
    except UnicodeDecodeError:
        return (<bytes>value).decode("latin-1")


cdef inline uint8_t _low(uint8_t c) noexcept nogil:
    return c + 32 if 65 <= c <= 90 else c


cdef bint _is_same(const uint8_t *a, const uint8_t *b, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if a[i] != b[i] and _low(a[i]) != _low(b[i]):
            return False
    return True


cdef bint _is_plain(object value) noexcept:
    """ASCII, and nothing that cannot be printed."""
    cdef const uint8_t *p
    cdef Py_ssize_t i
    if type(value) is not str or not PyUnicode_IS_COMPACT_ASCII(value):
        return False
    p = PyUnicode_1BYTE_DATA(value)
    for i in range(PyUnicode_GET_LENGTH(value)):
        if not 32 <= p[i] <= 126:
            return False
    return True


cdef int _check_name(object name) except -1:
    if type(name) is not str:
        raise not_a_name(name)
    if not NAME.fullmatch(name):
        raise_edit(EDIT_REFUSED, name, None)
    if name.lower() in OWN:
        raise_edit(EDIT_OWN, name, None)
    return 0


cdef class Owner:
    cdef int look(self) except -1:
        return 0

    cdef int change(self, int which, object name, object value) except -1:
        return 0


cdef Headers headers_heard(Owner owner, bytes message, heard_t *h):
    cdef Headers made = Headers.__new__(Headers)
    made.owner = owner
    made.message = message
    made.n_raw = heard_array(h)
    made.came = h[0]
    made.pairs = None
    made.size = -1
    if made.n_raw % 2:
        raise ValueError("a header name without a value")
    for _ in range(made.n_raw):
        heard_skip(h)
    if h.is_wrong:
        raise ValueError("header fields that are cut")
    return made


cdef Headers headers_flat(Owner owner, object flat):
    cdef Headers made = Headers.__new__(Headers)
    pairs = iter(flat)
    made.owner = owner
    made.pairs = [(name.lower(), name, value) for name, value in zip(pairs, pairs, strict=True)]
    return made


@cython.freelist(32)
cdef class Headers:
    """Header fields in the order they are sent in: a dictionary whose names have no case, and may stand several
    times."""

    def __cinit__(self):
        self.size = -1

    def __init__(self, fields=()):
        self.pairs = []
        for name, value in (fields.items() if isinstance(fields, Mapping) else fields):
            self.add(name, value)

    @staticmethod
    def of(flat):
        """Of names and values in turn, as they travel."""
        return headers_flat(None, flat)

    def flat(self):
        """Names and values in turn."""
        self._spread()
        return [part for _, name, value in self.pairs for part in (name, value)]

    # --- as they came ---

    cdef int _look(self) except -1:
        return self.owner.look() if self.owner is not None else 0

    cdef object _seek(self, object name):
        """The first value of a name, as text; None."""
        cdef heard_t h = self.came
        cdef uint32_t n = <uint32_t>PyUnicode_GET_LENGTH(name)
        cdef uint32_t size = 0
        cdef bint is_bytes = False
        cdef bint is_it
        cdef const uint8_t *wanted
        cdef const uint8_t *at
        if not PyUnicode_IS_COMPACT_ASCII(name):
            return None
        wanted = PyUnicode_1BYTE_DATA(name)
        for _ in range(self.n_raw // 2):
            at = heard_text(&h, &size, &is_bytes)
            is_it = at is not NULL and size == n and _is_same(at, wanted, n)
            at = heard_text(&h, &size, &is_bytes)
            if at is NULL:
                raise ValueError("header fields that are none")
            if is_it:
                if not is_bytes:
                    return PyUnicode_DecodeUTF8(<const char *>at, size, NULL)
                return text_of(PyBytes_FromStringAndSize(<const char *>at, size))
        return None

    cdef int _spread(self) except -1:
        """From now on each field is an object."""
        cdef heard_t h = self.came
        cdef list made
        if self.pairs is not None:
            return 0
        made = []
        for _ in range(self.n_raw // 2):
            name = heard_value(&h)
            made.append(((<str?>name).lower(), name, heard_value(&h)))
        self.pairs = made
        late, self.late = self.late, None
        self.message = None
        if late is not None:
            for which, name, value in late:
                self._put(which, name, value)
        return 0

    # --- what is there ---

    cdef list _all(self):
        self._look()
        self._spread()
        return self.pairs

    cdef list _found(self, object name):
        if type(name) is not str:
            raise not_a_name(name)
        lower = name.lower()
        return [value for known_as, _, value in self._all() if known_as == lower]

    def __getitem__(self, name):
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def get(self, name, default=None):
        if type(name) is not str:
            raise not_a_name(name)
        self._look()
        if self.pairs is None:
            if self.late is None:
                found = self._seek(name)
                return default if found is None else found
            self._spread()
        lower = name.lower()
        for known_as, _, value in self.pairs:
            if known_as == lower:
                return text_of(value)
        return default

    def get_all(self, name):
        """Every value of the name, in order; an empty list when there is none."""
        return [text_of(value) for value in self._found(name)]

    def raw(self, name):
        """The first value as it came, undecoded."""
        found = self._found(name)
        return None if not found else found[0] if isinstance(found[0], bytes) else found[0].encode()

    def raw_all(self, name):
        """Every value as it came, undecoded."""
        return [value if isinstance(value, bytes) else value.encode() for value in self._found(name)]

    def __contains__(self, name):
        return type(name) is str and self.get(name) is not None

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.keys())

    def keys(self):
        return list(dict.fromkeys([lower for lower, _, _ in self._all()]))

    def fields(self):
        """Names as they were written, and values, each field by itself."""
        return [(name, text_of(value)) for _, name, value in self._all()]

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

    # --- what changes ---

    cdef object _checked(self, object name, object value):
        """The value as it will be sent. Raises HeaderError."""
        if type(name) is str and name in known and _is_plain(value):
            fit = (<str>value).strip(" ")
            self._make_room(name, PyUnicode_GET_LENGTH(fit))
            return fit
        if isinstance(value, str):
            raw = value.encode()
        elif isinstance(value, bytes):
            raw = bytes(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            raw = str(value).encode()
        else:
            raise not_a_value(name, value)
        if len(raw) > VALUE_MOST:
            raise_edit(FM_ELIMIT, name, None)
        _check_name(name)
        if UNFIT.search(raw):
            raise_edit(EDIT_REFUSED, name, value)
        raw = raw.strip(b" \t")
        self._make_room(name, len(raw))
        if len(known) < KNOWN_MOST:
            known.add(name)
        return raw.decode() if raw.isascii() else raw

    cdef int _measure(self) except -1:
        """Counts them, as they are sent."""
        cdef heard_t h = self.came
        cdef uint32_t n = 0
        cdef bint is_bytes = False
        self.size = 0
        if self.pairs is None:
            for _ in range(self.n_raw):
                heard_text(&h, &n, &is_bytes)
                self.size += n + 2
            self.count = self.n_raw // 2
        else:
            for _, name, value in self.pairs:
                self.size += len(name) + len(value) + 4
            self.count = len(self.pairs)
        return 0

    cdef int _make_room(self, object name, Py_ssize_t more) except -1:
        if self.size < 0:
            self._measure()
        if self.count >= FIELDS_MOST or self.size + len(name) + more + 4 > BYTES_MOST:
            raise_edit(FM_ELIMIT, name, None)
        return 0

    cdef int _tell(self, int which, object name, object value) except -1:
        return self.owner.change(which, name, value) if self.owner is not None else 0

    cdef int _put(self, int which, object name, object value) except -1:
        """One field more, behind all others; SET: and none else of that name."""
        if self.pairs is None:
            if self.late is None:
                self.late = []
            if len(self.late) < LATE_MOST:
                self.late.append((which, name, value))
                self.count += 1
                return 0
            self._spread()
        lower = (<str>name).lower()
        if which == SET:
            self.pairs = [field for field in self.pairs if field[0] != lower]
        self.pairs.append((lower, name, value))
        self.count = len(self.pairs)
        return 0

    cdef int _add(self, int which, object name, object value) except -1:
        fit = self._checked(name, value)
        self._tell(which, name, fit)
        self._put(which, name, fit)
        self.size += len(name) + len(fit) + 4
        return 0

    def __setitem__(self, name, value):
        """One field of that name from now on, behind all others. Raises HeaderError."""
        self._add(SET, name, value)

    def add(self, name, value):
        """One more field, whatever there is of that name. Raises HeaderError."""
        self._add(ADD, name, value)

    def __delitem__(self, name):
        if not self._drop(name):
            raise KeyError(name)

    def discard(self, name):
        """Take every field of that name away; it need not be there."""
        self._drop(name)

    cdef bint _drop(self, object name) except -1:
        cdef Py_ssize_t before
        _check_name(name)
        # Also where it is not seen here: a header that the filter does not declare among its `needs` may be there.
        self._tell(DISCARD, name, "")
        self._spread()
        lower = name.lower()
        before = len(self.pairs)
        self.pairs = [field for field in self.pairs if field[0] != lower]
        self.count = len(self.pairs)
        return self.count < before
