"""What the choice of an endpoint goes by, beside `load_balancer`."""

import itertools
import math
import re
from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import LIST, TOKEN, Count, Duration, Flag, HeaderName, Parsed, Section, shown
from fastmesh.errors import WrongValue
from fastmesh.units import (
    PERCENT,
    PERCENT_ALLOWED,
    PERCENT_PATTERN,
    format_percent,
    parse_duration,
    parse_percent,
)

MAX_ENDPOINTS = 65_536
SECRET_SHOWN = "(secret)"
MAX_KEYS = 8
MAX_TABLE = 1_048_573       # the largest prime below 2**20

_BOUND_ALLOWED = "a percentage from 100% to 1000%, as 125%"
_TABLE = Count(3, MAX_TABLE)


class Ewma(Section):
    """What `peak_ewma` and `failure_aware_ewma` hold of an endpoint's response times."""

    decay: Annotated[int, Duration("1ms", "1h"), Field(
        description="How long a slow answer is remembered: after so long without news it counts 37 %.")
    ] = parse_duration("10s")
    initial: Annotated[int, Duration("1ms", "1h"), Field(
        description="The response time that is expected of an endpoint while its first request is under way.")
    ] = parse_duration("30ms")
    penalty: Annotated[int, Duration("0", "1h"), Field(
        description="With `failure_aware_ewma`: what a failure counts as, at least: status 429 or 5xx, a broken "
                    "connection, no answer in time.")] = parse_duration("5s")
    retry_after_max: Annotated[int, Duration("0", "1h"), Field(
        description="With `failure_aware_ewma`: a failure with `Retry-After` counts as slow as that says, up to this.")
    ] = parse_duration("300s")


def _bound(value: object) -> int:
    number = value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{3,4}%", value):
        number = int(value[:-1])
    if isinstance(number, int) and not isinstance(number, bool) and 100 <= number <= 1000:
        return number
    hint = ""
    if isinstance(value, str) and (loose := re.fullmatch(r"([0-9]{3,4}) ?%?", value)) and 100 <= int(loose[1]) <= 1000:
        hint = f"write {loose[1]}%"
    raise WrongValue(shown(value), _BOUND_ALLOWED, hint)


def _prime(value: object) -> int:
    number = _TABLE.read(value)
    if any(number % i == 0 for i in range(2, math.isqrt(number) + 1)):
        after = next(n for n in itertools.count(number) if all(n % i for i in range(2, math.isqrt(n) + 1)))
        raise WrongValue(shown(value), "a prime number", f"write {min(after, MAX_TABLE)}")
    return number


def _parameter(value: object) -> str:
    allowed = "the name of a query parameter as it stands in the URL: visible ASCII without & = and #"
    if isinstance(value, str) and re.fullmatch(r"[!-~]{1,256}", value) and not set("&=#") & set(value):
        return value
    raise WrongValue(shown(value), allowed)


def _cookie(value: object) -> str:
    if isinstance(value, str) and TOKEN.fullmatch(value) and len(value) <= 256:
        return value
    raise WrongValue(shown(value), "the name of a cookie: letters, digits and ! # $ % & ' * + - . ^ _ ` | ~")


def _cookie_path(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"/[!-:<-~]{0,1023}", value):
        return value
    raise WrongValue(shown(value), "a path that begins with /, of visible ASCII without ;")


CookieName = Annotated[str, Parsed(_cookie, "cookie name", {"type": "string", "maxLength": 256})]
CookiePath = Annotated[str, Parsed(_cookie_path, "path", {"type": "string", "pattern": "^/"})]


class HashKey(Section):
    """One thing that requests are told apart by: just one of `header`, `cookie`, `query` and `source`."""

    header: Annotated[HeaderName | None, Field(
        description="The value of this header, the first if there are several.", examples=["x-user"])] = None
    cookie: Annotated[CookieName | None, Field(
        description="The value of this cookie.", examples=["session"])] = None
    query: Annotated[Annotated[str, Parsed(_parameter, "name", {"type": "string", "maxLength": 256})] | None, Field(
        description="The value of this query parameter as it stands in the URL, the first if there are several.",
        examples=["user"])] = None
    source: Annotated[Flag, Field(
        description="The IP address of the client, as the connection has it.")] = False
    ttl: Annotated[Annotated[int, Duration("0", "8760h")] | None, Field(
        description="With `cookie`: a request that has none of the keys gets this cookie, for so long; 0 is until the "
                    "browser is closed. Left out, no cookie is made.", examples=["1h"])] = None
    path: Annotated[CookiePath | None, Field(
        description="With `ttl`: the paths that the cookie is for; all when left out.", examples=["/"])] = None


class Hashing(Section):
    """What `ring_hash` and `maglev` send requests to the same endpoint by."""

    keys: Annotated[list[HashKey], LIST, Field(
        description="What requests are told apart by. The first that a request has counts; a request that has none "
                    "goes to any endpoint.", max_length=MAX_KEYS, min_length=1, examples=[[{"header": "x-user"}]])]
    load_bound: Annotated[Annotated[int, Parsed(_bound, "percentage, 100% to 1000%", {
        "type": "string", "pattern": "^[0-9]{3,4}%$"}, lambda bound: f"{bound}%")] | None, Field(
        description="How much an endpoint may have in flight, of what would be its share by weight; beyond, the key's "
                    "next endpoint gets the request. Left out, there is no limit.", examples=["125%"])] = None
    points: Annotated[int, Count(1, 10_000), Field(
        description="With `ring_hash`: points on the ring of an endpoint of mean weight. More make shares more even "
                    "and the ring larger: 12 bytes each, in each worker. A ring has at most half a million, or one for "
                    "each endpoint.")] = 160
    table_size: Annotated[int, Parsed(_prime, f"prime number, 3 to {MAX_TABLE:,}", {
        "type": "integer", "minimum": 3, "maximum": MAX_TABLE}), Field(
        description="With `maglev`: places in the table, 4 bytes each, in each worker; at least 100 for each endpoint "
                    "make shares even to 1 %. When it changes, most keys move.")] = 65_537


def _percent(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100 * PERCENT:
        return value
    if isinstance(value, str):
        return parse_percent(value)
    raise WrongValue(shown(value), PERCENT_ALLOWED)


Percent = Annotated[int, Parsed(_percent, "percentage", {"type": "string", "pattern": PERCENT_PATTERN},
                                format_percent)]


def _aggression(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 10_000:
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?", value):
        whole, _, rest = value.partition(".")
        thousandths = int(whole) * 1000 + int(rest.ljust(3, "0"))
        if 100 <= thousandths <= 10_000:
            return thousandths
    raise WrongValue(shown(value), "a number from 0.1 to 10, with at most three digits after the point")


def _plain(thousandths: int) -> str:
    return f"{thousandths / 1000:g}"


class SlowStart(Section):
    """How an endpoint that is new, or could not be connected to for a while, comes to its share of the requests."""

    window: Annotated[int, Duration("1ms", "24h"), Field(
        description="How long it takes. It begins with the first request that the endpoint might have had.",
        examples=["30s"])]
    aggression: Annotated[int, Parsed(_aggression, "number, 0.1 to 10", {"type": "number", "minimum": 0.1,
                                                                        "maximum": 10}, _plain), Field(
        description="1 is a straight line; more rises sooner, less later: the share is that part of the window which "
                    "is over, to the power of 1 / aggression.")] = 1000
    min_weight: Annotated[Percent, Field(
        description="The part of its share that it has at least, from the beginning.")] = 10 * PERCENT


def _secret(value: object) -> str:
    if isinstance(value, str) and len(value) <= 1024 and value.isprintable() and len(value) >= 16:
        return value
    # Not shown: it may be the real one, cut short.
    raise WrongValue("a text that is too short" if isinstance(value, str) else shown(value),
                     "at least 16 printable characters", "make one with: openssl rand -hex 16")


class StickySession(Section):
    """Sessions that stay at the endpoint where they began: the answer names it, and requests that bring the name go
    there, whatever `load_balancer` says, unless it is gone or avoided. The name is sealed: a client can bring back one
    that it was given, and make up none."""

    cookie: Annotated[CookieName | None, Field(
        description="The name stands in this cookie, which the answer sets when the endpoint is another than the one "
                    "asked for. Either this or `header`.", examples=["home"])] = None
    header: Annotated[HeaderName | None, Field(
        description="The name stands in this header of answers and requests. Either this or `cookie`.",
        examples=["x-session-endpoint"])] = None
    secret: Annotated[str, Parsed(_secret, "secret text", {"type": "string", "minLength": 16}, lambda _: SECRET_SHOWN),
                      Field(description="What names are sealed with. The same for all instances that share clients; "
                                        "with a new one, all sessions are dealt anew.",
                            examples=["${STICKY_SECRET}"])]
    ttl: Annotated[int, Duration("0", "8760h"), Field(
        description="With `cookie`: how long it is kept; 0 is until the browser is closed.")] = 0
    path: Annotated[CookiePath, Field(description="With `cookie`: the paths that it is for.")] = "/"


class Balancing(Section):
    """What the choice of an endpoint goes by, beside `load_balancer`."""

    ewma: Annotated[Ewma | None, Field(
        description="How response times are remembered. Only with `peak_ewma` and `failure_aware_ewma`.",
        examples=[{"decay": "10s"}])] = None
    hash: Annotated[Hashing | None, Field(
        description="What requests go to the same endpoint by. Required with `ring_hash` and `maglev`, and only with "
                    "them.", examples=[{"keys": [{"header": "x-user"}]}])] = None
    slow_start: Annotated[SlowStart | None, Field(
        description="How endpoints come to their share. At once when left out.", examples=[{"window": "30s"}])] = None
    panic_threshold: Annotated[Percent, Field(
        description="When fewer of the endpoints than this can be used, all are asked, usable or not: the few that "
                    "are left would not bear it. 0% is never. With priorities or `prefer_zone`, of each group, and "
                    "only while the groups cannot make up for each other.")] = 0
    prefer_zone: Annotated[Flag, Field(
        description="Within a priority, endpoints of this proxy's own zone (`node.zone`) come first.")] = False
    spill_below: Annotated[Percent, Field(
        description="With priorities or `prefer_zone`: while at least so many of a group's endpoints can be used, it "
                    "keeps all requests; below, the next group gets what is missing, in proportion.")] = 70 * PERCENT
    subset: Annotated[Annotated[int, Count(1, MAX_ENDPOINTS)] | None, Field(
        description="Of each group of endpoints, this instance uses only so many, drawn by lot: connections of many "
                    "proxies to many endpoints stay few. The lot follows from `node.instance` and the address, so it "
                    "is the same after a restart, and a change of the list changes little. All when left out.",
        examples=[20])] = None
    sticky: Annotated[StickySession | None, Field(
        description="Sessions that stay at their endpoint. There are none when left out.",
        examples=[{"cookie": "home", "secret": "${STICKY_SECRET}"}])] = None
