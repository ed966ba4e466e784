"""An answer in a filter host: one that a filter gives, or the upstream's, whose edits are written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fastmesh._core.filter.answer import answer_body, answer_is_bodiless, answer_status
from fastmesh.filters.protocol import RESPONSE, STATUS
from fastmesh.host.headers import Headers

if TYPE_CHECKING:
    from fastmesh.host.request import Request

# In which the answer's head has not been sent.
EDITED_IN = ("on_response", "on_response_body")


class Response:
    """An answer: one that a filter gives, or the upstream's on its way to the client."""

    __slots__ = ("_body", "_headers", "_is_local", "_request", "_status")

    def __init__(self, status: int = 200, *, text: str | None = None, json: Any = None, body: bytes | None = None,
                 headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
                 content_type: str | None = None) -> None:
        self._request: Request | None = None
        self._is_local = True
        self._body: bytes | None
        self._body, kind = answer_body(text, json, body)
        self._status = answer_status(status)
        self._headers = Headers()
        for name, value in (headers.items() if isinstance(headers, Mapping) else headers):
            self._headers.add(name, value)
        if content_type is not None:
            self._headers["content-type"] = content_type
        elif kind is not None and "content-type" not in self._headers:
            self._headers["content-type"] = kind
        if self._body and answer_is_bodiless(status):
            raise ValueError(f"an answer with status {status} has no body")

    @classmethod
    def of(cls, request: Request, told: list[Any]) -> Response:
        """That of a request, as it travels."""
        made = cls.__new__(cls)
        made._request = request
        made._status, made._is_local, made._body, flat = told
        made._headers = Headers.of(flat, made._look, made._change)
        return made

    def part(self) -> None:
        """Nobody will look at it any more. Of a view: its headers refer back to it."""
        if self._request is not None:
            self._headers = Headers()

    def _look(self) -> Request | None:
        if self._request is not None:
            self._request.alive()
        return self._request

    def _change(self, which: int, name: str, value: object) -> None:
        request = self._look()
        if request is not None:
            request.edit_of(EDITED_IN, "the answer's head is on its way already: it can be changed in on_response, and "
                            "in on_response_body").append((which, RESPONSE, name, value))

    @property
    def status(self) -> int:
        return self._status

    @status.setter
    def status(self, value: int) -> None:
        if self._body and answer_is_bodiless(value):
            raise ValueError(f"this answer has a body, and one with status {value} must not have any")
        self._change(STATUS, "", answer_status(value))
        self._status = value

    @property
    def headers(self) -> Headers:
        self._look()
        return self._headers

    @property
    def is_local(self) -> bool:
        return self._is_local

    @property
    def body(self) -> bytes | None:
        return self._body

    def __repr__(self) -> str:
        return f"<Response {self._status}>"
