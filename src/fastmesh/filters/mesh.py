"""Calls of filters through the mesh's own clusters."""

from __future__ import annotations

from fastmesh._core.filter.call import Call, CallFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from fastmesh._core.filter.view import Headers

__all__ = ["CallFailed", "Mesh", "Reply"]

TIMEOUT = 5.0           # seconds
LIMIT = 1 << 20         # bytes of an answer
TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class Reply:
    """An answer, whole."""

    __slots__ = ("body", "headers", "status")

    status: int
    """As the upstream gave it, whatever it is."""
    headers: Headers
    """The fields of the answer; it may be kept."""
    body: bytes
    """All of it."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        """For the worker."""
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self) -> str:
        """The body as UTF-8; bytes that are not are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        import json

        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Reply {self.status}, {len(self.body)} bytes>"


class Mesh:
    """`self.mesh` of a filter: requests to the clusters of the configuration, with their load balancing, pools, limits
    and retries::

        class WithUser(Filter):
            async def on_request(self, request: Request) -> Response | None:
                try:
                    session = request.cookies.get("session", "-")
                    found = await self.mesh.get("users", f"/by-session/{session}", timeout=0.2)
                except CallFailed as error:
                    self.log.warning("users: %s", error)
                    return Response(503, text="try again\\n")
                if found.status != 200:
                    return Response(401)
                request.headers["x-user"] = found.json()["name"]

    No filters see them. `timeout` is in seconds, from the call to the whole answer; `limit` is how many bytes the
    answer may have. Without an answer `CallFailed` is raised; any status that an upstream gives is an answer. In an
    isolated filter the worker beside it makes them, in a phase and in tasks of the filter's own alike.
    """

    async def get(self, cluster: str, path: str, *, headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
                  timeout: float = TIMEOUT, limit: int = LIMIT) -> Reply:
        """As `request`."""
        return await self.request("GET", cluster, path, headers=headers, timeout=timeout, limit=limit)

    async def post(self, cluster: str, path: str, *, body: bytes | str = b"", json: Any = None,
                   headers: Mapping[str, str] | Iterable[tuple[str, str]] = (), timeout: float = TIMEOUT,
                   limit: int = LIMIT) -> Reply:
        """As `request`."""
        return await self.request("POST", cluster, path, body=body, json=json, headers=headers, timeout=timeout,
                                  limit=limit)

    async def request(self, method: str, cluster: str, path: str, *, body: bytes | str = b"", json: Any = None,
                      headers: Mapping[str, str] | Iterable[tuple[str, str]] = (), timeout: float = TIMEOUT,
                      limit: int = LIMIT) -> Reply:
        """Sends a request and returns its answer. `json` is written in place of `body`, with a Content-Type; Host is
        the cluster's name unless it is among `headers`. Raises CallFailed; ValueError for what cannot stand in a
        request; HeaderError."""
        if not method or not set(method) <= TOKEN:
            raise ValueError(f"{method!r} is no method")
        if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path or "#" in path:
            raise ValueError(f"{path!r} cannot stand in a request line: it begins with '/' and has visible ASCII "
                             "characters, others percent-encoded (urllib.parse.quote)")
        if not 0 < timeout <= 86400:
            raise ValueError(f"a timeout of {timeout!r} s: more than 0 and at most 86400 is allowed")
        data = body.encode() if isinstance(body, str) else bytes(body)
        kind = None
        if json is not None:
            from json import dumps

            data = dumps(json, separators=(",", ":"), ensure_ascii=False).encode()
            kind = "application/json"
        # Names and values are checked where every filter's are.
        from fastmesh._core.filter.view import Headers

        fields = Headers(headers)
        if "host" not in fields:
            fields.add("host", cluster)
        if kind is not None and "content-type" not in fields:
            fields.add("content-type", kind)
        return await self._call(method, cluster, path, fields, data, timeout, limit)

    async def _call(self, method: str, cluster: str, path: str, fields: Headers, body: bytes, timeout: float,
                    limit: int) -> Reply:
        """Everything has been checked."""
        head = _head(method, path, fields, len(body))
        return Reply(*await Call(cluster, method.encode(), head, body, timeout, limit))


def _head(method: str, path: str, fields: Headers, size: int) -> bytes:
    lines = [f"{method} {path} HTTP/1.1\r\n".encode()]
    for name, value in fields.fields():
        lines.append(f"{name}: ".encode() + value.encode("utf-8") + b"\r\n")
    if size or method in ("POST", "PUT", "PATCH"):
        lines.append(f"content-length: {size}\r\n".encode())
    return b"".join(lines) + b"\r\n"
