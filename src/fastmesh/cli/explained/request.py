"""The request that is asked about."""

import argparse
import random
from urllib.parse import urlsplit

_IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")      # RFC 9110 section 9.2.2


class Unclear(Exception):
    """The command line does not say enough; the text does."""


class Request:
    """The request that is asked about."""

    def __init__(self, method: str, authority: str, target: str, source: str = "127.0.0.1",
                 listener: str | None = None, port: int | None = None, seed: int = 0) -> None:
        self.method = method
        self.authority = authority
        self.target = target
        self.source = source
        self.listener = listener
        self.port = port
        self.draw = random.Random(seed).getrandbits(64)
        self.fields: list[tuple[str, str]] = []
        self.has_fields = True      # False where those that it had are not known
        self.matched = method       # the method that it is matched with: of a preflight the one that it asks about

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Request":
        """That of a command line. Raises Unclear."""
        authority, target = split_url(args.url)
        request = cls(args.method, authority, target, args.source, args.listener, _port(args.url, authority), args.seed)
        for text in args.header:
            header, colon, value = text.partition(":")
            if not colon or not header.strip():
                raise Unclear(f"found the header {text!r}\n  to do: write it as 'name: value'")
            request.fields.append((header.strip(), value.strip()))
            if header.strip().lower() == "host":
                request.authority = value.strip()
        return request

    def head(self) -> bytes:
        """As a client would send it."""
        own = [] if any(name.lower() == "host" for name, _ in self.fields) else [("host", self.authority)]
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in (*own, *self.fields))]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")

    def is_safe(self) -> bool:
        """It may be sent twice."""
        return self.method in _IDEMPOTENT

    def is_retry(self) -> bool:
        """It says that it is another proxy's further attempt."""
        return any(name.lower() == "x-envoy-attempt-count" and value.isdigit() and int(value) > 1
                   for name, value in self.fields)

    def peer(self) -> str:
        """Its address, as sockets have it."""
        if self.source == "unix":
            return "unix:/client"
        return f"[{self.source}]:1" if ":" in self.source else f"{self.source}:1"


def split_url(url: str) -> tuple[str, str]:
    """Host, which a path alone does not have, and the rest."""
    url = url.partition("#")[0]
    if url.startswith("/") or url == "*":
        return "", url
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return parts.netloc, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _port(url: str, netloc: str) -> int | None:
    try:
        return urlsplit(f"//{netloc}").port
    except ValueError:
        raise Unclear(f"found the URL {url!r}\n  to do: write it as http://host:port/path") from None
