"""Routing in Python: which cluster answers."""

from zlib import crc32

from fastmesh import Filter, Request, Share


class Canary(Filter):
    """Sends a share of the visitors to another cluster, the same ones each time.

    Who they are is decided by a hash of the session cookie, or of the address: nothing is stored, and every worker
    of every machine decides alike. (The built-in `canary` does it with a cookie of its own.)
    """

    to: str
    share: Share = 0.05                     # 5% in the configuration
    cookie: str = "sid"
    salt: str = "canary"                    # another salt draws others

    def on_route(self, request: Request) -> None:
        visitor = request.cookies.get(self.cookie) or request.peer
        if crc32(f"{self.salt}/{visitor}".encode()) < self.share * 2**32:
            request.cluster = self.to
            request.labels["canary"] = self.to
