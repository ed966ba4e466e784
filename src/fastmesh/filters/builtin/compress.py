"""Answers made smaller on their way to the client."""

import zlib
from collections.abc import Callable

from fastmesh import Filter, Request, Response, Size


class Coder:
    """A compression of one body, as it goes: `piece` takes bytes, `flush` gives what is held, `end` what is left."""

    __slots__ = ("end", "flush", "piece")

    def __init__(self, piece: Callable[[bytes], bytes], flush: Callable[[], bytes], end: Callable[[], bytes]) -> None:
        self.piece, self.flush, self.end = piece, flush, end


def gzip(level: int) -> Coder:
    made = zlib.compressobj(level, zlib.DEFLATED, 31)
    return Coder(made.compress, lambda: made.flush(zlib.Z_SYNC_FLUSH), made.flush)


def brotli(level: int) -> Coder:
    from brotli import Compressor
    made = Compressor(quality=level)
    return Coder(made.process, made.flush, made.finish)


def zstd(level: int) -> Coder:
    from zstandard import COMPRESSOBJ_FLUSH_BLOCK, ZstdCompressor
    made = ZstdCompressor(level=level).compressobj()
    return Coder(made.compress, lambda: made.flush(COMPRESSOBJ_FLUSH_BLOCK), made.flush)


CODERS: dict[str, tuple[Callable[[int], Coder], int]] = {"gzip": (gzip, 5), "br": (brotli, 4), "zstd": (zstd, 3)}
LEVELS = {"gzip": 9, "br": 11, "zstd": 19}
NO_BODY = (101, 204, 206, 304)               # 206: a range of the plain body is no range of the compressed one


class Compress(Filter):
    """Compresses answers for clients that accept it, piece by piece, without collecting them.

    Left as they are: what is encoded already, smaller than `min_size`, of other types than `types`, ranges, and what
    says `Cache-Control: no-transform`. Each piece of an event stream is flushed. `br` needs the package brotli, `zstd`
    zstandard: `pip install 'fastmesh[compression]'`. An answer that mixes a secret with text of a stranger's choice
    gives the secret away by its size when it is compressed: leave such routes without this filter.
    """

    budget = "20ms"                     # 64 KiB take a millisecond or two

    encodings: tuple[str, ...] = ("gzip",)      # the first that a client likes best
    level: int = 0                      # 0: what suits answers that are made for each request
    min_size: Size = 1024
    types: tuple[str, ...] = ("text/*", "application/json", "application/javascript", "application/xml",
                              "application/wasm", "image/svg+xml", "*+json", "*+xml")

    def start(self) -> None:
        for encoding in self.encodings:
            if encoding not in CODERS:
                raise ValueError(f"encodings: there is no {encoding!r}; allowed: {', '.join(CODERS)}")
            if not 0 <= self.level <= LEVELS[encoding]:
                raise ValueError(f"level: {self.level} is none of {encoding}, allowed: 0 to {LEVELS[encoding]}")
            try:
                self.coder_for(encoding)
            except ImportError as missing:
                raise ValueError(f"encodings: {encoding} needs a package that is not installed ({missing.name}): "
                                 "pip install 'fastmesh[compression]'") from None

    def coder_for(self, encoding: str) -> Coder:
        make, usual = CODERS[encoding]
        return make(self.level or usual)

    def on_request(self, request: Request) -> None:
        # A filter behind this one may have reasons to ask the upstream for something else.
        request.state[self.name] = request.headers.get("accept-encoding", "")

    def on_response(self, request: Request, response: Response) -> None:
        headers = response.headers
        accepted: str = request.state.pop(self.name, "")
        if not self.is_worth_it(request, response):
            return
        add_vary(headers.get_all("vary"), response)
        encoding = best(accepted, self.encodings)
        if encoding is None:
            return
        headers["content-encoding"] = encoding
        for name in ("accept-ranges", "content-md5", "digest", "repr-digest", "content-digest"):
            headers.discard(name)
        tag = headers.get("etag")
        if tag is not None and not tag.startswith("W/"):
            headers["etag"] = f"W/{tag}"
        if request.method != "HEAD":
            stream = headers.get("content-type", "").startswith("text/event-stream")
            request.state[self.name] = self.coder_for(encoding), stream

    def is_worth_it(self, request: Request, response: Response) -> bool:
        headers = response.headers
        # An answer of the proxy's own has no body phases.
        if response.is_local or response.status in NO_BODY or "content-encoding" in headers:
            return False
        length = headers.get("content-length")
        if length is not None and length.isdigit() and int(length) < self.min_size:
            return False
        if "no-transform" in headers.get("cache-control", "").lower():
            return False
        return is_one_of(headers.get("content-type", "").partition(";")[0].strip().lower(), self.types)

    def on_response_chunk(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes | None:
        found: tuple[Coder, bool] | None = request.state.get(self.name)
        if found is None:
            return None
        coder, stream = found
        made = coder.piece(chunk) if chunk else b""
        if last:
            return made + coder.end()
        return made + coder.flush() if stream and chunk else made


def is_one_of(kind: str, types: tuple[str, ...]) -> bool:
    for allowed in types:
        if allowed == kind or (allowed.endswith("/*") and kind.startswith(allowed[:-1])) or (
                allowed.startswith("*+") and kind.endswith(allowed[1:])):
            return True
    return False


def best(accepted: str, offered: tuple[str, ...]) -> str | None:
    """The encoding that a client likes best, of equals the first that is offered; None for none."""
    liked: dict[str, float] = {}
    for word in accepted.lower().split(",")[:32]:
        name, *parameters = (part.strip() for part in word.split(";"))
        value = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    value = min(1.0, max(0.0, float(parameter[2:])))
                except ValueError:
                    value = 0.0
        if name:
            liked["gzip" if name == "x-gzip" else name] = value if value == value else 0.0
    chosen, most = None, liked.get("identity", 0.0)
    for encoding in offered:
        value = liked.get(encoding, liked.get("*", 0.0))
        if value > 0 and (value > most or (value == most and chosen is None)):
            chosen, most = encoding, value
    return chosen


def add_vary(there: list[str], response: Response) -> None:
    """Caches keep one answer for each value of Accept-Encoding, from the one that is not compressed, too."""
    words = [word.strip().lower() for field in there for word in field.split(",")]
    if "accept-encoding" not in words and "*" not in words:
        response.headers.add("vary", "Accept-Encoding")
