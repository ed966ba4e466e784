"""For fastmesh."""

from time import perf_counter_ns

from fastmesh import Filter, Request, Response


class Mark(Filter):
    header: str = "x-mark-1"

    def on_request(self, request: Request) -> None:
        headers = request.headers
        headers[self.header] = f"{headers.get('x-user', '-')}/{headers.get('x-team', '-')}"


class MarkAsync(Filter):
    """The same in a coroutine that waits for nothing."""

    header: str = "x-mark-1"

    async def on_request(self, request: Request) -> None:
        headers = request.headers
        headers[self.header] = f"{headers.get('x-user', '-')}/{headers.get('x-team', '-')}"


class Answer(Filter):
    def on_response(self, request: Request, response: Response) -> None:
        response.headers["x-answer"] = response.headers.get("content-type", "-")


class Look(Filter):
    changes_body = False

    def start(self) -> None:
        self.seen = 0

    def on_response_chunk(self, request: Request, response: Response, chunk: bytes, last: bool) -> None:
        self.seen += len(chunk)


class Compute(Filter):
    """Takes the processor for so long, without waiting for anything."""

    seconds: float = 0.002

    def on_request(self, request: Request) -> None:
        end = perf_counter_ns() + int(self.seconds * 1e9)
        while perf_counter_ns() < end:
            pass
