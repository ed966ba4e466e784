"""Which pages of other origins may read the answers of a route."""

import re
from typing import Annotated, Any

from pydantic import Field, model_serializer, model_validator
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from fastmesh.config.fields import LIST, Duration, Flag, HeaderName, Method, Parsed, Section, shown
from fastmesh.config.value_match import RegexText
from fastmesh.errors import WrongValue
from fastmesh.units import parse_duration

MAX_ORIGINS = 256
MAX_NAMES = 64
ANY = "*"
_ALLOWED = ("an origin as browsers write it, https://app.example.com or http://localhost:3000; https://*.example.com "
            "for every host below it; null; or * for all")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]{0,31})://(\*\.)?((?:[a-z0-9_](?:[a-z0-9_.-]{0,252}[a-z0-9_])?|\[[0-9a-f:.]+\])"
                     r"(?::([0-9]{1,5}))?)")
_PORTS = {"http": "80", "https": "443"}


def _origin(value: object) -> str:
    if not isinstance(value, str) or len(value) > 512:
        raise WrongValue(shown(value), _ALLOWED)
    text = value.lower()
    if text in (ANY, "null"):
        return text
    found = _ORIGIN.fullmatch(text)
    if found is None:
        hint = ""
        if _ORIGIN.fullmatch(text.rstrip("/")):
            hint = f"write {text.rstrip('/')}: an origin has no path"
        elif "://" not in text and _ORIGIN.fullmatch(f"https://{text}"):
            hint = f"write https://{text}"
        elif not text.isascii():
            hint = "write the host in its ASCII form, as xn--…"
        elif "*" in text:
            hint = "a * stands for hosts below a domain; write {regex: …} for anything else"
        raise WrongValue(shown(value), _ALLOWED, hint)
    if found[4] is not None and _PORTS.get(found[1]) == found[4]:
        raise WrongValue(shown(value), _ALLOWED, f"leave out :{found[4]}, as browsers do")
    return text


OriginText = Annotated[str, Parsed(_origin, "origin", {
    "type": "string", "examples": ["https://app.example.com", "https://*.example.com"]})]


def _method_or_any(value: object) -> str:
    if value == ANY:
        return ANY
    return _METHOD.parse(value)     # type: ignore[no-any-return]


def _header_or_any(value: object) -> str:
    if value == ANY:
        return ANY
    return _HEADER.parse(value)     # type: ignore[no-any-return]


(_METHOD,) = Method.__metadata__    # type: ignore[attr-defined]
(_HEADER,) = HeaderName.__metadata__    # type: ignore[attr-defined]
CorsMethod = Annotated[str, Parsed(_method_or_any, "method", {"type": "string"})]
CorsHeader = Annotated[str, Parsed(_header_or_any, "header name", {"type": "string"})]


class Origin(Section):
    """Whose pages: a text alone, as `https://app.example.com`, or a `regex`."""

    exact: Annotated[OriginText | None, Field(
        description="One origin, as browsers write it; `https://*.example.com` is every host below that domain, not "
                    "the domain itself; `null` is that of files and sandboxed frames; `*` is every one.",
        examples=["https://app.example.com"])] = None
    regex: Annotated[RegexText | None, Field(
        description="A regular expression that takes the whole origin, as those of headers.",
        examples=["https://pr-[0-9]+\\.example\\.com"])] = None

    @model_validator(mode="before")
    @classmethod
    def _accept_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"exact": value}
        if not isinstance(value, (dict, Origin)):
            raise WrongValue(shown(value), f"{_ALLOWED}; or a mapping with regex")
        return value

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        return self.exact if self.exact is not None else handler(self)


class Cors(Section):
    """Which pages of other origins may read the answers, as browsers ask it (the Fetch standard). Preflight requests
    are answered here. What upstreams say of origins is replaced; an origin that is not named is told nothing."""

    enabled: Annotated[Flag, Field(
        description="`false`: upstreams say it themselves, whatever the listener or a policy says.")] = True
    allow_origins: Annotated[list[Origin], LIST, Field(
        description="Whose pages may read answers. Empty: nobody's.", max_length=MAX_ORIGINS,
        examples=[["https://app.example.com", "https://*.example.org"]])] = []  # noqa: RUF012
    allow_methods: Annotated[list[CorsMethod], LIST, Field(
        description="The methods that such a page may use; `[\"*\"]` for whatever it asks for.", max_length=MAX_NAMES)
    ] = ["GET", "HEAD", "POST"]  # noqa: RUF012
    allow_headers: Annotated[list[CorsHeader], LIST, Field(
        description="The headers that it may send beside those that any page may; `[\"*\"]` for whatever it asks for.",
        max_length=MAX_NAMES, examples=[["content-type", "authorization"]])] = []  # noqa: RUF012
    expose_headers: Annotated[list[HeaderName], LIST, Field(
        description="The headers of answers that it may read beside those that any page may.", max_length=MAX_NAMES,
        examples=[["x-request-id"]])] = []  # noqa: RUF012
    allow_credentials: Annotated[Flag, Field(
        description="Whether cookies and passwords of the visitor may be sent along. Not together with the origin `*`, "
                    "with which any page could act as its visitor.")] = False
    allow_private_network: Annotated[Flag, Field(
        description="Whether a page of the open network may ask for this in a private one: what a preflight with "
                    "`access-control-request-private-network` is told.")] = False
    max_age: Annotated[int, Duration("0", "24h"), Field(
        description="How long a browser may remember the answer to a preflight.")] = parse_duration("10m")
