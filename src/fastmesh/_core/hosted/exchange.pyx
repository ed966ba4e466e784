"""See exchange.pxd.

The same object in all phases of an exchange, open within them. A phase of the request's direction and one of the
answer's may run at the same time: each has a list of its own for its edits.
"""
import os
import re
from collections import namedtuple
from collections.abc import MutableMapping

from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.filter.answer cimport answer_body, answer_is_bodiless, answer_status
from fastmesh._core.hosted.fields cimport Headers, Owner, headers_heard
from fastmesh._core.hosted.heard cimport (
    heard_array, heard_is_nil, heard_skip, heard_t, heard_uint, heard_value)
from fastmesh._core.filter.headers import ViewClosed, cookies_of
from fastmesh._core.filter.retry_rule import Retry, retry_heard, retry_told
from fastmesh._core.filter.split import choose
from fastmesh._core.filter.subset_asked import subset_words

cimport cython

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    static inline uint64_t fm_monotonic_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    """
    uint64_t fm_monotonic_ns() noexcept nogil

cdef enum:
    # As in fastmesh.filters.protocol.
    DISCARD = 2
    SET = 0
    PATH = 3
    QUERY = 4
    CLUSTER = 5
    TIMEOUT = 6
    LABEL = 7
    UNLABEL = 8
    STATUS = 9
    SPLIT = 10
    RETRY = 11
    SUBSET = 12
    TO_REQUEST = 0
    TO_RESPONSE = 1
    TO_TRAILERS = 2
    LABELS_MOST = 16
    LABEL_NAME_MOST = 64
    # Phases in which a head has not been sent, as bits.
    EDITED_IN = 1 << ON_REQUEST | 1 << ON_ROUTE | 1 << ON_REQUEST_BODY
    STEERED_IN = 1 << ON_REQUEST | 1 << ON_ROUTE
    ANSWER_EDITED_IN = 1 << ON_RESPONSE | 1 << ON_RESPONSE_BODY
    # Places of a head.
    AT_METHOD = 0
    AT_PATH = 1
    AT_QUERY = 2
    AT_TARGET = 3
    AT_HOST = 4
    AT_SCHEME = 5
    AT_VERSION = 6
    AT_ID = 7
    AT_LENGTH = 8
    AT_UPGRADE = 9
    AT_FIELDS = 10
    HEAD_PARTS = 12           # behind the fields there is the connection

PHASES = (
    "on_connection", "on_request", "on_route", "on_request_chunk", "on_request_body", "on_request_stream",
    "on_request_trailers", "on_upstream_error", "on_retry", "on_response", "on_response_chunk", "on_response_body",
    "on_response_stream", "on_response_trailers", "on_complete", "answer")
cdef object TARGET_PATH = re.compile(r"\*|/[!\"$->@-~]*")
cdef str OVER = ("this request's exchange is over: keep what you need of it (str values, headers.copy()) before "
                 "on_complete ends")
cdef str BETWEEN = ("a request may be used while one of its phases runs, not between them: keep what you need of it "
                    "(str values, headers.copy()) before the phase ends")


class Connection(namedtuple("Connection", ("peer", "port", "listener", "id"))):
    """A client's connection."""

    __slots__ = ()

    def __repr__(self):
        return f"<Connection {self.id} of {self.peer} at {self.listener}>"


class Labels(MutableMapping):
    """Words about an exchange: for the access log, rate limits, and metrics."""

    def __init__(self, Request request, dict words):
        self._request = request
        self._words = words

    def _told(self, dict words):
        """As the worker has them now."""
        self._words = words

    def __getitem__(self, name):
        return self._words[name]

    def __setitem__(self, name, value):
        cdef Call call = (<Request>self._request).alive()
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"labels are str: {name!r}: {value!r}")
        if not name or len(name.encode()) > LABEL_NAME_MOST or not name.isprintable():
            raise ValueError(f"a label's name has 1 to {LABEL_NAME_MOST} printable bytes: {name!r}")
        if name not in self._words and len(self._words) >= LABELS_MOST:
            raise ValueError(f"an exchange has at most {LABELS_MOST} labels; {name!r} is one more")
        call.edit(LABEL, TO_REQUEST, name, value)
        self._words[name] = value

    def __delitem__(self, name):
        cdef Call call = (<Request>self._request).alive()
        if name not in self._words:
            raise KeyError(name)
        call.edit(UNLABEL, TO_REQUEST, name, "")
        del self._words[name]

    def __iter__(self):
        return iter(self._words)

    def __len__(self):
        return len(self._words)

    def __repr__(self):
        return f"Labels({self._words!r})"


cdef class Hosted:

    def __init__(self, instance, phases, double timeout):
        self.instance = instance
        self.calls = {phase: getattr(instance, phase) for phase in phases}
        self.by_number = [self.calls.get(phase) for phase in PHASES]
        self.timeout = timeout


@cython.freelist(32)
cdef class Call:

    @property
    def phase(self):
        return PHASES[self.phase_number]

    cdef int edit(self, int which, int target, object name, object value) except -1:
        if self.edits is None:
            self.edits = []
        self.edits.append((which, target, name, value))
        return 0


cdef class Request(Owner):
    """A request on its way to the upstream, and the exchange as a whole."""

    # --- for the host ---

    cdef int heard(self, bytes message, heard_t *h, uint64_t now_ns) except -1:
        """What the worker says of it now: head and facts are next."""
        if not heard_is_nil(h):
            self.head_message = message
            self.head_came = h[0]
            self.has_head = True
            self.head_made = None
            self.headers_made = None
            self.connection_made = None
            heard_skip(h)
        if not heard_is_nil(h):
            self.facts_message = message
            self.facts_came = h[0]
            self.facts_at_ns = now_ns
            heard_skip(h)
        return 0

    cdef int learn(self) except -1:
        """The facts that came last are looked at."""
        cdef heard_t h
        if self.facts_message is None:
            return 0
        h = self.facts_came
        if heard_array(&h) != 9:
            raise ValueError("facts that are none")
        self.route_name = heard_value(&h)
        self.cluster_name = heard_value(&h)
        self.limit = heard_value(&h)
        self.endpoint_name = heard_value(&h)
        self.n_attempts = heard_uint(&h)
        self.since = heard_value(&h)
        words = heard_value(&h)
        self.rule = heard_value(&h)
        self.asked_subset = heard_value(&h)
        if words is not None:
            if self.words is None:
                self.words = Labels(self, words)
            else:
                self.words._told(words)
        self.facts_message = None
        return 0

    cdef int open(self, Call call) except -1:
        call.is_open = True
        call.below = self.top
        self.top = call
        return 0

    cdef int shut(self, Call call) except -1:
        cdef Call above = self.top
        if above is call:
            self.top = call.below
        else:
            while above is not None and above.below is not call:
                above = above.below
            if above is not None:
                above.below = call.below
        call.below = None
        return 0

    cdef int end(self) except -1:
        """Its exchange is over: no phase begins any more."""
        self.is_over = True
        return self.part()

    cdef int part(self) except -1:
        """When the last phase has ended: what refers to each other is parted, so that nobody has to look for it."""
        if self.top is not None or not self.is_over:
            return 0
        self.headers_made = None
        self.words = None
        if self.response is not None:
            self.response.parted()
            self.response = None
        return 0

    cdef Call alive(self):
        if self.top is None:
            raise ViewClosed(OVER if self.is_over else BETWEEN)
        return self.top

    cdef int look(self) except -1:
        if self.top is None:
            self.alive()
        if not self.has_head:
            raise ViewClosed("a TCP connection has no request head")
        return 0

    cdef list head(self):
        cdef heard_t h
        cdef list made
        self.look()
        if self.head_made is None:
            h = self.head_came
            if heard_array(&h) != HEAD_PARTS:
                raise ValueError("a head that is none")
            made = []
            for _ in range(AT_FIELDS):
                made.append(heard_value(&h))
            self.head_made = made
        return self.head_made

    cdef Call phase_of(self, uint32_t phases, str why_not):
        """That of the phases which runs. Raises RuntimeError where none of them does."""
        cdef Call call = self.alive()
        while call is not None:
            if phases >> call.phase_number & 1:
                return call
            call = call.below
        raise RuntimeError(why_not)

    cdef Call _edited(self):
        cdef Call call = self.top
        while call is not None:
            if <uint32_t>EDITED_IN >> call.phase_number & 1:
                return call
            call = call.below
        raise RuntimeError("the request is on its way already: its head can be changed in on_request, on_route and "
                           f"on_request_body, not in {self.alive().phase}")

    cdef Call _steered(self, str what):
        """A phase in which it can still be said where the request goes."""
        self.alive()
        self.learn()
        if self.route_name is None:
            raise RuntimeError(f"no route is chosen yet: set {what} in on_route, or in on_request of a filter that "
                               "stands at a route")
        return self.phase_of(STEERED_IN, f"the request is on its way already: {what} can be changed in on_request "
                             "and on_route")

    cdef int change(self, int which, object name, object value) except -1:
        self._edited().edit(which, TO_REQUEST, name, value)
        if len(name) == 12 and name.lower() == "x-request-id" and self.has_head:
            self.head()[AT_ID] = None if which == DISCARD else value
        return 0

    # --- the request line ---

    @property
    def method(self):
        return self.head()[AT_METHOD]

    @property
    def path(self):
        return self.head()[AT_PATH]

    @path.setter
    def path(self, value):
        cdef Call call = self._edited()
        cdef list head = self.head()
        if not TARGET_PATH.fullmatch(value):
            raise ValueError(f"{value!r} cannot stand in a request line: a path begins with '/' and has visible ASCII "
                             "characters, others percent-encoded (urllib.parse.quote)")
        call.edit(PATH, TO_REQUEST, "", value)
        target = f"{value}?{head[AT_QUERY]}" if "?" in self.target else value
        head[AT_PATH], head[AT_TARGET] = value, target

    @property
    def query(self):
        return self.head()[AT_QUERY]

    @query.setter
    def query(self, value):
        cdef Call call = self._edited()
        cdef list head = self.head()
        if not value.isascii() or not value.isprintable() or "#" in value or " " in value:
            raise ValueError(f"{head[AT_PATH]!r} with the query {value!r} cannot stand in a request line: visible "
                             "ASCII characters are allowed, others percent-encoded (urllib.parse.quote)")
        call.edit(QUERY, TO_REQUEST, "", value)
        path = self.target.partition("?")[0]
        head[AT_QUERY], head[AT_TARGET] = value, f"{path}?{value}" if value else path

    @property
    def target(self):
        cdef list head = self.head()
        if head[AT_TARGET] is None:     # path and query say it
            head[AT_TARGET] = f"{head[AT_PATH]}?{head[AT_QUERY]}" if head[AT_QUERY] else head[AT_PATH]
        return head[AT_TARGET]

    @property
    def host(self):
        return self.head()[AT_HOST]

    @host.setter
    def host(self, value):
        self._edited()
        # By way of the headers, which check it.
        self.headers["host"] = value
        self.head()[AT_HOST] = value

    @property
    def scheme(self):
        return self.head()[AT_SCHEME]

    @property
    def http_version(self):
        return self.head()[AT_VERSION]

    @property
    def headers(self):
        cdef heard_t h
        self.look()
        if self.headers_made is None:
            h = self.head_came
            if heard_array(&h) != HEAD_PARTS:
                raise ValueError("a head that is none")
            for _ in range(AT_FIELDS):
                heard_skip(&h)
            self.headers_made = headers_heard(self, self.head_message, &h)
        return self.headers_made

    @property
    def cookies(self):
        return cookies_of(self.headers)

    @property
    def params(self):
        from urllib.parse import parse_qsl

        return dict(parse_qsl(self.query, keep_blank_values=True, max_num_fields=1000))

    # --- the exchange ---

    @property
    def connection(self):
        cdef heard_t h
        self.alive()
        if self.connection_made is None:
            if not self.has_head:
                raise ViewClosed("what there is of this connection did not travel")
            h = self.head_came
            heard_array(&h)
            for _ in range(HEAD_PARTS - 1):
                heard_skip(&h)
            self.connection_made = Connection(*heard_value(&h))
        return self.connection_made

    @property
    def peer(self):
        return self.connection.peer

    @property
    def listener(self):
        return self.connection.listener

    @property
    def id(self):
        cdef list head = self.head()
        cdef Call call = self.top
        found = head[AT_ID]
        if found is None:
            while call is not None and not <uint32_t>EDITED_IN >> call.phase_number & 1:
                call = call.below
            if call is None:
                return ""
            # A version 4 UUID (RFC 9562), as the proxy would make one.
            raw = bytearray(os.urandom(16))
            raw[6] = raw[6] & 0x0F | 0x40
            raw[8] = raw[8] & 0x3F | 0x80
            made = raw.hex()
            found = head[AT_ID] = f"{made[:8]}-{made[8:12]}-{made[12:16]}-{made[16:20]}-{made[20:]}"
            self.change(SET, "x-request-id", found)
        return found if isinstance(found, str) else found.decode("latin-1")

    @property
    def route(self):
        self.alive()
        self.learn()
        return self.route_name

    @property
    def cluster(self):
        self.alive()
        self.learn()
        return self.cluster_name

    @cluster.setter
    def cluster(self, name):
        cdef Call call = self._steered("the cluster")
        if not isinstance(name, str):
            raise TypeError(f"the name of a cluster is a str, not {type(name).__name__}")
        call.edit(CLUSTER, TO_REQUEST, "", name)
        self._moved(name)

    def split(self, weights, by=None):
        cdef Call call = self._steered("the cluster")
        # The worker, which knows what clusters there are, chooses as it is done here: by the same key.
        key = os.urandom(8) if by is None else by
        chosen = choose(weights, key)
        call.edit(SPLIT, TO_REQUEST, "", ([list(pair) for pair in weights.items()], key))
        self._moved(chosen)
        return chosen

    cdef int _moved(self, object cluster) except -1:
        if cluster != self.cluster_name:
            self.asked_subset = None        # it was the other cluster's
        self.cluster_name = cluster
        return 0

    @property
    def subset(self):
        self.alive()
        self.learn()
        return None if self.asked_subset is None else dict(self.asked_subset)

    @subset.setter
    def subset(self, words):
        cdef Call call = self._steered("the subset")
        # The worker knows which there are.
        words = subset_words(words)
        call.edit(SUBSET, TO_REQUEST, "", None if words is None else [word for pair in words.items() for word in pair])
        self.asked_subset = words

    @property
    def retry(self):
        self.alive()
        self.learn()
        if isinstance(self.rule, int):
            return Retry(self.rule, backoff=0)      # by the settings of the cluster: so many endpoints
        return None if self.rule is None else retry_heard(list(self.rule))

    @retry.setter
    def retry(self, rule):
        cdef Call call = self._steered("retry")
        if rule is not None and not isinstance(rule, Retry):
            raise TypeError(f"retry = {rule!r}: a Retry is allowed, or None for a single attempt")
        self.rule = None if rule is None else retry_told(rule)
        call.edit(RETRY, TO_REQUEST, "", self.rule)

    @property
    def timeout(self):
        self.alive()
        self.learn()
        return self.limit

    @timeout.setter
    def timeout(self, seconds):
        cdef str why_not = ("the timeout can be changed in on_route, and in on_request of a filter that stands at a "
                            "route")
        cdef Call call
        self.alive()
        self.learn()
        if self.route_name is None:
            raise RuntimeError(why_not)
        call = self.phase_of(STEERED_IN, why_not)
        if seconds is not None and not 0 < seconds <= 86400:
            raise ValueError(f"a timeout of {seconds!r} s: more than 0 and at most 86400 is allowed, or None for no "
                             "limit")
        call.edit(TIMEOUT, TO_REQUEST, "", seconds)
        self.limit = seconds

    @property
    def endpoint(self):
        self.alive()
        self.learn()
        return self.endpoint_name

    @property
    def attempts(self):
        self.alive()
        self.learn()
        return self.n_attempts

    @property
    def state(self):
        self.alive()
        if self.kept is None:
            self.kept = {}
        return self.kept

    @property
    def labels(self):
        self.alive()
        self.learn()
        if self.words is None:
            self.words = Labels(self, {})
        return self.words

    @property
    def elapsed(self):
        self.alive()
        self.learn()
        return self.since + (fm_monotonic_ns() - self.facts_at_ns) / 1e9

    @property
    def is_upgrade(self):
        return self.head()[AT_UPGRADE]

    @property
    def content_length(self):
        return self.head()[AT_LENGTH]

    def __repr__(self):
        try:
            return f"<Request {self.method} {self.target}>"
        except ViewClosed:
            return "<Request, closed>"


cdef Response response_heard(Request request, bytes message, heard_t *h):
    """That of a request, which is next in the message."""
    cdef Response made = Response.__new__(Response)
    made.request = request
    if heard_array(h) != 4:
        raise ValueError("an answer that is none")
    made.code = <int>heard_uint(h)
    made.own = heard_value(h)
    made.content = heard_value(h)
    made.fields = headers_heard(made, message, h)
    return made


cdef class Response(Owner):
    """An answer: one that a filter gives, or the upstream's on its way to the client."""

    def __init__(self, status=200, *, text=None, json=None, body=None, headers=(), content_type=None):
        self.own = True
        self.content, kind = answer_body(text, json, body)
        self.code = answer_status(status)
        self.fields = Headers(headers)
        if content_type is not None:
            self.fields["content-type"] = content_type
        elif kind is not None and "content-type" not in self.fields:
            self.fields["content-type"] = kind
        if self.content and answer_is_bodiless(status):
            raise ValueError(f"an answer with status {status} has no body")

    cdef int parted(self) except -1:
        """Nobody will look at it any more: its headers refer back to it."""
        self.fields = Headers()
        return 0

    cdef int look(self) except -1:
        if self.request is not None and self.request.top is None:
            self.request.alive()
        return 0

    cdef int change(self, int which, object name, object value) except -1:
        if self.request is not None:
            self.request.phase_of(ANSWER_EDITED_IN, "the answer's head is on its way already: it can be changed in "
                                  "on_response, and in on_response_body").edit(which, TO_RESPONSE, name, value)
        return 0

    @property
    def status(self):
        return self.code

    @status.setter
    def status(self, value):
        if self.content and answer_is_bodiless(value):
            raise ValueError(f"this answer has a body, and one with status {value} must not have any")
        self.change(STATUS, "", answer_status(value))
        self.code = value

    @property
    def headers(self):
        self.look()
        return self.fields

    @property
    def is_local(self):
        return self.own

    @property
    def body(self):
        return self.content

    def __repr__(self):
        return f"<Response {self.code}>"


cdef class Trailers(Owner):
    """The fields behind a body."""

    cdef int look(self) except -1:
        self.call.request.alive()
        return 0

    cdef int change(self, int which, object name, object value) except -1:
        return self.call.edit(which, TO_TRAILERS, name, value)
