"""A share of the visitors sees the new version, and goes on seeing it."""

from random import randrange

from fastmesh import Duration, Filter, Request, Response, Share

STEPS = 10_000


class Canary(Filter):
    """Sends `share` of the visitors to the cluster `to`.

    A cookie keeps the number that a visitor drew, not what came of it: when the share grows, those who were in stay
    in, and with a share of 0 nobody is.
    """

    to: str
    share: Share
    cookie: str = "fm-canary"
    max_age: Duration = 30 * 86_400.0
    label: str = "canary"
    secure: bool = True                     # the cookie is for https only

    def start(self) -> None:
        if not self.cookie.replace("-", "").replace("_", "").isalnum() or not self.cookie.isascii():
            raise ValueError(f"cookie: {self.cookie!r} is no name for a cookie; use letters, digits, - and _")
        self.edge = round(self.share * STEPS)
        self.attributes = f"; Path=/; Max-Age={int(self.max_age)}; SameSite=Lax; HttpOnly" + "; Secure" * self.secure

    def on_route(self, request: Request) -> None:
        number = drawn(request.cookies.get(self.cookie, ""))
        if number is None:
            number = randrange(STEPS)
            request.state[self.name] = number    # to be told with the answer
        if number < self.edge:
            request.cluster = self.to
            request.labels[self.label] = self.to

    def on_response(self, request: Request, response: Response) -> None:
        number = request.state.get(self.name)
        if number is not None:
            response.headers.add("set-cookie", f"{self.cookie}={number}{self.attributes}")


def drawn(cookie: str) -> int | None:
    """The number in a cookie, if it is one of ours."""
    if not cookie.isascii() or not cookie.isdigit() or len(cookie) > 4:
        return None
    return int(cookie)
