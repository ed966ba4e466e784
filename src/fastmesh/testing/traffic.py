"""The clients and the upstreams around a kit's worker."""

from __future__ import annotations

from fastmesh._core.play.stage import Line, Stage
from fastmesh.testing.message import Incomplete, read
from fastmesh.testing.reply import Reply
from fastmesh.testing.talk import Talk, feed
from fastmesh.testing.upstream import Answer, Asked, Cluster
from fastmesh.testing.wiring import SECOND

PATIENCE = 600 * SECOND         # of the kit's clock, for an answer that is waited for
TURNS_MOST = 1_000_000          # of one settling: beyond it, something turns in circles


class Traffic:
    """What clients and upstreams do about what they have got, and what is due later.

    Each client comes on a connection of its own, and from a port by which a filter's exchange is known again.
    """

    clusters: dict[str, Cluster]
    """By name, in the order in which they were made."""
    open: list[Reply]
    """Exchanges whose connection is open. What filters log and raise belongs to the last one."""

    def __init__(self, stage: Stage) -> None:
        self.clusters = {}
        self.open = []
        self._stage = stage
        self._by_port: dict[int, Reply] = {}
        self._asked_as: dict[str, Asked] = {}       # x-request-id → the request as an upstream saw it
        self._talks: list[Talk] = []
        self._due: list[tuple[int, Line, list[bytes]]] = []
        self._ports = 40_000

    # --- an exchange ---------------------------------------------------------------------------------------------

    def visit(self, peer: str) -> Line:
        """A client's new connection."""
        for talk in self._talks:
            if talk.cluster.will_fail:
                talk.line.end()     # a failure of a connection that was used before is not held against the endpoint
        self.settle()
        self._ports = self._ports + 1 if self._ports < 65_535 else 40_001
        self._stage.door.visit(f"[{peer}]:{self._ports}" if ":" in peer else f"{peer}:{self._ports}")
        while not self._stage.guests:
            self._stage.turn()
            if not self._stage.guests and not self._stage.is_busy:
                raise RuntimeError(f"nobody was accepted: is {peer!r} an IP address?")
        return self._stage.guests.pop()

    def begin(self, reply: Reply) -> None:
        """The client that came last sends its request, and what happens without time passing happens."""
        reply._begun_ns = self._stage.now_ns
        self.open.append(reply)
        self._by_port[self._ports] = reply
        for piece in reply.sent.pieces:
            reply._line.feed(piece)
        self.settle()

    def finish(self, reply: Reply) -> bool:
        """Waits for the answer. False when it did not come: the client has left then."""
        until = self._stage.now_ns + PATIENCE
        while not reply.is_complete:
            if self._stage.now_ns >= until:
                reply._line.reset()
                self.settle()
                return False
            self.wait(until - self._stage.now_ns)
        return True

    def at_port(self, port: int) -> Reply | None:
        """The exchange whose client has this port."""
        return self._by_port.get(port)

    def asked_as(self, request_id: str) -> Asked | None:
        """The request with this x-request-id, as the last upstream saw it."""
        return self._asked_as.get(request_id)

    def leave(self) -> None:
        """All clients and all upstreams are gone."""
        for reply in self.open:
            reply._line.reset()
        self.settle()
        for talk in self._talks:
            talk.line.reset()
        self._due.clear()

    def refuse(self) -> None:
        """No endpoint takes the connections that the worker has begun."""
        for line in self._stage.connects:
            line.connected(is_refused=True)
        self._stage.connects.clear()

    def forget(self) -> None:
        """The worker is gone, and the exchanges with it."""
        self.open.clear()
        self._by_port.clear()

    # --- time ----------------------------------------------------------------------------------------------------

    def pass_time(self, ns: int) -> None:
        until = self._stage.now_ns + ns
        self.settle()
        while self._stage.now_ns < until:
            self.wait(until - self._stage.now_ns)

    def wait(self, most_ns: int) -> None:
        """Until the next thing that is due, at most so long."""
        for due, _, _ in self._due:
            most_ns = min(most_ns, max(0, due - self._stage.now_ns))
        self._stage.wait(most_ns)
        now = self._stage.now_ns
        for late in [late for late in self._due if late[0] <= now]:
            self._due.remove(late)
            feed(late[1], late[2])
        self.settle()

    def settle(self) -> None:
        """Turns until nothing more happens without time passing."""
        for _ in range(TURNS_MOST):
            self._stage.turn()
            if not self._serve() and not self._stage.is_busy:
                return
        raise RuntimeError(f"{TURNS_MOST} turns of the worker, and it has not come to rest")

    def _serve(self) -> bool:
        """What upstreams and clients do about what they have got. True when one of them did something."""
        moved = False
        for line in self._stage.connects:
            cluster = next((c for c in self.clusters.values() if line.peer in c.endpoints), None)
            what = cluster.connects() if cluster is not None else "connect_failure"
            if what != "connect_timeout":
                line.connected(is_refused=bool(what))
                moved = True
            if cluster is not None and not what:
                self._talks.append(Talk(line, cluster))
        self._stage.connects.clear()
        for talk in list(self._talks):
            asked = talk.listen()
            if asked is not None:
                moved = True
                self._take_request(talk, asked)
            if talk.line.is_closed:
                self._talks.remove(talk)
        for reply in list(self.open):
            if self._hear(reply):
                moved = True
        return moved

    def _take_request(self, talk: Talk, asked: Asked) -> None:
        for reply in self.open[-1:]:
            reply.requests.append(asked)
            reply.upstream = asked
        name = asked.headers.get("x-request-id")
        if name is not None:
            self._asked_as[name] = asked
        what = talk.cluster.asked(asked)
        if isinstance(what, Answer):
            pieces = what.pieces(asked.method)
            if what.after > 0:
                self._due.append((self._stage.now_ns + round(what.after * SECOND), talk.line, pieces))
            else:
                feed(talk.line, pieces)
        elif what == "reset":
            talk.line.reset()
        elif what == "protocol":
            talk.line.feed(b"what is this?\r\n\r\n")
        elif what == "cut":
            talk.line.feed(b"HTTP/1.1 200 Answer\r\ncontent-length: 10\r\n\r\nhalf")
            talk.line.end()

    def _hear(self, reply: Reply) -> bool:
        """Reads what the client has got. True when the exchange is over by that."""
        line = reply._line
        reply._received += line.take()
        while reply._answer is None and reply._received:
            try:
                message, n = read(reply._received, is_over=line.is_closed or line.is_shut,
                                  to_head=reply.sent.method == "HEAD")
            except Incomplete:
                break
            if message.status >= 200:
                reply._answer = message
                reply._ended_ns = self._stage.now_ns
                line.end()
            else:
                reply.interim.append(message)
                reply._received = reply._received[n:]
        if line.is_closed:
            self.open.remove(reply)
            self._by_port = {port: other for port, other in self._by_port.items() if other is not reply}
            if not self.open:
                self._asked_as.clear()
            return True
        return False
