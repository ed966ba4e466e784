from fastmesh._core.filter.view import Headers, Wait

class CallFailed(Exception):
    """A call got no answer: its cluster has no endpoint, the connection failed, it took too long, or it was too large.
    The text says which."""

    status: int
    """What a client would have been answered with: 503, 504 and so on."""
    reason: str
    """Envoy's response code details, as `no_healthy_upstream`."""
    def __init__(self, status: int, reason: str, message: str) -> None: ...

class Call(Wait[tuple[int, Headers, bytes]]):
    def __init__(self, cluster: str, method: bytes, head: bytes, body: bytes, timeout: float, limit: int) -> None: ...
