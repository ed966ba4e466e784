"""A new connection for every request: what accepting, closing and all that belongs to a connection costs."""

from bench.scenarios.small_requests import SmallRequests


class H1Connect(SmallRequests):
    name = "h1-connect"
    title = "HTTP/1.1, a new connection for each request"
    # The proxy closes after its answer, and keeps its own connections to the origin.
    headers = ("Connection: close",)
