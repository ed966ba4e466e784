"""Headers that a route adds, replaces or removes."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import LIST, Parsed, Section, read_header_name, shown
from fastmesh.config.log_format import LogField, LogOp, compile_template
from fastmesh.errors import WrongValue

MAX_VALUE = 4_096
MAX_EDITS = 64
# What is known when the request leaves, and in addition when the answer has come.
OF_REQUEST = {
    LogField.LITERAL: "", LogField.START_TIME: "%START_TIME%", LogField.METHOD: "%REQ(:METHOD)%",
    LogField.PATH: "%REQ(:PATH)%", LogField.PROTOCOL: "%PROTOCOL%", LogField.REQUEST_HEADER: "%REQ(NAME)%",
    LogField.AUTHORITY: "%REQ(:AUTHORITY)%", LogField.UPSTREAM_CLUSTER: "%UPSTREAM_CLUSTER%",
    LogField.ROUTE_NAME: "%ROUTE_NAME%", LogField.LISTENER: "%LISTENER%",
    LogField.DOWNSTREAM_REMOTE_ADDRESS: "%DOWNSTREAM_REMOTE_ADDRESS%",
    LogField.CLIENT: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", LogField.REQUEST_ID: "%REQUEST_ID%",
    LogField.CONNECTION_ID: "%CONNECTION_ID%",
}
OF_ANSWER = {**OF_REQUEST, LogField.RESPONSE_CODE: "%RESPONSE_CODE%", LogField.UPSTREAM_HOST: "%UPSTREAM_HOST%",
             LogField.UPSTREAM_SERVICE_TIME: "%UPSTREAM_SERVICE_TIME%"}
# Those that say where a message ends, or concern one connection.
OWN = frozenset(("connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive",
                 "proxy-connection", "http2-settings"))
# The log has these by themselves.
_HEADERS = {LogField.X_FORWARDED_FOR: "x-forwarded-for", LogField.USER_AGENT: "user-agent"}


def pieces_of(text: str) -> list[LogOp]:
    """The pieces of a value. Raises WrongValue."""
    return [LogOp(LogField.REQUEST_HEADER, 0, _HEADERS[LogField(op.field)]) if op.field in _HEADERS else op
            for op in compile_template(text)]


class ValueText(Parsed):
    """A value with operators of the access log."""

    __slots__ = ("known",)

    def __init__(self, known: dict[LogField, str]) -> None:
        super().__init__(self.read, "text with operators", {"type": ["string", "number", "boolean"]})
        self.known = known

    def read(self, value: object) -> str:
        allowed = f"text of at most {MAX_VALUE:,} characters, without control characters and spaces at its ends"
        if not isinstance(value, str) or len(value) > MAX_VALUE or value != value.strip() or not value.isprintable():
            raise WrongValue(shown(value), allowed)
        for op in pieces_of(value):
            if op.field not in self.known:
                names = [name for name in self.known.values() if name]
                raise WrongValue(shown(value), f"of operators, {', '.join(names[:-1])} and {names[-1]}",
                                 "the others are not known at this time")
        return value


def _own_name(value: object) -> str:
    name = read_header_name(value)
    if name in OWN or name == "host":
        raise WrongValue(shown(name), "the name of a header that is not the proxy's own",
                         "write rewrite: {host: NAME}" if name == "host" else "it says where a message ends, or "
                         "concerns one connection: leave it to the proxy")
    return name


EditName = Annotated[str, Parsed(_own_name, "header name", {"type": "string"})]


class RequestEdit(Section):
    """Headers of the request on its way to the cluster: what is removed goes first, then what is set, then what is
    added. Values may hold operators of the [access log](#access-log-operators): those that are known of a request, with
    `-` where one has no value. A request that becomes larger than a head may be gets 431."""

    set: Annotated[dict[EditName, Annotated[str, ValueText(OF_REQUEST)]], Field(
        description="Headers that have this one value from here on.", max_length=MAX_EDITS,
        examples=[{"x-client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}])] = {}  # noqa: RUF012
    add: Annotated[dict[EditName, Annotated[str, ValueText(OF_REQUEST)]], Field(
        description="Headers that get one more value.", max_length=MAX_EDITS,
        examples=[{"x-via-route": "%ROUTE_NAME%"}])] = {}  # noqa: RUF012
    remove: Annotated[list[EditName], LIST, Field(
        description="Headers that are not passed on.", max_length=MAX_EDITS, examples=[["x-debug"]])] = []  # noqa: RUF012


class ResponseEdit(Section):
    """Headers of the answer on its way to the client, also of one that the proxy gives by itself; as for requests. Of
    such an answer `date`, `server` and what tells of its body stay as they are. What a head of 64 KiB has no room for
    is left out."""

    set: Annotated[dict[EditName, Annotated[str, ValueText(OF_ANSWER)]], Field(
        description="Headers that have this one value from here on.", max_length=MAX_EDITS,
        examples=[{"x-upstream": "%UPSTREAM_HOST%"}])] = {}  # noqa: RUF012
    add: Annotated[dict[EditName, Annotated[str, ValueText(OF_ANSWER)]], Field(
        description="Headers that get one more value.", max_length=MAX_EDITS,
        examples=[{"set-cookie": "seen=1"}])] = {}  # noqa: RUF012
    remove: Annotated[list[EditName], LIST, Field(
        description="Headers that are not passed on.", max_length=MAX_EDITS, examples=[["server"]])] = []  # noqa: RUF012
