"""One request, as a test says it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict

from fastmesh.testing.message import FieldsLike, body_of, pairs_of, request_line, write
from fastmesh.testing.reply import Sent


class Parts(TypedDict, total=False):
    """What a request may have besides its method and its path."""

    headers: FieldsLike
    """Host is among them without being said."""
    body: bytes | str
    """Goes with a Content-Length; text as UTF-8."""
    json: Any
    """In place of `body`."""
    chunks: Iterable[bytes] | None
    """In place of `body`: chunked, each piece by itself."""
    trailers: FieldsLike
    """Behind the body, which is chunked then."""
    peer: str
    """The client's IP address, of a `Kit`."""


def sent(method: str, path: str, *, headers: FieldsLike = (), body: bytes | str = b"", json: Any = None,
          chunks: Iterable[bytes] | None = None, trailers: FieldsLike = (), peer: str = "127.0.0.1") -> Sent:
    fields = pairs_of(headers)
    content = body_of(body, json, fields)
    if chunks is not None and content:
        raise ValueError("chunks is the body already: give no other")
    if not any(name.lower() == "host" for name, _ in fields):
        fields.insert(0, ("host", "test"))
    return Sent(method, write(request_line(method, path), fields, content, chunks, trailers), peer)
