"""Headers set, added and taken away, with what is known about the request in them."""

import re
from collections.abc import Callable

from fastmesh import Filter, Headers, Request, Response

Part = Callable[[Request], str]

PLAIN: dict[str, Part] = {
    "peer": lambda request: request.peer,
    "host": lambda request: request.host,
    "path": lambda request: request.path,
    "method": lambda request: request.method,
    "id": lambda request: request.id,
    "cluster": lambda request: request.cluster or "",
    "route": lambda request: request.route or "",
    "listener": lambda request: request.listener,
}
NAMED: dict[str, Callable[[str], Part]] = {
    "label": lambda name: lambda request: request.labels.get(name, ""),
    "header": lambda name: lambda request: request.headers.get(name, ""),
    "cookie": lambda name: lambda request: request.cookies.get(name, ""),
}
PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


def template(text: str, field: str) -> Part:
    """The function that fills a template. Raises ValueError for what cannot be filled."""
    parts: list[Part] = []
    words = ""
    for found in PIECE.finditer(text):
        piece = found[0]
        if piece in ("{{", "}}"):
            words += piece[0]
        elif found[1] is not None:
            word, colon, name = found[1].partition(":")
            if colon and name and word in NAMED:
                part = NAMED[word](name)
            elif not colon and word in PLAIN:
                part = PLAIN[word]
            else:
                allowed = ", ".join([*PLAIN, *(f"{each}:NAME" for each in NAMED)])
                raise ValueError(f"{field}: {piece} stands for nothing; allowed in braces: {allowed}; "
                                 "a brace itself is doubled")
            if words:
                parts.append(constant(words))
                words = ""
            parts.append(part)
        elif piece in "{}":
            raise ValueError(f"{field}: a lone {piece} in {text!r}; a brace itself is doubled")
        else:
            words += piece
    if words or not parts:
        parts.append(constant(words))
    return parts[0] if len(parts) == 1 else lambda request: "".join([part(request) for part in parts])


def constant(text: str) -> Part:
    return lambda request: text


class HeaderRewrite(Filter):
    """Sets (in place of what there is), adds (beside it) and removes headers of requests and answers.

    Values may hold {peer}, {host}, {path}, {method}, {id}, {cluster}, {route}, {listener}, {label:NAME}, {header:NAME}
    and {cookie:NAME}, each of the request; {{ and }} are braces. What comes out empty is not sent. Removing is first.
    At a listener, requests are changed before a route is chosen, so {cluster} and {route} are empty in them.
    """

    set_request: dict[str, str] = {}
    add_request: dict[str, str] = {}
    remove_request: tuple[str, ...] = ()
    set_response: dict[str, str] = {}
    add_response: dict[str, str] = {}
    remove_response: tuple[str, ...] = ()

    def start(self) -> None:
        for name in (*self.remove_request, *self.remove_response):
            Headers().discard(name)         # a name that is not a filter's to change is an error now, not later
        self.request_set = templates(self.set_request, "set_request")
        self.request_add = templates(self.add_request, "add_request")
        self.response_set = templates(self.set_response, "set_response")
        self.response_add = templates(self.add_response, "add_response")

    def on_request(self, request: Request) -> None:
        edit(request, request.headers, self.remove_request, self.request_set, self.request_add)

    def on_response(self, request: Request, response: Response) -> None:
        edit(request, response.headers, self.remove_response, self.response_set, self.response_add)


def templates(fields: dict[str, str], field: str) -> list[tuple[str, Part]]:
    made = [(name, template(text, f"{field}.{name}")) for name, text in fields.items()]
    Headers([(name, "") for name, _ in made])
    return made


def edit(request: Request, headers: Headers, remove: tuple[str, ...], sets: list[tuple[str, Part]],
         adds: list[tuple[str, Part]]) -> None:
    # What is read from the request is read before anything changes: {header:x} is what the client sent.
    setting = [(name, part(request)) for name, part in sets]
    adding = [(name, part(request)) for name, part in adds]
    for name in remove:
        headers.discard(name)
    for name, value in setting:
        if value:
            headers[name] = value
        else:
            headers.discard(name)       # a client's own value must not stand where there is none
    for name, value in adding:
        if value:
            headers.add(name, value)
