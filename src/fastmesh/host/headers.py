"""Header fields in a filter host: as the compiled class has them, and what is changed is written down."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fastmesh._core.filter.headers import HeaderError, ViewClosed
from fastmesh.filters.protocol import ADD, DISCARD, SET

NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,1024}", re.ASCII)
UNFIT = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
OWN = frozenset(("connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive",
                 "proxy-connection", "http2-settings"))
FIELDS_MOST = 256
BYTES_MOST = 64512
VALUE_MOST = 65535
KNOWN_MOST = 1000
known: set[str] = set()     # names that filters have set, and that were found to be in order

# Called before each look, and before each change with what is changed.
Look = Callable[[], object]
Change = Callable[[int, str, str | bytes], None]


def text_of(raw: bytes) -> str:
    """As UTF-8, or else as Latin-1."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class Headers:
    """Header fields in the order they are sent in: a dictionary whose names have no case, and may stand several
    times."""

    __slots__ = ("_bytes", "_change", "_fields", "_look")

    def __init__(self, fields: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
        self._fields: list[tuple[str, str, str | bytes]] = []       # name in lower case, name, value
        self._bytes = 0
        self._look: Look | None = None
        self._change: Change | None = None
        for name, value in (fields.items() if isinstance(fields, Mapping) else fields):
            self.add(name, value)

    @classmethod
    def of(cls, flat: list[Any], look: Look | None = None, change: Change | None = None) -> Headers:
        """Of names and values in turn, as they travel."""
        made = cls.__new__(cls)
        pairs = iter(flat)
        made._fields = [(name.lower(), name, value) for name, value in zip(pairs, pairs, strict=True)]
        made._bytes = -1        # counted when one is added
        made._look = look
        made._change = change
        return made

    def flat(self) -> list[str | bytes]:
        """Names and values in turn."""
        return [part for _, name, value in self._fields for part in (name, value)]

    # --- what is there ---

    def _all(self) -> list[tuple[str, str, str | bytes]]:
        if self._look is not None:
            self._look()
        return self._fields

    def _found(self, name: str) -> list[str | bytes]:
        if type(name) is not str:
            raise TypeError(f"a header name is a str, not {type(name).__name__}")
        lower = name.lower()
        return [value for known, _, value in self._all() if known == lower]

    def __getitem__(self, name: str) -> str:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return str(found)

    def get(self, name: str, default: Any = None) -> Any:
        if type(name) is not str:
            raise TypeError(f"a header name is a str, not {type(name).__name__}")
        if self._look is not None:
            self._look()
        lower = name.lower()
        for known, _, value in self._fields:
            if known == lower:
                return value if type(value) is str else _text(value)
        return default

    def get_all(self, name: str) -> list[str]:
        """Every value of the name, in order; an empty list when there is none."""
        return [_text(value) for value in self._found(name)]

    def raw(self, name: str) -> bytes | None:
        """The first value as it came, undecoded."""
        found = self._found(name)
        return None if not found else found[0] if isinstance(found[0], bytes) else found[0].encode()

    def raw_all(self, name: str) -> list[bytes]:
        """Every value as it came, undecoded."""
        return [value if isinstance(value, bytes) else value.encode() for value in self._found(name)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._found(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def keys(self) -> list[str]:
        return list(dict.fromkeys(lower for lower, _, _ in self._all()))

    def values(self) -> list[str]:
        return [self[name] for name in self.keys()]

    def items(self) -> list[tuple[str, str]]:
        return [(name, self[name]) for name in self.keys()]

    def fields(self) -> list[tuple[str, str]]:
        """Names as they were written, and values, each field by itself."""
        return [(name, _text(value)) for _, name, value in self._all()]

    def copy(self) -> dict[str, str]:
        """A plain dictionary that may be kept: names in lower case, several values joined with a comma."""
        made: dict[str, str] = {}
        for lower, _, value in self._all():
            made[lower] = f"{made[lower]}, {_text(value)}" if lower in made else _text(value)
        return made

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Headers):
            return self.copy() == other.copy()
        if isinstance(other, Mapping):
            return self.copy() == {name.lower(): value for name, value in other.items()}
        return NotImplemented

    __hash__ = None     # type: ignore[assignment]

    def __repr__(self) -> str:
        try:
            return f"Headers({self.fields()!r})"
        except ViewClosed:
            return "<Headers, closed>"

    # --- what changes ---

    def _checked(self, name: str, value: Any) -> str | bytes:
        """The value as it will be sent. Raises HeaderError."""
        if type(value) is str and value.isascii() and value.isprintable() and type(name) is str and name in known:
            fit = value.strip(" ")
            self._make_room(name, len(fit))
            return fit
        if isinstance(value, str):
            raw = value.encode()
        elif isinstance(value, bytes):
            raw = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            raw = str(value).encode()
        else:
            raise HeaderError(f"the value of header {name!r} is a {type(value).__name__}: str, bytes and numbers are "
                              "allowed")
        if len(raw) > VALUE_MOST:
            raise _does_not_fit(name)
        self._check_name(name)
        if UNFIT.search(raw):
            raise HeaderError(f"the value {value!r} of header {name!r} cannot be sent: line breaks, NUL and other "
                              "control characters are not allowed")
        raw = raw.strip(b" \t")
        self._make_room(name, len(raw))
        if len(known) < KNOWN_MOST:
            known.add(name)
        return raw.decode() if raw.isascii() else raw

    def _make_room(self, name: str, size: int) -> None:
        if self._bytes < 0:
            self._bytes = sum([len(name) + len(value) + 4 for _, name, value in self._fields])
        if len(self._fields) >= FIELDS_MOST or self._bytes + len(name) + size + 4 > BYTES_MOST:
            raise _does_not_fit(name)

    @staticmethod
    def _check_name(name: str) -> None:
        if type(name) is not str:
            raise TypeError(f"a header name is a str, not {type(name).__name__}")
        if not NAME.fullmatch(name):
            raise HeaderError(f"{name!r} is no header name: letters, digits and !#$%&'*+-.^_`|~ are allowed, 1024 at "
                              "most")
        if name.lower() in OWN:
            raise HeaderError(f"header {name!r} is the proxy's own: it says how this one connection carries the "
                              "message. Bodies are changed in body phases, lengths follow by themselves")

    def _tell(self, which: int, name: str, value: str | bytes) -> None:
        if self._change is not None:
            self._change(which, name, value)

    def __setitem__(self, name: str, value: str | bytes | int) -> None:
        """One field of that name from now on, behind all others. Raises HeaderError."""
        fit = self._checked(name, value)
        self._tell(SET, name, fit)
        lower = name.lower()
        self._fields = [field for field in self._fields if field[0] != lower]
        self._append(lower, name, fit)

    def add(self, name: str, value: str | bytes | int) -> None:
        """One more field, whatever there is of that name. Raises HeaderError."""
        fit = self._checked(name, value)
        self._tell(ADD, name, fit)
        self._append(name.lower(), name, fit)

    def _append(self, lower: str, name: str, value: str | bytes) -> None:
        self._fields.append((lower, name, value))
        self._bytes += len(name) + len(value) + 4

    def __delitem__(self, name: str) -> None:
        if not self._drop(name):
            raise KeyError(name)

    def discard(self, name: str) -> None:
        """Take every field of that name away; it need not be there."""
        self._drop(name)

    def _drop(self, name: str) -> bool:
        self._check_name(name)
        # Also where it is not seen here: a header that the filter does not declare among its `needs` may be there.
        self._tell(DISCARD, name, "")
        lower = name.lower()
        before = len(self._fields)
        self._fields = [field for field in self._fields if field[0] != lower]
        return len(self._fields) < before

    def setdefault(self, name: str, default: str | bytes | int) -> str:
        found: str | None = self.get(name)
        if found is None:
            self[name] = default
            found = self[name]
        return found

    def pop(self, name: str, *default: Any) -> Any:
        if len(default) > 1:
            raise TypeError("pop takes a name and at most one default")
        found = self.get(name)
        if found is None:
            if default:
                return default[0]
            raise KeyError(name)
        self._drop(name)
        return found

    def popitem(self) -> tuple[str, str]:
        names = self.keys()
        if not names:
            raise KeyError("there are no headers")
        return names[-1], self.pop(names[-1])

    def clear(self) -> None:
        for name in self.keys():
            if name not in OWN:     # those that are the proxy's own stay
                self._drop(name)

    def update(self, other: Any = (), **more: Any) -> None:
        for name, value in (other.items() if hasattr(other, "items") else other):
            self[name] = value
        for name, value in more.items():
            self[name] = value


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else text_of(value)


def _does_not_fit(name: str) -> HeaderError:
    return HeaderError(f"header {name!r} does not fit: a head has at most 64 KiB and 264 fields")
