"""What a route does to its requests on purpose, to see who bears it."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import U32_MAX, Count, Duration, Flag, Parsed, Section, shown
from fastmesh.config.filter import FilterMatch
from fastmesh.errors import WrongValue
from fastmesh.units import format_size, parse_size

MAX_FAULTS = 8              # of one route


_BANDWIDTHS = "a size a second from 16B/s to 1GiB/s, as 64KiB/s"
_SLOWEST, _FASTEST = 16, 1 << 30


def _bandwidth(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        found = value
    elif isinstance(value, str) and value.endswith("/s"):
        try:
            found = parse_size(value.removesuffix("/s"))
        except WrongValue as wrong:
            raise WrongValue(shown(value), _BANDWIDTHS, f"{wrong.hint}/s" if wrong.hint else "") from None
    else:
        raise WrongValue(shown(value), _BANDWIDTHS, f"write {value}/s" if isinstance(value, str) and value else "")
    if not _SLOWEST <= found <= _FASTEST:
        raise WrongValue(shown(value), _BANDWIDTHS)
    return found


GRPC_STATUSES = (
    "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED")      # from 1
_GRPC = "a status of gRPC but OK, as UNAVAILABLE, or its number from 1 to 16"


def _grpc(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 3:
        number = int(value)
    elif isinstance(value, str) and value.upper() in GRPC_STATUSES:
        number = GRPC_STATUSES.index(value.upper()) + 1
    else:
        raise WrongValue(shown(value), _GRPC)
    if not 1 <= number <= len(GRPC_STATUSES):
        raise WrongValue(shown(value), _GRPC)
    return number


def grpc_name(status: int) -> str:
    return GRPC_STATUSES[status - 1]


GrpcStatus = Annotated[int, Parsed(_grpc, "gRPC status", {
    "anyOf": [{"enum": list(GRPC_STATUSES)}, {"type": "integer", "minimum": 1, "maximum": len(GRPC_STATUSES)}],
    "examples": ["UNAVAILABLE"]}, grpc_name)]


Bandwidth = Annotated[int, Parsed(_bandwidth, "bandwidth", {
    "type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?(B|KiB|MiB|GiB)/s$", "examples": ["64KiB/s"]},
    lambda found: f"{format_size(found)}/s")]


class FaultMatch(FilterMatch):
    """Which requests a fault falls on, and on what share of them."""


class Fault(Section):
    """Makes the requests of a route slow, or fail, without their cluster having done anything. At least one of `delay`,
    `abort`, `grpc_status`, `bandwidth` and `request_bandwidth`, or `from_headers` alone; an answer comes after the
    delay. Each fault is drawn by itself: of several delays that fall on a request the longest holds, of several answers
    the first, of several bandwidths the smallest."""

    delay: Annotated[Annotated[int, Duration("1ms", "5m")] | None, Field(
        description="How long a request waits before it is sent on. The time counts for the route's `timeout` and for "
                    "the client's deadline.", examples=["200ms"])] = None
    abort: Annotated[Annotated[int, Count(200, 599)] | None, Field(
        description="The status of the answer that a request gets in place of the cluster's.", examples=[503])] = None
    bandwidth: Annotated[Bandwidth | None, Field(
        description="How fast the body of the cluster's answer goes to the client at most. Its head is not slowed "
                    "down, nor what comes after an upgrade.", examples=["64KiB/s"])] = None
    request_bandwidth: Annotated[Bandwidth | None, Field(
        description="How fast the body of the request goes to the cluster at most.", examples=["64KiB/s"])] = None
    grpc_status: Annotated[GrpcStatus | None, Field(
        description="In place of `abort`: the status of gRPC that a request gets, in the head of an answer with 200. "
                    "Callers of anything else get the HTTP status that says the same.",
        examples=["UNAVAILABLE"])] = None
    from_headers: Annotated[Flag, Field(
        description="The request says what falls on it, in the fields `x-envoy-fault-delay-request` (milliseconds), "
                    "`x-envoy-fault-abort-request` (a status), `x-envoy-fault-abort-grpc-request` (its number) and "
                    "`x-envoy-fault-throughput-response` (KiB a second); only `trusted_clients` are listened to.")
    ] = False
    max_active: Annotated[int, Count(0, U32_MAX), Field(
        description="It falls on no further request while so many are under way with it, over all workers, each "
                    "having its part and at least one. 0 is no limit.")] = 0
    match: Annotated[FaultMatch | None, Field(
        description="Which requests it falls on; all that the route takes when left out. `share` says on how many of "
                    "them.", examples=[{"share": "10%"}])] = None
