"""No body is larger than this."""

from fastmesh import Filter, Request, Response, Size


class BodyLimit(Filter):
    """Refuses requests whose body is larger than `limit` with 413: by Content-Length before anything is sent
    upstream, else as soon as more has come."""

    security = True
    changes_body = False

    limit: Size = 1 << 20

    def on_request(self, request: Request) -> Response | None:
        length = request.content_length
        if length is not None and length > self.limit:
            return self.refused()
        return None

    def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> Response | None:
        come = request.state.get(self.name, 0) + len(chunk)
        request.state[self.name] = come
        return self.refused() if come > self.limit else None

    def refused(self) -> Response:
        return Response(413, text=f"the body is larger than {self.limit} bytes\n")
