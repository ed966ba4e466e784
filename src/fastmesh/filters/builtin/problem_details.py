"""What went wrong, in the form that the client reads: JSON, a page, or a line of text."""

import json
from html import escape
from http import HTTPStatus

from fastmesh import Failure, Fallback, Request, Response

JSON = "application/problem+json"       # RFC 9457
HTML = "text/html"
TEXT = "text/plain"
KINDS = (JSON, HTML, TEXT)
# What a client may ask for, and what it gets then.
MEANT = {"application/json": JSON, JSON: JSON, "text/html": HTML, "application/xhtml+xml": HTML, TEXT: TEXT}
PARTS_MOST = 32                         # of an Accept field, that are looked at
PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<h1>{title}</h1>
<p>{detail}</p>
{id}</html>
"""


class ProblemDetails(Fallback):
    """Answers with the status of the failure and says so in the form that the request accepts: problem details
    (RFC 9457), a page of HTML, or plain text. Nothing of the mesh's inside is told but the request's id."""

    before_filters = True

    type: str = "about:blank"           # a URI that identifies the problem
    detail: str = "The service does not answer at this time. Please try again later."
    default: str = "json"               # json, html or text: for who accepts anything
    retry_after: int = 0                # seconds; 0: nothing is said
    with_id: bool = True                # x-request-id, so that somebody can be asked about it

    def start(self) -> None:
        forms = {"json": JSON, "html": HTML, "text": TEXT}
        if self.default not in forms:
            raise ValueError(f"default is {self.default!r}: json, html and text are allowed")
        if not 0 <= self.retry_after <= 86400:
            raise ValueError(f"retry_after is {self.retry_after}: 0 to 86400 seconds are allowed")
        self.form = forms[self.default]

    def answer(self, request: Request, failure: Failure) -> Response:
        title = _title(failure.status)
        number = request.id if self.with_id else ""
        form = chosen(", ".join(request.headers.get_all("accept")), self.form)
        if form == JSON:
            told: dict[str, object] = {"type": self.type, "title": title, "status": failure.status,
                                       "detail": self.detail}
            if number:
                told["request_id"] = number
            body = json.dumps(told, ensure_ascii=False) + "\n"
        elif form == HTML:
            below = f"<p>Request <code>{escape(number)}</code></p>\n" if number else ""
            body = PAGE.format(title=escape(title), detail=escape(self.detail), id=below)
        else:
            body = f"{title}\n{self.detail}\n" + (f"request {number}\n" if number else "")
        charset = "" if form == JSON else "; charset=utf-8"
        response = Response(failure.status, text=body, content_type=form + charset,
                            headers={"cache-control": "no-store", "vary": "accept"})
        if self.retry_after:
            response.headers["retry-after"] = self.retry_after
        return response


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def chosen(accept: str, default: str) -> str:
    """The best of the forms for what an Accept field says (RFC 9110, section 12.5.1); of equals the default, then the
    one that is named first. Who accepts none of them gets the default: an error has to be told somehow."""
    best, form = 0.0, default
    for part in accept.split(",")[:PARTS_MOST]:
        kind, _, parameters = part.partition(";")
        kind = kind.strip().lower()
        quality = _quality(parameters)
        if kind in ("*/*", "application/*" if default == JSON else "text/*"):
            meant = default
        elif kind == "application/*":
            meant = JSON
        elif kind == "text/*":
            meant = TEXT
        elif kind in MEANT:
            meant = MEANT[kind]
        else:
            continue
        if quality > best or (quality == best and quality > 0 and meant == default):
            best, form = quality, meant
    return form


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
