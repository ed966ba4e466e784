from typing import Final, TypeVar, overload

_T = TypeVar("_T")

SEGMENT_BYTES: Final[int]
KINDS: dict[int, str]
DEFAULT_ENTRIES: Final[int]
DEFAULT_VALUE: Final[int]

class SharedError(ValueError):
    """A shared object cannot be had. The text says which, why, and what to do."""

class Segment:
    """One mapping of shared memory. Kept alive by the objects in it."""

    def __init__(self, fd: int = -1, size: int = 0) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def left(self) -> int:
        """Bytes for objects that are still to be made."""
    def handle(self) -> object:
        """For compiled code: where it is mapped, as a capsule, good for as long as this object lives."""
    def set_clock(self, seconds: float | None) -> None:
        """For tests: from now on it is that time here, for all processes; None is the real time again."""

def attach(fd: int) -> None:
    """From now on objects are those in this memfd, which all workers have. Once attached, a process stays so."""

def segment() -> Segment:
    """The one of this process."""

def detach() -> None:
    """For tests: the next object is made in memory of its own. Objects that there are keep theirs."""

class Shared:
    """What all shared objects have. Made by name: whoever asks for it first makes it, all others get the same."""

    @property
    def name(self) -> str:
        """The name that it was asked for by."""

class Counter(Shared):
    """A whole number that all workers add to."""

    def __init__(self, name: str) -> None: ...
    def add(self, n: int = 1) -> int:
        """Adds, and says what it is now: no two calls get the same when `n` is 1."""
    @property
    def value(self) -> int:
        """What it is now."""

class Gauge(Shared):
    """A number that any worker sets and all see."""

    def __init__(self, name: str) -> None: ...
    def set(self, value: float) -> None:
        """From now on it is this, for all workers."""
    def get(self) -> float:
        """What was set last, in whichever worker; 0.0 before that."""

class Flag(Shared):
    """Yes or no, the same in all workers. False until it is set."""

    def __init__(self, name: str) -> None: ...
    def set(self, value: bool = True) -> None:
        """From now on it is this, for all workers."""
    def clear(self) -> None:
        """The same as `set(False)`."""
    def get(self) -> bool:
        """What was set last, in whichever worker. The flag itself is true or false too: `if flag:`."""
    def __bool__(self) -> bool: ...

class Table(Shared):
    """What TokenBuckets and LruMap have in common: bounded, the key that was used longest ago leaves."""

    def __len__(self) -> int:
        """Keys that are stored. An LruMap's may have expired: such a one leaves when it is asked for."""
    def clear(self) -> None:
        """Forgets every key, for all workers."""
    @property
    def evicted(self) -> int:
        """How many keys had to leave, for all time and all workers, because there were too many."""
    @property
    def recovered(self) -> int:
        """How often it was emptied because a worker was killed in the middle of a change."""

class TokenBuckets(Table):
    """A token bucket per key, counted exactly over all workers.

    `rate` tokens come back per second, and at most `burst` are there. The two belong to this handle, so that a reload
    may change them: what a key owes is kept as the time at which its bucket is full again (GCRA, in nanoseconds). Keys
    beyond `max_keys` push out those used longest ago, which begin with a full bucket when they come back.
    """

    def __init__(self, name: str, *, rate: float, burst: float | None = None, max_keys: int = 10_000) -> None: ...
    @property
    def rate(self) -> float:
        """Tokens that come back per second."""
    @property
    def burst(self) -> float:
        """Tokens that a full bucket has; where none was given, those of a second, at least 1."""
    @property
    def max_keys(self) -> int:
        """Keys that have a bucket at a time, at most."""
    def take(self, key: str | bytes, cost: float = 1.0) -> float:
        """0.0 when the tokens were there, and are taken; else the seconds until they will be, and nothing is taken.

        Infinity when `cost` is more than `burst`: they never will.
        """
    def charge(self, key: str | bytes, cost: float = 1.0) -> float:
        """Takes the tokens whether they are there or not, for what is known only afterwards; the seconds until the
        bucket is out of debt, 0.0 when it is in none. `take` waits for that too."""
    def reset(self, key: str | bytes) -> None:
        """Its bucket is full again."""

class LruMap(Table):
    """A bounded map from `str` or `bytes` to `str`, `bytes` or whole numbers, the same in all workers.

    `ttl` is in seconds, belongs to this handle, and is what `put` and `add` use unless they are told otherwise; None
    is for ever. `get` and `put` make a key the newest; with `max_entries` the oldest leaves for a new one.
    """

    def __init__(self, name: str, *, max_entries: int = 10_000, max_bytes: int = 256,
                 ttl: float | None = None) -> None: ...
    @property
    def ttl(self) -> float | None:
        """Seconds that an entry lives unless `put` or `add` says otherwise; None is for ever."""
    @property
    def max_entries(self) -> int:
        """Keys that it has at a time, at most."""
    @property
    def max_bytes(self) -> int:
        """Bytes of the longest value."""
    @overload
    def get(self, key: str | bytes) -> str | bytes | int | None:
        """The value of the type it was put with, or `default`."""
    @overload
    def get(self, key: str | bytes, default: _T) -> str | bytes | int | _T: ...
    def put(self, key: str | bytes, value: str | bytes | int, *, ttl: float | None = None) -> None:
        """Stores a value in place of what there was. Raises ValueError when it has more than `max_bytes`."""
    def add(self, key: str | bytes, n: int = 1, *, ttl: float | None = None) -> int:
        """Adds to the number under the key, and says what it is now; what is not there is 0.

        `ttl` counts from the first `add` and is not renewed: so many per so long. Raises TypeError when there is no
        number under the key, OverflowError beyond 64 bits.
        """
    def delete(self, key: str | bytes) -> bool:
        """Forgets a key; whether it was there."""
    def __contains__(self, key: str | bytes) -> bool:
        """Whether it is there; it does not become the newest."""
