from fastmesh._core.filter.view import Headers, Wait

class CallFailed(Exception):
    status: int
    reason: str
    def __init__(self, status: int, reason: str, message: str) -> None: ...

class Call(Wait[tuple[int, Headers, bytes]]):
    def __init__(self, cluster: str, method: bytes, head: bytes, body: bytes, timeout: float, limit: int) -> None: ...
