"""See facts.pxd, and view.pyi for what authors may rely on."""
from cpython.unicode cimport PyUnicode_DecodeLatin1
from fastmesh._core.mem.counter import FALLBACK_REASONS
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.access_log cimport flags_text
from fastmesh._core.resil.fallback_rule cimport REASON_STATUS
from fastmesh._core.resil.retry cimport (
    FAULT_CONNECT, FAULT_CONNECT_TIMEOUT, FAULT_PROTOCOL, FAULT_RESET, FAULT_STATUS, FAULT_TIMEOUT)
from fastmesh._core.sys.socket cimport AF_UNIX

cdef dict REASONS = {
    FAULT_CONNECT: "connect_failure", FAULT_CONNECT_TIMEOUT: "connect_timeout", FAULT_RESET: "reset",
    FAULT_PROTOCOL: "protocol", FAULT_STATUS: "status", FAULT_TIMEOUT: "timeout"}


cdef inline str _ascii(span_t s):
    return PyUnicode_DecodeLatin1(<const char *>s.ptr, s.len, NULL) if s.len else ""


cdef class Connection:
    """A client's connection."""

    def __init__(self):
        raise TypeError("connections come from clients")

    def __repr__(self):
        return f"<Connection {self._id} of {self._peer} at {self._listener}>"

    @property
    def peer(self):
        """str, read only. The client's IP address, or "unix"."""
        return self._peer

    @property
    def port(self):
        """int, read only. The client's port; 0 of a Unix-domain socket."""
        return self._port

    @property
    def listener(self):
        """str, read only. Name of the listener that it came in at."""
        return self._listener

    @property
    def id(self):
        """int, read only. A number that no other connection of this proxy has; CONNECTION_ID of the access log."""
        return self._id


cdef Connection connection_of(down_t *d):
    cdef Connection made = Connection.__new__(Connection)
    made.d = d
    made._peer = "unix" if d.addr.family == AF_UNIX else d.peer[:d.peer_len].decode()
    made._port = d.addr.port if d.addr.family != AF_UNIX else 0
    made._listener = d.listener.name.ptr[:d.listener.name.len].decode()
    made._id = d.id
    return made


cdef class UpstreamError:
    """Why an attempt failed."""

    def __repr__(self):
        return f"<UpstreamError {self._reason}: {self._message}>"

    @property
    def reason(self):
        """str, read only. connect_failure, connect_timeout, reset, protocol, timeout (of one attempt, as
        `request.retry` has it), or status."""
        return self._reason

    @property
    def message(self):
        """str, read only. The same as a sentence; "" of a status."""
        return self._message

    @property
    def endpoint(self):
        """str, read only. Address of the endpoint that failed."""
        return self._endpoint

    @property
    def attempt(self):
        """int, read only. Which attempt it was, from 1 on."""
        return self._attempt

    @property
    def may_repeat(self):
        """bool, read only. Nothing that cannot be repeated was sent: the request may go to another endpoint."""
        return self._may_repeat


cdef UpstreamError error_of(stream_t *s, int fault, str endpoint):
    cdef UpstreamError made = UpstreamError.__new__(UpstreamError)
    made._reason = REASONS[fault]
    made._message = s.fault_why.decode() if s.fault_why is not NULL else ""
    made._endpoint = endpoint
    made._attempt = s.attempts
    made._may_repeat = s.fault_may_repeat
    return made


cdef class Failure:
    """What made a fallback begin."""

    def __repr__(self):
        return f"<Failure {self._reason} of {self._cluster}: {self._status}>"

    @property
    def reason(self):
        """str, read only. As `on` of the step has it: no-endpoint, overflow, connect-failure, reset, protocol-error,
        timeout, overload, rate-limit, deadline; or status, of an answer that is none."""
        return self._reason

    @property
    def status(self):
        """int, read only. What the client is answered with when no step answers; of `status`, the upstream's."""
        return self._status

    @property
    def flags(self):
        """str, read only. Envoy's response flags, as `UH`; "" of a status."""
        return self._flags

    @property
    def details(self):
        """str, read only. Envoy's response code details."""
        return self._details

    @property
    def message(self):
        """str, read only. Why, as a sentence for those who run the mesh; not for clients."""
        return self._message

    @property
    def cluster(self):
        """str, read only. Name of the cluster that failed first: that of the route."""
        return self._cluster

    @property
    def endpoint(self):
        """str | None, read only. Address of the endpoint that was tried last; None when there was none."""
        return self._endpoint or None

    @property
    def attempts(self):
        """int, read only. Attempts so far, at all clusters."""
        return self._attempts


cdef Failure failure_of(stream_t *s):
    cdef Failure made = Failure.__new__(Failure)
    cdef char room[160]
    made._reason = FALLBACK_REASONS[s.fall_reason]
    made._status = s.fall_status
    made._flags = _ascii(flags_text(s.fall_flags, room)) if s.fall_flags else ""
    made._details = s.fall_details.decode() if s.fall_details is not NULL else ""
    if s.fall_reason == REASON_STATUS:
        made._message = f"{s.fall_from.name.ptr[:s.fall_from.name.len].decode()} answered with {s.fall_code}"
    else:
        made._message = s.fall_why.decode() if s.fall_why is not NULL else ""
    made._cluster = s.fall_from.name.ptr[:s.fall_from.name.len].decode()
    if s.endpoint is not NULL:
        made._endpoint = _ascii(s.endpoint.text)
    elif s.n_tried:
        made._endpoint = _ascii(s.tried[s.n_tried - 1].text)
    else:
        made._endpoint = ""
    made._attempts = s.attempts + s.fall_attempts
    return made


cdef class Outcome:
    """How an exchange ended."""

    def __repr__(self):
        return f"<Outcome {self._status} {self._flags or '-'} {self._details}>"

    @property
    def status(self):
        """int, read only. 0 when no answer was given."""
        return self._status

    @property
    def flags(self):
        """str, read only. Envoy's response flags, "" when there is none."""
        return self._flags

    @property
    def details(self):
        """str, read only. Envoy's response code details: `via_upstream`, or what made the proxy answer by itself."""
        return self._details

    @property
    def duration(self):
        """float, read only. Seconds from the request's head to the end."""
        return self._duration

    @property
    def upstream_time(self):
        """float | None, read only. Seconds from the request sent to the answer's first byte."""
        return self._upstream_time

    @property
    def received(self):
        """int, read only. Bytes of the request's body."""
        return self._received

    @property
    def sent(self):
        """int, read only. Bytes of the answer's body."""
        return self._sent

    @property
    def endpoint(self):
        """str | None, read only. Address of the endpoint that answered, or was tried last; None when there was none."""
        return self._endpoint


cdef Outcome outcome_of(stream_t *s, uint64_t now_ns):
    cdef Outcome made = Outcome.__new__(Outcome)
    cdef char room[160]
    cdef span_t flags = flags_text(s.flags, room)
    made._status = s.status
    made._flags = "" if s.flags == 0 else _ascii(flags)
    made._details = s.details.decode() if s.details is not NULL else "via_upstream"
    made._duration = (now_ns - s.start_ns) / 1e9
    if s.first_ns > s.sent_ns and s.sent_ns != 0:
        made._upstream_time = (s.first_ns - s.sent_ns) / 1e9
    made._received = s.received - s.head_bytes
    made._sent = s.sent
    if s.endpoint is not NULL:
        made._endpoint = _ascii(s.endpoint.text)
    elif s.n_tried:
        made._endpoint = _ascii(s.tried[s.n_tried - 1].text)
    return made
