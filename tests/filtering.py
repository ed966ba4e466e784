"""One filter on a real stream, with no sockets: for tests of filters that are made by hand, without a configuration.

`make` makes a filter as a worker does; `run` sends one request through it and says what each side saw. `Stand` is for
tests in which more than one thing happens.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from playbook.play import Client, Play, Upstream

from fastmesh import Filter, Headers, Outcome, Request, Response, Signal
from fastmesh.filters.metrics import Metrics, detach

Fields = Mapping[str, str] | Iterable[tuple[str, str]]
_numbers = iter(range(1, 1_000_000))


# A process keeps a spare descriptor from its first listener on: it is none that is left behind.
Play("ready").start().abandon()


class Journal:
    """What a filter logs."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)

    warning = error = debug = info


class FakeMesh:
    """Answers calls with these replies in turn, the last one again and again. One that is an exception is raised."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[str, str]] = []
        self.told: list[Any] = []
        self.hold: Signal[None] | None = None       # the next call waits for it

    async def get(self, cluster: str, path: str, **more: Any) -> Any:
        self.asked.append((cluster, path))
        self.told.append(more.get("json"))
        hold, self.hold = self.hold, None
        if hold is not None:
            await hold
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    post = get


class Reply:
    """What a cluster answers; `body`: bytes, or what `json` gives."""

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.body = body

    def json(self) -> Any:
        if not isinstance(self.body, bytes):
            return self.body
        from json import loads
        return loads(self.body)


def make(filter_class: type[Filter], *, mesh: FakeMesh | None = None, name: str = "", **settings: Any) -> Any:
    """A started filter with these settings. Its metrics begin anew."""
    made = filter_class()
    made.name = name or f"{filter_class.__name__}-{next(_numbers)}"
    made.log = Journal()  # type: ignore[assignment]
    detach()
    made.metrics = Metrics(made.name)
    made.mesh = mesh  # type: ignore[assignment]
    for field, value in settings.items():
        setattr(made, field, value)
    made.start()
    return made


class Watch(Filter):
    """Stands in front of the filter: gives labels, and keeps what is to be looked at."""

    def __init__(self, seen: SimpleNamespace, labels: Mapping[str, str]) -> None:
        self.seen, self.given = seen, labels

    def on_request(self, request: Request) -> None:
        for name, value in self.given.items():
            request.labels[name] = value

    def on_complete(self, request: Request, outcome: Outcome) -> None:
        self.seen.labels = dict(request.labels)
        self.seen.cluster, self.seen.timeout = request.cluster, request.timeout
        self.seen.id, self.seen.peer, self.seen.state = request.id, request.peer, dict(request.state)
        self.seen.outcome = outcome


class Stand:
    """A filter at the route of a worker, and the test as its clients and upstream `a`."""

    def __init__(self, made: Filter, *, labels: Mapping[str, str] | None = None, clusters: Iterable[str] = (),
                 endpoints: Iterable[str] = ("a",), timeout: str | int = 0) -> None:
        self.seen = SimpleNamespace()
        self.play = Play("ready")
        self.play.endpoints(*endpoints)
        for cluster in clusters:
            self.play.cluster(cluster).endpoints("b", cluster=cluster)
        self.play.route("/", to="x", timeout=timeout)
        kind = type(made)
        policy = kind.on_error or ("closed" if kind.security else "open")
        self.play.filter(Watch(self.seen, labels or {}), budget_ns=60 * 10**9)
        self.play.filter(made, on_error=policy, changes_body=kind.changes_body, budget_ns=60 * 10**9,
                         body_limit=1 << 20)

    def asks(self, method: str = "GET", target: str = "/", headers: Fields = (), peer: str = "127.0.0.1",
             body: bytes = b"", chunks: Iterable[bytes] | None = None) -> Client:
        """A client connects and sends a request; `chunks`: its body in pieces."""
        fields = list(headers.items() if isinstance(headers, Mapping) else headers)
        names = {name.lower() for name, _ in fields}
        if "host" not in names:
            fields.insert(0, ("host", "test"))
        if chunks is not None:
            fields.append(("transfer-encoding", "chunked"))
        elif body and "content-length" not in names:
            fields.append(("content-length", str(len(body))))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
        client = self.play.client(f"[{peer}]:4000" if ":" in peer else f"{peer}:4000")
        client.sends("\r\n".join(lines).encode() + body)
        for chunk in chunks or ():
            if chunk and not client.is_closed:
                client.sends(framed(chunk))
        if chunks is not None and not client.is_closed:
            client.sends(b"0\r\n\r\n")
        return client

    @contextmanager
    def open(self, *, is_brief: bool = False) -> Iterator["Stand"]:
        """At the end everybody leaves, and nothing may be left of them; looking for that takes as long as everything
        else, so those who open many are brief."""
        try:
            self.play.start()
            yield self
        except BaseException:
            self.play.abandon()
            raise
        if is_brief:
            self.play.abandon()
        else:
            self.play.end()


def framed(chunk: bytes) -> bytes:
    """A piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(chunk), chunk)


def answers(up: Upstream, answer: Response, chunks: Iterable[bytes] | None, *, is_head: bool = False) -> list[bytes]:
    """The upstream answers, in one piece or in these. What the client got with each of them."""
    fields = [(name, value) for name, value in answer.headers.fields() if name.lower() != "content-length"]
    head = "".join([f"HTTP/1.1 {answer.status} Said\r\n", *(f"{name}: {value}\r\n" for name, value in fields)])
    if chunks is None or is_head or answer.status in (204, 304):
        body = answer.body or b""
        up.sends(f"{head}content-length: {len(body)}\r\n\r\n".encode() + (b"" if is_head else body))
        return []
    client = up.play.peers[-1].socket
    up.sends(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
    pieces = []
    for chunk in chunks:
        before = len(unframed(bytes(client.wire)))
        if chunk and not up.is_closed:
            up.sends(framed(chunk))
        pieces.append(unframed(bytes(client.wire))[before:])
    if not up.is_closed:
        up.sends(b"0\r\n\r\n")
    return pieces


def unframed(wire: bytes) -> bytes:
    """What has come of a chunked body."""
    body = b""
    _, _, rest = wire.partition(b"\r\n\r\n")
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[:int(size, 16)]
        rest = rest[int(size, 16) + 2:]
    return body


def run(made: Filter, method: str = "GET", target: str = "/", headers: Fields = (), *, peer: str = "127.0.0.1",
        body: bytes = b"", sent: Iterable[bytes] | None = None, answer: Response | None = None,
        chunks: Iterable[bytes] | None = None, labels: Mapping[str, str] | None = None, clusters: Iterable[str] = (),
        pause: str = "", fails: bool = False) -> SimpleNamespace:
    """One exchange. `sent`: the request's body in pieces, `chunks`: the answer's.

    Of the result, `status`, `headers` and `body` are what the client got, `upstream` says whether the upstream was
    asked, and `request` is what it got. `fails`: the filter may raise, and `failures` holds how.
    """
    with Stand(made, labels=labels, clusters=clusters).open(is_brief=True) as stand:
        play, seen = stand.play, stand.seen
        client = stand.asks(method, target, headers, peer, body, sent)
        seen.waited = False
        if pause:
            seen.waited = play.fresh() is None
            play.pass_time(pause)
        seen.upstream = play.fresh() is not None
        seen.request = SimpleNamespace(headers=None)
        if seen.upstream:
            up = play.connect()
            if up.unseen.endswith(b"\r\n\r\n") or body or sent is not None:
                data = bytes(up.socket.wire)
                head, _, seen.request.body = data.partition(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                seen.line = lines[0]
                pairs = (line.split(": ", 1) for line in lines[1:])
                seen.request.headers = Fielded([(name, value) for name, value in pairs])
            if not up.is_closed and not client.unseen:
                seen.pieces = answers(up, answer or Response(200, text="hello"), chunks, is_head=method == "HEAD")
        message = client.expect_answer(has_body=method != "HEAD")
        seen.status, seen.body, seen.length = message.status, message.body, message["content-length"]
        seen.headers = Fielded(message.fields)
        seen.failures = [text for what, _, text in play.reports if what == "error"]
        if not fails:
            assert play.reports == [], play.reports
        client.resets()
        seen.request.id, seen.request.peer, seen.request.state = seen.id, seen.peer, seen.state
        return seen


class Fielded:
    """Header fields as one of the two sides got them."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self.fields = fields

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str, default: str | None = None) -> str | None:
        found = self.get_all(name)
        return found[0] if found else default

    def __getitem__(self, name: str) -> str:
        return self.get_all(name)[0]

    def __contains__(self, name: str) -> bool:
        return bool(self.get_all(name))


def finished(made: Filter, *, target: str = "/", headers: Fields = (), labels: Mapping[str, str] | None = None,
             status: int = 200, duration: float = 0.0, sent: int = 0) -> None:
    """An exchange from its beginning to its end. Status 0: the client leaves before the answer."""
    with Stand(made, labels=labels).open(is_brief=True) as stand:
        client = stand.asks("GET", target, headers)
        if stand.play.fresh() is not None:
            up = stand.play.connect()
            if duration:
                stand.play.pass_time(round(duration * 10**9))
            if status == 0:
                client.resets()
            else:
                answers(up, Response(status, body=b"x" * sent if status not in (204, 304) else None), None)
        assert stand.play.reports == [], stand.play.reports


def asked_again(policy: Any, *, method: str = "GET", target: str = "/", timeout: float | None = None,
                elapsed: float = 0.0, reason: str = "connect_failure", attempt: int = 1,
                may_repeat: bool = True) -> bool | None:
    """What a policy says about an attempt that failed so."""
    request = SimpleNamespace(method=method, path=target, timeout=timeout, elapsed=elapsed, headers=Headers())
    error = SimpleNamespace(reason=reason, attempt=attempt, may_repeat=may_repeat, message="", endpoint="10.0.0.1:80")
    found: bool | None = policy.on_upstream_error(request, error)
    return found
