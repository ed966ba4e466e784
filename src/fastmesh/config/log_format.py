"""Access-log formats: Envoy's operators, compiled to the pieces a worker writes.

A template such as `%REQ(:METHOD)% %RESPONSE_CODE%` becomes a list of pieces, each a literal or one
field. A JSON format is a mapping from key to operator and becomes the text of the object with the
values left to the worker, which writes each as JSON: a quoted string, a bare number, or null.
A line's end is the worker's to write; it is not among the pieces.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from fastmesh.errors import WrongValue


class LogField(IntEnum):
    """What a piece of a log line is. The numbers are part of the snapshot's format."""

    LITERAL = 0
    START_TIME = 1
    METHOD = 2
    PATH = 3
    PROTOCOL = 4
    RESPONSE_CODE = 5
    RESPONSE_FLAGS = 6
    RESPONSE_CODE_DETAILS = 7
    BYTES_RECEIVED = 8
    BYTES_SENT = 9
    DURATION = 10
    UPSTREAM_SERVICE_TIME = 11
    REQUEST_HEADER = 12
    RESPONSE_HEADER = 13
    AUTHORITY = 14
    UPSTREAM_HOST = 15
    UPSTREAM_CLUSTER = 16
    ROUTE_NAME = 17
    LISTENER = 18
    DOWNSTREAM_REMOTE_ADDRESS = 19
    REQUEST_ID = 20
    CONNECTION_ID = 21
    ATTEMPTS = 22
    PROXY_TIME = 23
    X_FORWARDED_FOR = 24
    USER_AGENT = 25
    LABEL = 26
    LABELS = 27
    RATE_LIMITED_BY = 28
    CLIENT = 29
    DEGRADED = 30


class LogOp(NamedTuple):
    """One piece: `quote` 1 writes a JSON value, 0 plain text. `text` is the literal, or a header's name."""

    field: int
    quote: int
    text: str


OPERATORS: dict[str, tuple[LogField, str]] = {
    "START_TIME": (LogField.START_TIME, "When the request began, ISO 8601 with milliseconds, UTC."),
    "PROTOCOL": (LogField.PROTOCOL, "`HTTP/1.1` or `HTTP/1.0`."),
    "RESPONSE_CODE": (LogField.RESPONSE_CODE, "Status of the answer, 0 when there was none."),
    "RESPONSE_FLAGS": (LogField.RESPONSE_FLAGS, "Why the proxy answered by itself, or cut the answer: `UF`, `UH`, …"),
    "RESPONSE_CODE_DETAILS": (LogField.RESPONSE_CODE_DETAILS, "The same in words."),
    "BYTES_RECEIVED": (LogField.BYTES_RECEIVED, "Bytes of the request's body, or from the TCP client."),
    "BYTES_SENT": (LogField.BYTES_SENT, "Bytes of the answer's body, or to the TCP client."),
    "DURATION": (LogField.DURATION, "Milliseconds from the end of the request's head to the last byte of the answer."),
    "UPSTREAM_SERVICE_TIME": (LogField.UPSTREAM_SERVICE_TIME, "Milliseconds to the first byte from the upstream."),
    "UPSTREAM_HOST": (LogField.UPSTREAM_HOST, "Address of the endpoint that answered."),
    "UPSTREAM_CLUSTER": (LogField.UPSTREAM_CLUSTER, "Name of the cluster."),
    "ROUTE_NAME": (LogField.ROUTE_NAME, "Name of the route."),
    "LISTENER": (LogField.LISTENER, "Name of the listener."),
    "DOWNSTREAM_REMOTE_ADDRESS": (LogField.DOWNSTREAM_REMOTE_ADDRESS, "Address and port of the client."),
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": (LogField.CLIENT, "Address of the client."),
    "REQUEST_ID": (LogField.REQUEST_ID, "The `x-request-id` of the request."),
    "CONNECTION_ID": (LogField.CONNECTION_ID, "Number of the client's connection."),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": (LogField.ATTEMPTS, "How often the request was sent, or tried to be."),
    "PROXY_TIME": (LogField.PROXY_TIME, "Microseconds spent in the proxy itself."),
    "RATE_LIMITED_BY": (LogField.RATE_LIMITED_BY, "Rate limits that refused the request, `name`, or would have in "
                                                  "their dry run, `name=dry_run`; with commas between them."),
    "DEGRADED": (LogField.DEGRADED, "What has answered in place of the route's cluster, and why, as the header "
                                    "`x-fastmesh-degraded` says it: `stale; reason=timeout; age=12`."),
    "LABELS": (LogField.LABELS, "What filters have set in `request.labels`: an object in JSON, `a=b,c=d` in text."),
}

# Operators of Envoy that stand for something fastmesh does not do yet. They keep copied formats working: a value
# that is absent, as Envoy writes it when there is none.
ABSENT = frozenset((
    "CONNECTION_TERMINATION_DETAILS", "UPSTREAM_TRANSPORT_FAILURE_REASON", "UPSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS", "REQUESTED_SERVER_NAME", "DOWNSTREAM_PEER_URI_SAN", "UPSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON", "GRPC_STATUS", "TRACE_ID",
))

_REQUEST_HEADERS = {":method": LogField.METHOD, ":path": LogField.PATH, ":authority": LogField.AUTHORITY,
                    "host": LogField.AUTHORITY, "x-forwarded-for": LogField.X_FORWARDED_FOR,
                    "user-agent": LogField.USER_AGENT, "x-request-id": LogField.REQUEST_ID}

# The key order and the keys of Istio's default JSON log.
ISTIO_FIELDS = {
    "start_time": "%START_TIME%", "method": "%REQ(:METHOD)%", "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%", "response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "bytes_received": "%BYTES_RECEIVED%", "bytes_sent": "%BYTES_SENT%", "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%", "request_id": "%REQ(X-REQUEST-ID)%", "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%", "upstream_cluster": "%UPSTREAM_CLUSTER%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%", "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%", "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "route_name": "%ROUTE_NAME%",
}
# Envoy's default line.
DEFAULT_TEMPLATE = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" '
    '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"')

# What stands between two percent signs. A doubled sign is the sign itself.
_PIECE = re.compile(r"%%|%([A-Z_0-9]+)(?:\(([^()%]*)\))?(:[0-9]+)?%|%")
MAX_LABEL = 64               # bytes of a label's name
MAX_OWN_TEXT = 65536         # bytes of a format beside its operators; workers hold room for so many
_TOKEN = re.compile(r"[!#$&'*+.^_`|~0-9A-Za-z-]{1,256}")
_ALLOWED = "the operators that `fastmesh reference access_log.template` lists, as %REQ(:METHOD)% or %RESPONSE_CODE%"


def meanings() -> Iterator[tuple[str, str]]:
    """Each operator as one writes it, and what it stands for."""
    yield "%REQ(:METHOD)%", "Method of the request."
    yield "%REQ(:PATH)%", ("Path and query as the client sent them, whatever a route makes of them. "
                           "`%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%` is the same.")
    yield "%REQ(:AUTHORITY)%", "Host of the request."
    yield "%REQ(NAME)%", "A header of the request."
    yield "%RESP(NAME)%", "A header of the answer."
    yield "%LABEL(NAME)%", "What filters have set as `request.labels[\"NAME\"]`."
    for name, (_, meaning) in OPERATORS.items():
        yield f"%{name}%", meaning


def check_template(text: str) -> str:
    """The template itself, when it compiles. Raises WrongValue."""
    compile_template(text)
    return text


def check_field(text: str) -> str:
    """The value of a JSON key itself, when it compiles. Raises WrongValue."""
    _compile_value(text)
    return text


def compile_template(text: str) -> list[LogOp]:
    """The pieces of a text line. Raises WrongValue."""
    line = text.removesuffix("\n")
    if any(ord(character) < 32 or ord(character) == 127 for character in line.replace("\t", "")):
        raise WrongValue("a control character or a line break", "a template of one line")
    return _joined(_pieces(line, quote=0))


def compile_json(fields: Mapping[str, str]) -> list[LogOp]:
    """The pieces of a JSON line. Raises WrongValue."""
    ops, before = [], "{"
    for key, value in fields.items():
        ops.append(LogOp(LogField.LITERAL, 0, f"{before}{json.dumps(key)}:"))
        ops.append(_compile_value(value))
        before = ","
    ops.append(LogOp(LogField.LITERAL, 0, "}"))
    return _joined(ops)


def own_text(ops: list[LogOp]) -> int:
    """Bytes of a line that are there whatever is logged."""
    return sum(len(op.text.encode()) for op in ops if op.field == LogField.LITERAL)


def absent_operators(text: str) -> list[str]:
    """The operators in `text` that never have a value."""
    return sorted({match[1] for match in _PIECE.finditer(text) if match[1] in ABSENT})


def _compile_value(text: str) -> LogOp:
    pieces = _pieces(text, quote=1)
    if len(pieces) == 1 and (pieces[0].quote or (pieces[0].text == "null" and text != "null")):
        return pieces[0]
    if any(piece.field or piece.quote for piece in pieces) or absent_operators(text):
        raise WrongValue(repr(text[:80]), "one operator, as %RESPONSE_CODE%, or text without operators",
                         "give each operator a key of its own")
    return LogOp(LogField.LITERAL, 0, json.dumps("".join(piece.text for piece in pieces)))


def _pieces(text: str, quote: int) -> list[LogOp]:
    ops, at = [], 0
    for match in _PIECE.finditer(text):
        if match.start() > at:
            ops.append(LogOp(LogField.LITERAL, 0, text[at:match.start()]))
        at = match.end()
        ops.append(LogOp(LogField.LITERAL, 0, "%") if match[0] == "%%" else _operator(match, text, quote))
    if at < len(text):
        ops.append(LogOp(LogField.LITERAL, 0, text[at:]))
    return ops


def _operator(match: "re.Match[str]", text: str, quote: int) -> LogOp:
    whole, name, argument = match[0], match[1], match[2]
    if name is None:
        # A lone sign: show what was probably meant to be an operator.
        loose = re.match(r"%[^%\s]{0,40}%?", text[match.start():])
        raise WrongValue(repr(loose[0] if loose else whole), _ALLOWED, "write %% for the character % itself")
    if match[3]:
        raise WrongValue(repr(whole), "an operator without a length", f"leave out {match[3]}")
    if name in ("REQ", "RESP"):
        return _header(whole, name, argument, quote)
    if name == "LABEL":
        if not argument or len(argument.encode()) > MAX_LABEL:
            raise WrongValue(repr(whole), f"a label's name of at most {MAX_LABEL} bytes, as %LABEL(tenant)%")
        return LogOp(LogField.LABEL, quote, argument)
    if name in ABSENT:
        return LogOp(LogField.LITERAL, 0, "null" if quote else "-")
    if name not in OPERATORS:
        known = [*OPERATORS, "REQ", "RESP", "LABEL"]
        close = difflib.get_close_matches(name, known, 1, 0.6)
        raise WrongValue(f"the unknown operator {whole!r}", _ALLOWED, f"write %{close[0]}%" if close else "")
    if argument is not None:
        raise WrongValue(repr(whole), f"%{name}% without an argument", f"write %{name}%")
    return LogOp(OPERATORS[name][0], quote, "")


def _header(whole: str, operator: str, argument: str | None, quote: int) -> LogOp:
    names = (argument or "").lower().split("?")
    # The log has the path that was asked for, which Envoy calls the original one: its usual pair means just that.
    if len(names) == 2 and names[0] == "x-envoy-original-path":
        names = names[1:]
    if len(names) > 1:
        raise WrongValue(repr(whole), f"one header name, as %{operator}({names[0].upper()})%",
                         "log the two headers one after the other")
    name = names[0]
    if operator == "REQ" and name in _REQUEST_HEADERS:
        return LogOp(_REQUEST_HEADERS[name], quote, "")
    if operator == "RESP" and name == "x-envoy-upstream-service-time":
        return LogOp(LogField.UPSTREAM_SERVICE_TIME, quote, "")
    if operator == "RESP" and name == ":status":
        return LogOp(LogField.RESPONSE_CODE, quote, "")
    if name == "x-envoy-original-path":
        return LogOp(LogField.LITERAL, 0, "null" if quote else "-")
    if not _TOKEN.fullmatch(name):
        raise WrongValue(repr(whole), f"a header name in parentheses, as %{operator}(USER-AGENT)%")
    return LogOp(LogField.REQUEST_HEADER if operator == "REQ" else LogField.RESPONSE_HEADER, quote, name)


def _joined(ops: list[LogOp]) -> list[LogOp]:
    """The same with neighbouring literals made one."""
    joined: list[LogOp] = []
    for op in ops:
        if op.field == LogField.LITERAL and joined and joined[-1].field == LogField.LITERAL:
            joined[-1] = LogOp(LogField.LITERAL, 0, joined[-1].text + op.text)
        else:
            joined.append(op)
    return joined
