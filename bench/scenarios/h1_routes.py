"""A hundred routes by path, asked for in turn."""

from bench.peers import Service
from bench.scenarios.small_requests import SmallRequests


class H1Routes(SmallRequests):
    name = "h1-routes"
    title = "HTTP/1.1 keep-alive, a hundred routes by path"
    service = Service("http", routes=101)  # with the one for everything else
