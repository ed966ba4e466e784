"""HTTP/1.1 messages as the other side writes and reads them: by nothing that the proxy has a part in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

FieldsLike = Mapping[str, str] | Iterable[tuple[str, str]]
"""Header fields: a dictionary, or pairs where a name stands several times."""

_BODILESS = (204, 304)


class Incomplete(Exception):
    """There is no whole message yet."""


class BadMessage(Exception):
    """What was sent is no HTTP/1.1."""


class Fields(Mapping[str, str]):
    """Header fields of a message, in the order that they stand in: a mapping that cannot be changed. Names have no
    case."""

    def __init__(self, fields: FieldsLike = ()) -> None:
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        self._fields = [(str(name), str(value)) for name, value in pairs]

    def __getitem__(self, name: str) -> str:
        """The values of a name; those of one that stands several times are joined with a comma."""
        found = self.get_all(name)
        if not found:
            raise KeyError(name)
        return ", ".join(found)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self._fields))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._fields})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(known.lower() == name.lower() for known, _ in self._fields)

    def __repr__(self) -> str:
        return f"Fields({self._fields!r})"

    def get_all(self, name: str) -> list[str]:
        """Every value of a name, in order."""
        return [value for known, value in self._fields if known.lower() == name.lower()]

    def fields(self) -> list[tuple[str, str]]:
        """Each field by itself, names as they were written."""
        return list(self._fields)


def body_of(body: bytes | str, given: Any, headers: list[tuple[str, str]]) -> bytes:
    """The bytes of `body` or of JSON `given`, for which a Content-Type is added to `headers`."""
    if given is None:
        return body.encode() if isinstance(body, str) else bytes(body)
    if body:
        raise ValueError("body and json exclude each other: give one of them")
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("content-type", "application/json"))
    return json.dumps(given, separators=(",", ":"), ensure_ascii=False).encode()


def pairs_of(fields: FieldsLike) -> list[tuple[str, str]]:
    """Header fields as a list, whichever way they were given."""
    return list(fields.items() if isinstance(fields, Mapping) else fields)


# What a target may have as it is; all else is percent-encoded.
TARGET = "/?#[]@!$&'()*+,;=:%-._~|^`{}\"<>\\"


def request_line(method: str, path: str) -> str:
    """Of a request; characters outside of ASCII, spaces and control characters are percent-encoded."""
    return f"{method} {quote(path, safe=TARGET)} HTTP/1.1"


def write(line: str, fields: list[tuple[str, str]], body: bytes, chunks: Iterable[bytes] | None,
          trailers: FieldsLike, is_bodiless: bool = False) -> list[bytes]:
    """The message, in the pieces in which it is sent. With `chunks` or trailers it is chunked, one piece for each."""
    names = {name.lower() for name, _ in fields}
    pieces = None if chunks is None else [bytes(chunk) for chunk in chunks]
    tail = pairs_of(trailers)
    if tail and pieces is None:
        pieces = [body] if body else []
    lines = [line, *(f"{name}: {value}" for name, value in fields)]
    if pieces is not None and "transfer-encoding" not in names:
        lines.append("transfer-encoding: chunked")
    elif pieces is None and body and "content-length" not in names:
        lines.append(f"content-length: {len(body)}")
    elif pieces is None and line.startswith("HTTP/") and "content-length" not in names and not is_bodiless:
        lines.append("content-length: 0")
    head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
    if is_bodiless:
        return [head]
    if pieces is None:
        return [head + body]
    end = "".join(["0\r\n", *(f"{name}: {value}\r\n" for name, value in tail), "\r\n"])
    return [head, *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece), end.encode()]


class Message:
    """One that has been read: what a request through a `Proxy` returns."""

    line: str
    """The first line: `HTTP/1.1 200 OK`."""
    headers: Fields
    """Names have no case; `get_all` gives every value of one."""
    body: bytes
    """All of it, without the framing of chunks."""
    trailers: Fields
    """Fields behind a chunked body."""
    is_chunked: bool
    """It came in chunks, not with a Content-Length."""

    def __init__(self, line: str, headers: Fields) -> None:
        """For the kit."""
        self.line = line
        self.headers = headers
        self.body = b""
        self.trailers = Fields()
        self.is_chunked = False

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.line.split(" ", 2)[1])

    @property
    def text(self) -> str:
        """The body as UTF-8; bytes that are not are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Message {self.line!r}, {len(self.body)} bytes>"


def read(data: bytes, *, is_over: bool, to_head: bool = False) -> tuple[Message, int]:
    """The first message of `data`, and how long it is. `is_over`: nothing comes behind `data`; `to_head`: it answers a
    HEAD. Raises Incomplete, BadMessage."""
    head, end, _ = data.partition(b"\r\n\r\n")
    if not end:
        raise Incomplete
    line, _, rest = head.partition(b"\r\n")
    made = Message(line.decode("latin-1"), _fields(rest))
    at = len(head) + 4
    is_answer = line.startswith(b"HTTP/")
    if is_answer and (to_head or made.status < 200 or made.status in _BODILESS):
        return made, at
    if "transfer-encoding" in made.headers:
        return made, _read_chunks(made, data, at)
    if "content-length" in made.headers:
        size = int(made.headers["content-length"])
        if len(data) < at + size:
            raise Incomplete
        made.body = data[at:at + size]
        return made, at + size
    if is_answer:
        if not is_over:
            raise Incomplete
        made.body = data[at:]
        return made, len(data)
    return made, at


def _read_chunks(made: Message, data: bytes, at: int) -> int:
    made.is_chunked = True
    pieces = []
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            raise Incomplete
        size = int(data[at:end], 16)
        at = end + 2
        if size == 0:
            break
        if len(data) < at + size + 2:
            raise Incomplete
        if data[at + size:at + size + 2] != b"\r\n":
            raise BadMessage(f"a chunk of {size} bytes does not end where it should: {data[at:at + size + 10]!r}")
        pieces.append(data[at:at + size])
        at += size + 2
    made.body = b"".join(pieces)
    if data[at:at + 2] == b"\r\n":
        return at + 2
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        raise Incomplete
    made.trailers = _fields(data[at:end])
    return end + 4


def _fields(block: bytes) -> Fields:
    pairs = (line.split(b":", 1) for line in block.split(b"\r\n") if line)
    return Fields([(name.decode("latin-1"), _text(value.strip())) for name, value in pairs])


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
