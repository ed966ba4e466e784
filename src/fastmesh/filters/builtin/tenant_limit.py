"""So much for each tenant, and no more, over all workers."""

from collections.abc import Callable

from fastmesh import RateLimitKey, Request, Response

SOURCES: dict[str, Callable[[Request, str], str | None]] = {
    "header": lambda request, name: request.headers.get(name),
    "label": lambda request, name: request.labels.get(name),
    "cookie": lambda request, name: request.cookies.get(name),
    "param": lambda request, name: request.params.get(name),
    "peer": lambda request, name: request.peer,
    "host": lambda request, name: request.host,
}
NAMELESS = ("peer", "host")
LONGEST = 256                   # characters of a key; longer ones are no tenant's


class TenantLimit(RateLimitKey):
    """`rate` requests per second for each tenant, `burst` at once. Who asks for more gets 429.

    `by` says what names a tenant: `header:x-tenant`, `label:tenant` (set by a filter before this one), `cookie:sid`,
    `param:key`, `peer` or `host`. Requests without a tenant share one bucket, are let through, or are refused (400).
    """

    by: str = "label:tenant"
    without: str = "shared"         # shared, pass or refuse

    def start(self) -> None:
        word, _, self.what = self.by.partition(":")
        if word not in SOURCES or bool(self.what) is (word in NAMELESS):
            raise ValueError(f"by: {self.by!r} names nothing; allowed: header:NAME, label:NAME, cookie:NAME, "
                             "param:NAME, peer and host")
        if self.without not in ("shared", "pass", "refuse"):
            raise ValueError(f"without: {self.without!r}; allowed: shared, pass and refuse")
        self.source = SOURCES[word]
        super().start()

    def key(self, request: Request) -> str | None:
        return self.source(request, self.what)

    def on_request(self, request: Request) -> Response | None:
        key = self.key(request)
        if key is None and self.without != "shared":
            return None if self.without == "pass" else Response(400, text=f"missing {self.by}\n")
        if key is not None and len(key) > LONGEST:
            return Response(400, text=f"{self.by} is too long\n")
        # A prefix keeps those without a tenant apart from one who calls himself nothing.
        wait = self.buckets.take(f"={key}" if key is not None else "-")
        return self.refused(request, wait) if wait > 0 else None
