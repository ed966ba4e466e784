"""One name for a request, wherever it is written down."""

from fastmesh import Filter, Request, Response

# A client's own id ends in logs and headers of others: nothing but what stands in ids.
SANE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:+/=")
LONGEST = 128


class RequestId(Filter):
    """Gives every request an id under a header of your choice, upstream and in the answer.

    The id is the proxy's own, that of the access log, unless a client brings one and is believed.
    """

    header: str = "x-request-id"
    accept: bool = False            # believe an id that the client sends
    answer: bool = True             # say it in the answer, too

    def start(self) -> None:
        if not self.header:
            raise ValueError("header: the name is empty; write the name of a header, such as x-request-id")

    def on_request(self, request: Request) -> None:
        theirs = request.headers.get(self.header) if self.accept else None
        if theirs and len(theirs) <= LONGEST and SANE.issuperset(theirs):
            chosen = theirs
        else:
            chosen = request.id
        # Set in any case: what a filter has set goes upstream, while x-request-id of a stranger would be replaced.
        request.headers[self.header] = chosen
        request.state["request_id"] = chosen
        if chosen != request.id:
            request.labels["request_id"] = chosen

    def on_response(self, request: Request, response: Response) -> None:
        if self.answer:
            response.headers[self.header] = request.state.get("request_id", request.id)
