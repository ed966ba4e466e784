"""Which pages of other origins may read the answers."""

from fastmesh import Duration, Filter, Request, Response

ANSWERED = ("access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers")


class Cors(Filter):
    """Answers preflight requests and marks answers for the origins that are allowed.

    An origin is `https://app.example.com`, `https://*.example.com` for every host below it, or `*` for all, which
    does not go together with `credentials`. What the upstream itself says about origins is replaced.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...] = ("GET", "HEAD", "POST")
    headers: tuple[str, ...] = ()           # request headers that pages may set; "*" for all
    expose: tuple[str, ...] = ()            # answer headers that pages may read
    credentials: bool = False               # cookies and passwords may be sent along
    max_age: Duration = 600.0               # how long a browser may remember a preflight

    def start(self) -> None:
        self.any = "*" in self.origins
        if self.any and self.credentials:
            raise ValueError("credentials: true needs origins by name: with '*' any page could act as its visitor")
        self.exact = {origin.lower() for origin in self.origins if "*" not in origin}
        self.below: list[tuple[str, str]] = []
        for origin in self.origins:
            scheme, wild, domain = origin.lower().partition("://*.")
            if origin != "*" and "*" in origin:
                if not wild or "*" in scheme + domain or not domain:
                    raise ValueError(f"origins: {origin!r}: a star stands for hosts below a domain, as in "
                                     "https://*.example.com")
                self.below.append((f"{scheme}://", f".{domain}"))
            elif origin not in ("*", "null") and ("://" not in origin or "/" in origin.partition("://")[2]):
                raise ValueError(f"origins: {origin!r} is no origin; write scheme and host, as in "
                                 "https://app.example.com")

    def is_allowed(self, origin: str) -> bool:
        origin = origin.lower()
        return self.any or origin in self.exact or any(
            origin.startswith(scheme) and origin.endswith(domain) and len(origin) > len(scheme) + len(domain)
            for scheme, domain in self.below)

    def on_request(self, request: Request) -> Response | None:
        wanted = request.headers.get("access-control-request-method")
        origin = request.headers.get("origin")
        if request.method != "OPTIONS" or wanted is None or origin is None:
            return None
        if not self.is_allowed(origin) or wanted not in self.methods:
            return Response(403, text="not allowed from this origin\n", headers={"vary": "Origin"})
        asked = request.headers.get("access-control-request-headers", "")
        answer = Response(204, headers={
            "access-control-allow-methods": ", ".join(self.methods), "access-control-max-age": str(int(self.max_age)),
            "vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"})
        if "*" in self.headers and asked:
            answer.headers["access-control-allow-headers"] = asked
        elif self.headers:
            answer.headers["access-control-allow-headers"] = ", ".join(self.headers)
        self.mark(answer, origin)
        return answer

    def on_response(self, request: Request, response: Response) -> None:
        for name in ANSWERED:
            response.headers.discard(name)
        if not self.any:
            add_vary(response, "Origin")
        origin = request.headers.get("origin")
        if origin is not None and self.is_allowed(origin):
            self.mark(response, origin)
            if self.expose:
                response.headers["access-control-expose-headers"] = ", ".join(self.expose)

    def mark(self, response: Response, origin: str) -> None:
        response.headers["access-control-allow-origin"] = "*" if self.any else origin
        if self.credentials:
            response.headers["access-control-allow-credentials"] = "true"


def add_vary(response: Response, name: str) -> None:
    """Caches keep one answer for each value of that request header."""
    there = [word.strip().lower() for field in response.headers.get_all("vary") for word in field.split(",")]
    if name.lower() not in there and "*" not in there:
        response.headers.add("vary", name)
