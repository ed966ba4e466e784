"""Bodies cut in every way, and whether what comes of it is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastmesh.testing.reply import Reply
from fastmesh.testing.upstream import Answer, Asked


def cuts(whole: bytes) -> Iterator[list[bytes]]:
    """In two at every place, then byte by byte."""
    for i in range(1, len(whole)):
        yield [whole[:i], whole[i:]]
    if len(whole) > 2:
        yield [whole[i:i + 1] for i in range(len(whole))]


def cut_answer(cut: list[bytes], is_chunked: bool) -> Callable[[Asked], Answer]:
    """What an upstream does to send its answer in these pieces."""
    if is_chunked:
        return lambda asked: Answer(chunks=cut)
    return lambda asked: _InPieces(cut)


class _InPieces(Answer):
    """An answer with a Content-Length whose body comes in pieces."""

    def __init__(self, cut: list[bytes]) -> None:
        super().__init__(headers={"content-length": str(sum(map(len, cut)))})
        self._cut = cut

    def pieces(self, method: str) -> list[bytes]:
        return [*super().pieces(method), *(self._cut if method != "HEAD" else ())]


def essence(reply: Reply) -> Any:
    """What must not depend on how bodies were cut: framing and what differs from exchange to exchange left out."""
    if not reply.is_complete or reply.was_cut:
        return "cut"
    seen: dict[str, Any] = {
        "status": reply.status, "headers": _lasting(reply.headers.fields()), "body": reply.body,
        "trailers": reply.trailers.fields(), "labels": reply.labels, "upstream": reply.upstream is not None}
    if (asked := reply.upstream) is not None:
        seen |= {"request": f"{asked.method} {asked.target}", "request headers": _lasting(asked.headers.fields()),
                 "request body": asked.body, "request trailers": asked.trailers.fields()}
    return seen


def _lasting(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in fields
            if name.lower() not in ("date", "x-request-id", "content-length", "transfer-encoding")]


def same(expected: Any, found: Any, whose: str, cut: list[bytes]) -> None:
    """Raises AssertionError when the result of this cut is not that of the whole."""
    __tracebackhide__ = True
    if found == expected:
        return
    how = "byte by byte" if len(cut) > 2 else f"behind {len(cut[0])} bytes, {cut[0][-20:]!r} | {cut[1][:20]!r}"
    if isinstance(expected, dict) and isinstance(found, dict):
        pairs = {key: (expected.get(key), found.get(key)) for key in {**expected, **found}
                 if expected.get(key) != found.get(key)}
        what = "\n".join(f"  {key}: {a!r}\n  {' ' * len(key)}  {b!r}" for key, (a, b) in pairs.items())
    else:
        what = f"  {expected!r}\n  {found!r}"
    raise AssertionError(f"with the {whose} body cut {how} the result is another one (in one piece, then cut):\n{what}")
