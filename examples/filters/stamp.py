"""The smallest useful filter: one header on the way in, one less on the way out."""

from fastmesh import Filter, Request, Response


class Stamp(Filter):
    """Says upstream which edge a request came through, and does not say what the upstream runs on."""

    edge: str = "fm"

    def on_request(self, request: Request) -> None:
        request.headers.setdefault("x-edge", self.edge)

    def on_response(self, request: Request, response: Response) -> None:
        response.headers.discard("server")
