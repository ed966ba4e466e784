"""What is said on a connection to an endpoint."""

from __future__ import annotations

from fastmesh._core.play.stage import Line
from fastmesh.testing.message import Incomplete, read
from fastmesh.testing.upstream import Asked, Cluster


class Talk:
    """A connection to an endpoint."""

    def __init__(self, line: Line, cluster: Cluster) -> None:
        self.line = line
        self.cluster = cluster
        self.unread = b""

    def listen(self) -> Asked | None:
        """A request that is there."""
        more = self.line.take()
        if not more:
            return None
        self.unread += more
        try:
            message, n = read(self.unread, is_over=False)
        except Incomplete:
            return None
        self.unread = self.unread[n:]
        return Asked(message, self.cluster.name, self.line.peer, self.cluster.metadata_of(self.line.peer))


def feed(line: Line, pieces: list[bytes]) -> None:
    for piece in pieces:
        line.feed(piece)
