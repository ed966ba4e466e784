"""A body changed while it streams, in bounded memory, however it is cut into pieces."""

from collections.abc import AsyncIterator

from fastmesh import Filter, Request, Response


class Redact(Filter):
    """Puts stars in place of a word in every answer.

    A word may begin in one piece and end in the next. So what could be the beginning of one is kept: at most one byte
    less than the word is long. (The built-in `redact` knows patterns.)
    """

    word: str = "password="

    def start(self) -> None:
        self.find = self.word.encode()
        self.cover = b"*" * len(self.find)

    def on_request(self, request: Request) -> None:
        request.headers["accept-encoding"] = "identity"     # nobody can read in a compressed body

    async def on_response_stream(self, request: Request, response: Response,
                                 chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        keep = b""
        async for chunk in chunks:
            text = (keep + chunk).replace(self.find, self.cover)
            # How much of the end might be the beginning of the word? Often nothing.
            size = next((n for n in range(len(self.find) - 1, 0, -1) if text.endswith(self.find[:n])), 0)
            keep = text[len(text) - size:]
            if out := text[:len(text) - size]:
                yield out
        if keep:
            yield keep
