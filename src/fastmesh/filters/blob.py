"""Settings of filters on their way to a worker: plain data in msgpack, which also keeps what JSON cannot tell apart."""

from __future__ import annotations

import msgpack

from fastmesh.filters.types import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TUPLE = 1
SET = 2
FROZENSET = 3
SECRET = 4


def pack(value: object) -> bytes:
    """Of None, booleans, 64-bit numbers, text and bytes, and of lists, dictionaries, tuples and sets of them."""
    packed: bytes = msgpack.packb(value, default=_extension, strict_types=True, unicode_errors="surrogatepass")
    return packed


def unpack(packed: bytes) -> Any:
    """What `pack` was given, each part of the type that it was of."""
    return msgpack.unpackb(packed, ext_hook=_of_extension, strict_map_key=False, unicode_errors="surrogatepass")


def _extension(value: object) -> msgpack.ExtType:
    if isinstance(value, tuple):
        return msgpack.ExtType(TUPLE, pack(list(value)))
    if isinstance(value, frozenset):
        return msgpack.ExtType(FROZENSET, pack(sorted(value, key=repr)))
    if isinstance(value, set):
        return msgpack.ExtType(SET, pack(sorted(value, key=repr)))
    if isinstance(value, Secret):
        return msgpack.ExtType(SECRET, str(value).encode("utf-8", "surrogatepass"))
    raise TypeError(f"{type(value).__name__} is no plain data")


def _of_extension(code: int, content: bytes) -> object:
    if code == SECRET:
        return Secret(content.decode("utf-8", "surrogatepass"))
    return {TUPLE: tuple, SET: set, FROZENSET: frozenset}[code](unpack(content))
