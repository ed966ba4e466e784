"""Shared objects as Python holds them: see segment.pxd for what is behind them.

A process has one segment: control's, once `attach` was given its descriptor, else one of its own, made when the first
object asks for it. Calls keep the GIL; a lock is held for tens of nanoseconds and never while Python runs.
"""
import fcntl
import os

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from fastmesh._core.mem.bucket cimport bucket_charge, bucket_take, draw_t
from fastmesh._core.mem.segment cimport (
    KIND_BUCKETS, KIND_COUNTER, KIND_FLAG, KIND_GAUGE, KIND_MAP, SHARED_KEY, SHARED_LAYOUT, SHARED_NAME,
    SHARED_OBJECTS, SHARED_OK, SHARED_OTHER, SHARED_TOO_MANY, VALUE_BYTES, VALUE_INT, VALUE_STR, entry_t, entry_value,
    object_empty, object_lock, object_size, object_t, object_unlock, segment_init, segment_left, segment_now,
    segment_object, segment_t, table_drop, table_find, table_take, table_touch, word_add, word_get, word_set)
from fastmesh._core.mem.sip cimport sip_hash

cdef extern from "<sys/mman.h>" nogil:
    int MAP_NORESERVE

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    object PyUnicode_DecodeUTF8(const char *p, Py_ssize_t size, const char *errors)
    object PyBytes_FromStringAndSize(const char *p, Py_ssize_t size)

cdef extern from *:
    """
    static inline int fm_add_overflows(int64_t a, int64_t b, int64_t *sum) { return __builtin_add_overflow(a, b, sum); }
    """
    bint add_overflows "fm_add_overflows"(int64_t a, int64_t b, int64_t *total) noexcept nogil

cdef enum:
    SEGMENT_LEAST = 65536
    ENTRIES_MOST = 16777216
    VALUE_MOST = 1048576
    ON_STACK = 256                # bytes

cdef uint64_t TIME_MOST = 1152921504606846976     # ns, 36 years: four of them still fit into a word

SEGMENT_BYTES = 64 << 20
KINDS = {KIND_COUNTER: "Counter", KIND_GAUGE: "Gauge", KIND_FLAG: "Flag", KIND_BUCKETS: "TokenBuckets",
         KIND_MAP: "LruMap"}
DEFAULT_ENTRIES = 10_000
DEFAULT_VALUE = 256


class SharedError(ValueError):
    """A shared object cannot be had. The text says which, why, and what to do."""


cdef class Segment:
    """One mapping of shared memory. Kept alive by the objects in it."""

    cdef segment_t *_g            # owned: unmapped with the last reference
    cdef size_t _size

    def __cinit__(self, int fd=-1, size_t size=0):
        """Maps a memfd of control's, whose length counts; without one, memory that only children of this process
        will share."""
        if fd >= 0:
            size = os.fstat(fd).st_size
        elif size == 0:
            size = SEGMENT_BYTES
        if size < SEGMENT_LEAST:
            raise SharedError(f"shared memory of {size:,} bytes is too small: at least {SEGMENT_LEAST:,} are needed")
        cdef int flags = MAP_SHARED if fd >= 0 else MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE
        cdef void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0)
        if at == MAP_FAILED:
            raise OSError("shared memory cannot be mapped")
        self._g = <segment_t *>at
        self._size = size
        if fd < 0:
            self._begin()
            return
        # Workers come up at the same time. A lock of the kernel's goes with a process that dies.
        fcntl.lockf(fd, fcntl.LOCK_EX)
        try:
            self._begin()
        finally:
            fcntl.lockf(fd, fcntl.LOCK_UN)

    cdef int _begin(self) except -1:
        cdef uint64_t seed[2]
        cdef bytes random = os.urandom(16)
        cdef int failed
        magic = self._g.magic[:8]
        if magic == b"\0" * 8:
            memcpy(seed, <const char *>random, 16)
            failed = segment_init(self._g, self._size, seed)
            if failed != 0:
                raise OSError(failed, os.strerror(failed))
        elif magic != b"fmshare1" or self._g.layout != SHARED_LAYOUT or self._g.size != self._size:
            raise SharedError("this shared memory is another version's: all processes of one proxy must be of the same "
                              "version of fastmesh")
        return 0

    def __reduce__(self):
        raise TypeError("shared memory cannot be pickled")

    def __dealloc__(self):
        if self._g is not NULL:
            munmap(self._g, self._size)

    @property
    def size(self):
        return self._size

    @property
    def left(self):
        """Bytes for objects that are still to be made."""
        return segment_left(self._g)

    def handle(self):
        """For compiled code: where it is mapped, as a capsule, good for as long as this object lives."""
        return PyCapsule_New(self._g, b"segment", NULL)

    def set_clock(self, seconds):
        """For tests: from now on it is that time here, for all processes; None is the real time again."""
        self._g.clock_ns = 0 if seconds is None else _nanoseconds(seconds, "the clock")

    cdef object_t *_object(self, uint32_t kind, str name, uint64_t capacity, uint64_t value_max) except NULL:
        cdef object_t *o = NULL
        cdef Py_ssize_t n = 0
        cdef const char *text = PyUnicode_AsUTF8AndSize(name, &n)
        cdef int result
        what = f"shared.{KINDS[kind]}({name!r})"
        if n == 0 or n > SHARED_NAME:
            raise SharedError(f"{what}: a name has 1 to {SHARED_NAME} bytes, this one has {n:,}")
        result = segment_object(self._g, kind, text, <uint32_t>n, capacity, value_max, &o)
        if result == SHARED_OK:
            return o
        if result == SHARED_TOO_MANY:
            raise SharedError(f"{what}: there are {SHARED_OBJECTS:,} shared objects already, and no more are possible; "
                              "one TokenBuckets or LruMap holds many keys")
        if result == SHARED_OTHER and o.kind != kind:
            raise SharedError(f"{what}: this name is a {KINDS[o.kind]} already; give one of them another name")
        if result == SHARED_OTHER:
            raise SharedError(f"{what}: asked for with {_shape(kind, capacity, value_max)}, but it was made with "
                              f"{_shape(kind, o.capacity, o.value_max)}; ask for the same everywhere, or give it "
                              "another name (or start fastmesh anew, when it is the same filter with a new setting)")
        raise SharedError(f"{what}: {_shape(kind, capacity, value_max) or 'it'} takes "
                          f"{object_size(kind, capacity, value_max):,} bytes, and {segment_left(self._g):,} are left "
                          f"of the {self._size:,} that all shared objects have together; ask for less, or share one "
                          "object under several filters")


def _shape(kind, capacity, value_max):
    if kind == KIND_BUCKETS:
        return f"max_keys={capacity}"
    return f"max_entries={capacity}, max_bytes={value_max}" if kind == KIND_MAP else ""


cdef uint64_t _nanoseconds(object seconds, str what) except? 0:
    cdef double value = seconds
    if not 1e-6 <= value <= TIME_MOST / 1e9:
        raise SharedError(f"{what} is {seconds!r} seconds; it must be above 0")
    return <uint64_t>(value * 1e9)


cdef uint64_t _count(object count, str what, uint64_t most) except? 0:
    if not 1 <= count <= most:
        raise SharedError(f"{what} is {count!r}: allowed are 1 to {most:,}")
    return count


cdef int64_t _whole(object n) except? -1:
    # Else a float would be cut off without a word.
    if not isinstance(n, int):
        raise TypeError(f"only whole numbers can be added, not {type(n).__name__}")
    return n


cdef inline object _bytes_of(object text, const char **p, Py_ssize_t *n):
    """Of a `str` its UTF-8, of `bytes` themselves. The bytes are there as long as what is returned."""
    if isinstance(text, str):
        try:
            p[0] = PyUnicode_AsUTF8AndSize(text, n)
            return text
        except UnicodeEncodeError:
            text = text.encode("utf-8", "surrogatepass")
    p[0] = <bytes>text
    n[0] = len(<bytes>text)
    return text


cdef int _digest(object key, const segment_t *g, uint64_t *out) except -1:
    """`str` and its UTF-8 are one key."""
    cdef Py_ssize_t n = 0
    cdef const char *p
    if not isinstance(key, (str, bytes)):
        raise TypeError(f"a key is str or bytes, not {type(key).__name__}")
    key = _bytes_of(key, &p, &n)
    if n > SHARED_KEY:
        raise ValueError(f"a key has at most {SHARED_KEY:,} bytes, this one has {n:,}")
    sip_hash(<const uint8_t *>p, <uint64_t>n, g.seed, out)
    return 0


# --- the segment of this process ------------------------------------------------------------------------------------

cdef Segment _segment = None
cdef bint _is_attached = False


def attach(int fd):
    """From now on objects are those in this memfd, which all workers have. Once attached, a process stays so."""
    global _segment, _is_attached
    if _is_attached:
        return
    if _segment is not None and _segment._g.first != 0:
        raise SharedError("shared objects were made before this process was attached to the memory that workers share; "
                          "make them in a filter's `start`, not while its module is imported")
    _segment = Segment(fd)
    _is_attached = True


def segment():
    """The one of this process."""
    global _segment
    if _segment is None:
        _segment = Segment()
    return _segment


def detach():
    """For tests: the next object is made in memory of its own. Objects that there are keep theirs."""
    global _segment, _is_attached
    _segment = None
    _is_attached = False


# --- objects --------------------------------------------------------------------------------------------------------

cdef class Shared:
    """What all shared objects have. Made by name: whoever asks for it first makes it, all others get the same."""

    cdef Segment _segment
    cdef object_t *_o             # in the segment, and as long as that
    cdef readonly str name

    def __cinit__(self, *args, **kwargs):
        if type(self) is Shared or type(self) is Table:
            raise TypeError("use Counter, Gauge, Flag, TokenBuckets or LruMap")

    def __reduce__(self):
        raise TypeError(f"shared.{type(self).__name__} cannot be pickled: ask for it by name in each process")

    def __repr__(self):
        return f"shared.{type(self).__name__}({self.name!r})"

    cdef int _find(self, uint32_t kind, str name, uint64_t capacity, uint64_t value_max) except -1:
        self.name = name
        self._segment = segment()
        self._o = self._segment._object(kind, name, capacity, value_max)
        return 0


cdef class Counter(Shared):
    """A whole number that all workers add to."""

    def __cinit__(self, str name):
        self._find(KIND_COUNTER, name, 0, 0)

    def add(self, n=1):
        """Adds, and says what it is now: no two calls get the same when `n` is 1."""
        return word_add(&self._o.word, _whole(n))

    @property
    def value(self):
        return <int64_t>word_get(&self._o.word)


cdef class Gauge(Shared):
    """A number that any worker sets and all see."""

    def __cinit__(self, str name):
        self._find(KIND_GAUGE, name, 0, 0)

    def set(self, double value):
        cdef uint64_t word
        memcpy(&word, &value, 8)
        word_set(&self._o.word, word)

    def get(self):
        cdef uint64_t word = word_get(&self._o.word)
        cdef double value
        memcpy(&value, &word, 8)
        return value


cdef class Flag(Shared):
    """Yes or no, the same in all workers. False until it is set."""

    def __cinit__(self, str name):
        self._find(KIND_FLAG, name, 0, 0)

    def set(self, bint value=True):
        word_set(&self._o.word, 1 if value else 0)

    def clear(self):
        word_set(&self._o.word, 0)

    def get(self):
        return word_get(&self._o.word) != 0

    def __bool__(self):
        return word_get(&self._o.word) != 0


cdef class Table(Shared):
    """What TokenBuckets and LruMap have in common: bounded, the key that was used longest ago leaves."""

    def __len__(self):
        """Keys that are stored. An LruMap's may have expired: such a one leaves when it is asked for."""
        cdef uint32_t n
        object_lock(self._o)
        n = self._o.n
        object_unlock(self._o)
        return n

    cdef uint64_t _figure(self, const uint64_t *figure) noexcept:
        cdef uint64_t n
        object_lock(self._o)
        n = figure[0]
        object_unlock(self._o)
        return n

    def clear(self):
        """Forgets every key, for all workers."""
        object_lock(self._o)
        object_empty(self._o)
        object_unlock(self._o)

    @property
    def evicted(self):
        """How many keys had to leave, for all time and all workers, because there were too many."""
        return self._figure(&self._o.evicted)

    @property
    def recovered(self):
        """How often it was emptied because a worker was killed in the middle of a change."""
        return self._figure(&self._o.recovered)


cdef class TokenBuckets(Table):
    """A token bucket per key, counted exactly over all workers.

    `rate` tokens come back per second, and at most `burst` are there. The two belong to this handle, so that a reload
    may change them: what a key owes is kept as the time at which its bucket is full again (GCRA, in nanoseconds). Keys
    beyond `max_keys` push out those used longest ago, which begin with a full bucket when they come back.
    """

    cdef readonly double rate
    cdef readonly double burst
    cdef double _token_ns
    cdef uint64_t _burst_ns

    def __cinit__(self, str name, *, rate, burst=None, max_keys=DEFAULT_ENTRIES):
        cdef double per_second = rate
        cdef double most = (per_second if per_second > 1 else 1) if burst is None else burst
        if not 0 < per_second <= 1e9:
            raise SharedError(f"shared.TokenBuckets({name!r}): a rate of {rate!r} a second; it must be above 0, and at "
                              "most 1,000,000,000")
        if not 0 < most / per_second <= TIME_MOST / 1e9:
            raise SharedError(f"shared.TokenBuckets({name!r}): a burst of {most:g} takes {most / per_second:g} s to "
                              "come back, which is no time to wait for")
        self.rate = per_second
        self.burst = most
        self._token_ns = 1e9 / per_second
        self._burst_ns = <uint64_t>(most * 1e9 / per_second)
        self._find(KIND_BUCKETS, name, _count(max_keys, f"max_keys of shared.TokenBuckets({name!r})", ENTRIES_MOST), 0)

    @property
    def max_keys(self):
        return self._o.capacity

    cdef uint64_t _cost(self, double cost) except? 0:
        if not 0 < cost * self._token_ns < TIME_MOST:
            raise ValueError(f"shared.TokenBuckets({self.name!r}): a cost of {cost!r} tokens; it must be above 0")
        # Down, as the burst is: as many whole tokens as it says fit into it.
        return max(<uint64_t>1, <uint64_t>(cost * self._token_ns))

    def take(self, key, double cost=1):
        """0.0 when the tokens were there, and are taken; else the seconds until they will be, and nothing is taken.

        Infinity when `cost` is more than `burst`: they never will.
        """
        cdef uint64_t digest[2]
        cdef uint64_t cost_ns = self._cost(cost)
        cdef draw_t d
        _digest(key, self._segment._g, digest)
        if cost_ns > self._burst_ns:
            return float("inf")
        bucket_take(self._segment._g, self._o, digest, cost_ns, self._burst_ns, self._burst_ns + TIME_MOST, &d)
        return d.wait_ns / 1e9

    def charge(self, key, double cost=1):
        """Takes the tokens whether they are there or not, for what is known only afterwards; the seconds until the
        bucket is out of debt, 0.0 when it is in none. `take` waits for that too."""
        cdef uint64_t digest[2]
        cdef uint64_t cost_ns = self._cost(cost)
        _digest(key, self._segment._g, digest)
        # Debts that no one lives to see paid add up to no more than that.
        return bucket_charge(self._segment._g, self._o, digest, cost_ns, self._burst_ns,
                             self._burst_ns + TIME_MOST) / 1e9

    def reset(self, key):
        """Its bucket is full again."""
        cdef uint64_t digest[2]
        cdef entry_t *e
        _digest(key, self._segment._g, digest)
        object_lock(self._o)
        e = table_find(self._o, digest)
        if e is not NULL:
            table_drop(self._o, e)
        object_unlock(self._o)


cdef class LruMap(Table):
    """A bounded map from `str` or `bytes` to `str`, `bytes` or whole numbers, the same in all workers.

    `ttl` is in seconds, belongs to this handle, and is what `put` and `add` use unless they are told otherwise; None
    is for ever. `get` and `put` make a key the newest; with `max_entries` the oldest leaves for a new one.
    """

    cdef readonly object ttl
    cdef uint64_t _ttl_ns         # 0 = for ever

    def __cinit__(self, str name, *, max_entries=DEFAULT_ENTRIES, max_bytes=DEFAULT_VALUE, ttl=None):
        what = f"shared.LruMap({name!r})"
        self.name = name
        self.ttl = ttl
        self._ttl_ns = self._ttl_of(ttl)
        # Numbers have room in every map.
        self._find(KIND_MAP, name, _count(max_entries, f"max_entries of {what}", ENTRIES_MOST),
                   max(8, _count(max_bytes, f"max_bytes of {what}", VALUE_MOST)))

    @property
    def max_entries(self):
        return self._o.capacity

    @property
    def max_bytes(self):
        return self._o.value_max

    cdef uint64_t _ttl_of(self, object ttl) except? 0:
        return 0 if ttl is None else _nanoseconds(ttl, f"ttl of shared.LruMap({self.name!r})")

    cdef entry_t *_live(self, const uint64_t *digest, uint64_t now) noexcept:
        """Under the lock. One that has expired is dropped."""
        cdef entry_t *e = table_find(self._o, digest)
        if e is not NULL and e.until_ns != 0 and e.until_ns <= now:
            table_drop(self._o, e)
            e = NULL
        return e

    def get(self, key, default=None):
        """The value of the type it was put with, or `default`."""
        cdef uint64_t digest[2]
        cdef uint8_t small[ON_STACK]
        cdef uint8_t *copy = small
        cdef uint32_t form = 0
        cdef int64_t number = 0
        cdef entry_t *e
        cdef object_t *o = self._o
        cdef bytes room = None
        _digest(key, self._segment._g, digest)
        if o.value_max > ON_STACK:
            # Taken before the lock, in which nothing is allocated.
            room = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>o.value_max)
            copy = <uint8_t *><char *>room
        object_lock(o)
        e = self._live(digest, segment_now(self._segment._g))
        if e is not NULL:
            form = e.form
            memcpy(copy, entry_value(e), form >> 2)
            table_touch(o, e)
        object_unlock(o)
        if e is NULL:
            return default
        if form & 3 == VALUE_INT:
            memcpy(&number, copy, 8)
            return number
        if form & 3 == VALUE_STR:
            return PyUnicode_DecodeUTF8(<char *>copy, form >> 2, "surrogatepass")
        return PyBytes_FromStringAndSize(<char *>copy, form >> 2)

    def put(self, key, value, *, ttl=None):
        """Stores a value in place of what there was. Raises ValueError when it has more than `max_bytes`."""
        cdef uint64_t digest[2]
        cdef uint64_t ttl_ns = self._ttl_ns if ttl is None else self._ttl_of(ttl)
        cdef uint64_t now
        cdef Py_ssize_t n = 8
        cdef const char *p
        cdef uint32_t form
        cdef int64_t number
        cdef entry_t *e
        cdef object_t *o = self._o
        _digest(key, self._segment._g, digest)
        if isinstance(value, (str, bytes)):
            form = VALUE_STR if isinstance(value, str) else VALUE_BYTES
            value = _bytes_of(value, &p, &n)
        elif isinstance(value, int):
            form = VALUE_INT
            number = value
            p = <const char *>&number
        else:
            raise TypeError(f"{self!r}: a value is str, bytes or int, not {type(value).__name__}")
        if <uint64_t>n > o.value_max:
            raise ValueError(f"{self!r}: a value of {n:,} bytes, and max_bytes is {o.value_max:,}")
        object_lock(o)
        now = segment_now(self._segment._g)
        e = table_find(o, digest)
        if e is NULL:
            e = table_take(o, digest)
        else:
            table_touch(o, e)
        e.form = <uint32_t>n << 2 | form
        e.until_ns = now + ttl_ns if ttl_ns != 0 else 0
        memcpy(entry_value(e), p, n)
        object_unlock(o)

    def add(self, key, n=1, *, ttl=None):
        """Adds to the number under the key, and says what it is now; what is not there is 0.

        `ttl` counts from the first `add` and is not renewed: so many per so long. Raises TypeError when there is no
        number under the key, OverflowError beyond 64 bits.
        """
        cdef uint64_t digest[2]
        cdef uint64_t ttl_ns = self._ttl_ns if ttl is None else self._ttl_of(ttl)
        cdef uint64_t now
        cdef int64_t more = _whole(n)
        cdef int64_t number = 0
        cdef int64_t total = 0
        cdef bint is_number = True
        cdef bint is_too_much = False
        cdef entry_t *e
        cdef object_t *o = self._o
        _digest(key, self._segment._g, digest)
        object_lock(o)
        now = segment_now(self._segment._g)
        e = self._live(digest, now)
        if e is not NULL:
            is_number = e.form & 3 == VALUE_INT
            memcpy(&number, entry_value(e), 8)
            table_touch(o, e)
        if is_number:
            is_too_much = add_overflows(number, more, &total)
            if not is_too_much:
                if e is NULL:
                    e = table_take(o, digest)
                    e.form = 8 << 2 | VALUE_INT
                    e.until_ns = now + ttl_ns if ttl_ns != 0 else 0
                memcpy(entry_value(e), &total, 8)
        object_unlock(o)
        if not is_number:
            raise TypeError(f"{self!r}: what is stored under {key!r} is no number")
        if is_too_much:
            raise OverflowError(f"{self!r}: {number} + {n} has more than 64 bits")
        return total

    def delete(self, key):
        """Forgets a key; whether it was there."""
        cdef uint64_t digest[2]
        cdef entry_t *e
        _digest(key, self._segment._g, digest)
        object_lock(self._o)
        e = self._live(digest, segment_now(self._segment._g))
        if e is not NULL:
            table_drop(self._o, e)
        object_unlock(self._o)
        return e is not NULL

    def __contains__(self, key):
        """Whether it is there; it does not become the newest."""
        cdef uint64_t digest[2]
        cdef entry_t *e
        _digest(key, self._segment._g, digest)
        object_lock(self._o)
        e = self._live(digest, segment_now(self._segment._g))
        object_unlock(self._o)
        return e is not NULL
