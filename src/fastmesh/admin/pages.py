"""What the admin server answers: one function per path."""

import json
from collections.abc import Iterator
from typing import Any, Protocol
from urllib.parse import parse_qsl

from fastmesh.admin.server import JSON, Request, Response, plain
from fastmesh.observe import prometheus
from fastmesh.observe.prometheus import Scene

PAGES = (
    ("GET", "/ready", "200 once every listener accepts and a snapshot is live, else 503 and why"),
    ("GET", "/live", "200 while the control process runs"),
    ("GET", "/metrics", "Prometheus text"),
    ("GET", "/stats", "all numbers, JSON"),
    ("GET", "/config", "the live configuration as it is understood, JSON"),
    ("GET", "/clusters", "endpoints with health, weights as configured and in force, load and latency, and the policy "
                         "that finds them, JSON"),
    ("GET", "/filters", "filters with their phases, calls, times, errors and state, JSON"),
    ("GET", "/workers", "worker processes and the snapshot each serves, JSON"),
    ("GET", "/events", "the last 1,000 events of filters and discovery: errors, changes, what they log, JSON"),
    ("POST", "/explain", "wait for the next request that is as ?listener=, method=, path=, host=, header=NAME:VALUE "
                         "say, for seconds= at most, and tell what becomes of it and why, JSON"),
    ("POST", "/reload", "read the configuration file again; 400 and what is wrong when it cannot be used"),
    ("POST", "/workers/{slot}/replace", "put a new worker into a slot, the old one drains"),
    ("POST", "/drain", "stop accepting, finish what is in flight, exit"),
)


MAX_WAIT = 300              # seconds for a request to come
# How long what is asked for may be: more than a worker compares.
MOST_WANTED = {"listener": 127, "method": 64, "path": 8192, "host": 255}


class Proxy(Protocol):
    """What the pages need of the control process."""

    name: str

    def why_not_ready(self) -> str | None: ...
    def scene(self) -> Scene: ...
    def config(self) -> bytes: ...
    def stats(self) -> dict[str, Any]: ...
    def workers(self) -> list[dict[str, Any]]: ...
    def clusters(self) -> Iterator[dict[str, Any]]: ...
    def events(self) -> Iterator[dict[str, Any]]: ...
    def filters(self) -> dict[str, Any]: ...
    async def reload(self) -> tuple[bool, dict[str, Any], str]:
        """Whether it is live; what it took; what was wrong, for people."""
    async def explain(self, wanted: dict[str, str], seconds: float) -> dict[str, Any] | None:
        """What became of the next such request; None when there was none. Raises RuntimeError when too many wait."""
    async def replace(self, slot: int) -> dict[str, Any]:
        """Raises LookupError for a slot that is not, RuntimeError when the new worker did not come up."""
    def drain(self) -> dict[str, Any]: ...


class Pages:
    """Answers requests about one proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy

    async def answer(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        if request.path == "/":
            return self.index(request) if method == "GET" else _not_allowed("GET")
        segments = request.segments
        if len(segments) == 3 and segments[0] == "workers" and segments[2] == "replace":
            return await self.replace(segments[1]) if method == "POST" else _not_allowed("POST")
        page = getattr(self, f"page_{segments[0]}", None) if len(segments) == 1 else None
        if page is None:
            return plain(404, "no such page; GET / lists them\n")
        wanted = next(m for m, path, _ in PAGES if path == f"/{segments[0]}")
        if method != wanted:
            return _not_allowed(wanted)
        response = page(request) if segments[0] == "explain" else page()
        return response if isinstance(response, Response) else await response

    def page_ready(self) -> Response:
        why = self.proxy.why_not_ready()
        return plain(200, "ready\n") if why is None else plain(503, f"{why}\n")

    def page_live(self) -> Response:
        return plain(200, "live\n")

    def page_metrics(self) -> Response:
        return Response(200, prometheus.CONTENT_TYPE, prometheus.exposition(self.proxy.scene()))

    def page_stats(self) -> Response:
        return _json(200, self.proxy.stats())

    def page_config(self) -> Response:
        return Response(200, JSON, self.proxy.config() + b"\n")

    def page_clusters(self) -> Response:
        return Response(200, JSON, _list(self.proxy.clusters()))

    def page_events(self) -> Response:
        return Response(200, JSON, _list(self.proxy.events()))

    def page_filters(self) -> Response:
        return _json(200, self.proxy.filters())

    def page_workers(self) -> Response:
        return _json(200, self.proxy.workers())

    def page_drain(self) -> Response:
        return _json(200, self.proxy.drain())

    async def page_reload(self) -> Response:
        is_live, took, wrong = await self.proxy.reload()
        return _json(200, took) if is_live else plain(400, wrong if wrong.endswith("\n") else wrong + "\n")

    async def page_explain(self, request: Request) -> Response:
        try:
            wanted, seconds = wanted_of(request.query)
            account = await self.proxy.explain(wanted, seconds)
        except ValueError as error:
            return plain(400, f"{error}\n")
        except RuntimeError as error:
            return plain(503, f"{error}\n")
        if account is None:
            return plain(404, f"no such request has come and ended within {seconds:g} s\n")
        return _json(200, account)

    async def replace(self, slot: str) -> Response:
        if not slot.isascii() or not slot.isdigit() or len(slot) > 6:
            return plain(404, "a slot is a number\n")
        try:
            return _json(200, await self.proxy.replace(int(slot)))
        except LookupError as error:
            return plain(404, f"{error.args[0]}\n")
        except RuntimeError as error:
            return plain(500, f"{error}\n")

    def index(self, request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            lines = [self.proxy.name, "", *(f"{method:<4} {path:<24} {text}" for method, path, text in PAGES)]
            return plain(200, "\n".join(lines) + "\n")
        rows = "".join(f"<tr><td>{method}<td>{_link(method, path)}<td>{text}" for method, path, text in PAGES)
        ready = self.proxy.why_not_ready() or "ready"
        return Response(200, "text/html; charset=utf-8", (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{self.proxy.name}</title>"
            "<style>body{font:15px system-ui;margin:2em;max-width:60em}td{padding:.2em 1em .2em 0;vertical-align:top}"
            f"</style><h1>{self.proxy.name}</h1><p>{_escape(ready)}<table>{rows}</table></html>\n").encode())


def wanted_of(query: str) -> tuple[dict[str, str], float]:
    """What is asked of `POST /explain`: which request, and for how long to wait. Raises ValueError, with a text for
    people."""
    wanted: dict[str, str] = {}
    seconds = 30.0
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=16):
        if name == "seconds":
            try:
                seconds = float(value)
            except ValueError:
                seconds = 0.0
            if not 0.1 <= seconds <= MAX_WAIT:
                raise ValueError(f"found seconds={value[:60]}, allowed: a number from 0.1 to {MAX_WAIT}")
        elif name == "header":
            header, colon, text = value.partition(":")
            if not header.strip():
                raise ValueError("found a header without a name, allowed: header=NAME, or header=NAME:VALUE")
            wanted["header"] = header.strip()
            if colon:
                wanted["value"] = text.strip()
        elif name in MOST_WANTED:
            wanted[name] = value
        else:
            raise ValueError(f"found {name[:60]!r}, allowed: {', '.join(MOST_WANTED)}, header and seconds")
        for key, most in MOST_WANTED.items():
            if len(wanted.get(key, "")) > most:
                raise ValueError(f"found a {key} of {len(wanted[key]):,} characters, allowed: at most {most:,}")
    return wanted, seconds


def _link(method: str, path: str) -> str:
    return f'<a href="{path}">{path}</a>' if method == "GET" else path


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _not_allowed(allowed: str) -> Response:
    response = plain(405, f"use {allowed}\n")
    response.allow = allowed
    return response


def _json(status: int, value: object) -> Response:
    return Response(status, JSON, (json.dumps(value, ensure_ascii=False) + "\n").encode())


def _list(items: Iterator[object]) -> Iterator[str]:
    """A JSON array, one item at a time."""
    before = "["
    for item in items:
        yield before + json.dumps(item, ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[" else "]\n"
