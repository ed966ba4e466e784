"""Whether a match takes the request. The compiled route table decides, as it does in workers."""

from fastmesh._core.explain import Tables
from fastmesh.cli.explained.request import Request
from fastmesh.config.fields import SHARE_ALL
from fastmesh.config.filter import FilterMatch
from fastmesh.config.listener import Listener
from fastmesh.config.match import Match
from fastmesh.config.model import Config
from fastmesh.config.route import Route
from fastmesh.config.value_match import ValueMatch
from fastmesh.snapshot.chains import Chains
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from fastmesh.units import format_percent

# Of values it is enough that one of the readings fits; not everything that has a match looks at both of a path's.
_TORN = {"torn field": "in one of the ways in which it can be read",
         "torn path": "perhaps, as its path can be read in two ways",
         "torn method": "perhaps, as its method is not in capitals"}


class Verdicts:
    """What matches of one listener say to one request, as it came in: what filters change is not known."""

    def __init__(self, config: Config, listener: Listener, request: Request) -> None:
        self._request = request
        self._listener = listener.model_copy(update={
            "filters": [], "rate_limits": [], "retry": None, "hedge": None, "fallback": None, "policies": []})
        self._config = config.model_copy(update={
            "clusters": [], "filters": [], "rate_limits": [], "policies": [], "access_log": None})

    def may_tell(self, match: FilterMatch | None) -> bool:
        """It asks for something beside a share, and what it may ask for is known."""
        return match is not None and _asks(match) and self._request.has_fields

    def of(self, match: FilterMatch | None) -> tuple[bool, str]:
        """Whether it takes the request, as far as nothing is drawn for a share; and the words for it, "" where there is
        nothing to say."""
        takes, said = self.of_any_share(match)
        if not takes or match is None or match.share == SHARE_ALL:
            return takes, said
        share = f"{format_percent(match.share)} of such requests, by chance"
        return True, f"{said}, {share}" if said else share

    def of_any_share(self, match: FilterMatch | None) -> tuple[bool, str]:
        """The same as if its share were all."""
        if match is None or not _asks(match):
            return True, ""
        if not self._request.has_fields:
            return True, "if its match takes it"
        plain = match.model_copy(update={"share": SHARE_ALL})
        route = Route.model_validate({"match": {}, "response": {"status": 204}}).model_copy(update={"match": plain})
        config = self._config.model_copy(update={"listeners": [self._listener.model_copy(update={"routes": [route]})]})
        registry = Registry()
        tables = Tables(compile(config, 1, registry, 1024, Chains(config, None, registry))[0])
        try:
            how = tables.ask(0, self._request.head(), self._request.peer(), 0)[0]
            if how == "none":
                return False, why_not(plain, *tables.miss(0, 0), self._request)
            return True, _TORN.get(how, "")
        finally:
            tables.close()


def _asks(match: FilterMatch) -> bool:
    return match.model_copy(update={"share": SHARE_ALL}) != type(match)()


def why_not(match: Match, what: str, name: str, request: Request) -> str:
    """The words for what keeps a request from being taken, as the tables name it."""
    if what == "host":
        return f"the host is none of {listed(match.hosts)}"
    if what == "path" and match.path is not None:
        return f"the path is not {match.path}"
    if what == "path" and (begin := match.starts_with or match.prefix):
        return f"the path does not begin with {begin}"
    if what in ("path", "pattern"):
        return f"the path is none of {match.regex or match.template or _grpc(match)}"
    if what == "method":
        return f"the method {request.matched} is none of {listed(match.methods)}"
    if what == "source":
        return f"the client {request.source} is none of {listed([str(source) for source in match.sources])}"
    if what == "share":
        return f"it takes {format_percent(match.share)} of such requests, and this is none of them"
    if what == "header" and match.grpc is not None and name == "content-type" and name not in match.headers:
        return "the content-type is not that of gRPC"
    noun, values = {"header": ("header", match.headers), "cookie": ("cookie", match.cookies),
                    "query": ("parameter", match.query)}[what]
    return f"the {noun} {name} is not {_wanted(values[name])}"


def whose(match: FilterMatch | None) -> str:
    """Which part of the requests of a route."""
    share = SHARE_ALL if match is None else match.share
    whose = "all requests" if share == SHARE_ALL else f"{format_percent(share)} of the requests"
    if match is not None and _asks(match):
        whose += " that its match takes"
    return whose


def _grpc(match: Match) -> str:
    grpc = match.grpc
    return f"/{grpc.service or '*'}/{grpc.method or '*'}" if grpc is not None else "/"


def _wanted(value: ValueMatch) -> str:
    if value.present is not None:
        return "there" if value.present else "absent"
    parts = [f"{key} {text!r}" for key in ("exact", "prefix", "suffix", "contains", "regex")
             if (text := getattr(value, key)) is not None]
    if value.min is not None:
        parts.append(f"at least {value.min}")
    if value.max is not None:
        parts.append(f"at most {value.max}")
    wanted = " and ".join(parts)
    return f"other than {wanted}" if value.invert else wanted


def listed(items: list[str]) -> str:
    """The first few of them."""
    return ", ".join(items[:8]) + (f" and {len(items) - 8:,} more" if len(items) > 8 else "")
