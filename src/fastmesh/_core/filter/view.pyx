"""See view.pxd, and view.pyi for what authors may rely on."""
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.string cimport memcpy
from fastmesh._core.filter import facts
from fastmesh._core.filter import headers as headers_module
from fastmesh._core.filter.facts import Outcome  # no-cython-lint
from fastmesh._core.filter.headers import HeaderError, ViewClosed, cookies_of  # no-cython-lint
from fastmesh._core.filter.subset_asked import subset_words
from fastmesh._core.filter.answer cimport answer_body, answer_is_bodiless, answer_status
from fastmesh._core.filter.facts cimport connection_of
from fastmesh._core.filter.headers cimport headers_of, text_of
from fastmesh._core.filter.retry_rule cimport Retry, retry_by_settings, retry_never, retry_of_route
from fastmesh._core.filter.split cimport cluster_place, split_choose
from fastmesh._core.filter.subset_asked cimport SubsetAsked, subset_asked, subset_needs_head, subset_told
from fastmesh._core.filter.wait import Cancelled, FilterTimeout, Signal, Sleep, Wait  # no-cython-lint
from fastmesh._core.filter.chain cimport STAGES_MAX, Slot
from fastmesh._core.http.edit cimport head_add_own, head_copy, head_empty, head_free, head_set_target
from fastmesh._core.http.h1 cimport h1_limits_t, h1_parse_request
from fastmesh._core.http.msg cimport (
    FRAME_LENGTH, FRAME_NONE, MSG_FIELDS_ROOM, MSG_EDITED, MSG_LINE, MSG_UPGRADE, msg_span, msg_value)
from fastmesh._core.http.token cimport (
    HEADER_X_FORWARDED_PROTO, HEADER_X_REQUEST_ID)
from fastmesh._core.http.uri cimport URI_SAME, uri_normalize
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.mem.raw cimport raw_give, raw_take, raw_zeroed
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.proxy.mux cimport S_TCP, proxy_t
from fastmesh._core.sys.socket cimport AF_UNIX

cdef enum:
    LABELS_MAX = 16
    LABEL_NAME_MAX = 64       # bytes
    LABEL_VALUE_MAX = 256
    NO_PHASE = 255

cdef h1_limits_t ANY
ANY.head_bytes = 65535
ANY.line_bytes = 65535
ANY.fields = MSG_FIELDS_ROOM

cdef list PHASE_WORDS = [
    "on_connection", "on_request", "on_route", "the request's body", "on_request_trailers", "on_upstream_error",
    "on_retry", "on_response", "the answer's body", "on_response_trailers", "on_complete", "weights", "pick",
    "answer"]


cdef inline str _ascii(span_t s):
    return PyUnicode_DecodeLatin1(<const char *>s.ptr, s.len, NULL) if s.len else ""


cdef class Request(View):
    """A request on its way to the upstream, and the exchange as a whole.

    The object is the same in all phases of an exchange, and usable within them only. What may be read may be read
    in each of them; what may be set says until when.
    """

    def __dealloc__(self):
        if self.h is not NULL:
            head_free(self.h)
        raw_give(self.spent)

    def __init__(self):
        raise TypeError("requests come from clients; tests make them with fastmesh.testing")

    # --- for the driver ------------------------------------------------------------------------------------------

    cdef stream_t *alive(self) except NULL:
        if self.s is NULL:
            raise ViewClosed("this request's exchange is over: keep what you need of it (str values, headers.copy()) "
                             "before on_complete ends or first waits")
        if self.depth == 0:
            raise ViewClosed("a request may be used while one of its phases runs, not between them: keep what you need "
                             "of it (str values, headers.copy()) before the phase ends")
        return self.s

    cdef void touch(self) noexcept:
        if self.h is NULL and self.m is not NULL:
            self.h = head_copy(self.m)
            self.m = &self.h.m

    cdef slot_t *slot(self, int stage) noexcept:
        return self.table.c[self.stages[stage]]

    cdef void count_time(self) noexcept:
        if self.spent is NULL:
            self.spent = <uint64_t *>raw_zeroed(STAGES_MAX * sizeof(uint64_t))

    cdef void spend(self, int stage, uint64_t ns) noexcept:
        if self.spent is not NULL:
            self.spent[stage] += ns

    cdef void put_timing(self, head_t *h) noexcept:
        cdef bytes text
        if self.spent is NULL:
            return
        try:
            text = ", ".join([
                f"{_metric_name((<Slot>self.slot(i).owner).name)};dur={self.spent[i] / 1e6:.3f}"
                for i in range(self.n_stages) if self.entered >> i & 1]).encode()
        except BaseException:
            return
        if text:
            head_add_own(h, <const unsigned char *>b"server-timing", 13,
                         span_of(<const unsigned char *><char *>text, <uint32_t>len(text)))

    cdef msg_t *look(self) except NULL:
        self.alive()
        if self.h is NULL and self.m is NULL:
            self.read_again()
        self.touch()
        return self.m

    cdef str sent_id(self):
        """The one that the proxy added to the head that went upstream."""
        cdef stream_t *s = self.s
        cdef msg_t *m = &s.proxy.logged
        if s.wire_len == 0 or h1_parse_request(m, s.wire, s.wire_len, 0, &ANY) <= 0 or m.at[HEADER_X_REQUEST_ID] < 0:
            return ""
        return text_of(m.base + m.fields[m.at[HEADER_X_REQUEST_ID]].value_off,
                       m.fields[m.at[HEADER_X_REQUEST_ID]].value_len)

    cdef int read_again(self) except -1:
        """From the head that went upstream: it was not looked at before."""
        cdef stream_t *s = self.s
        if s.wire_len == 0 or h1_parse_request(&s.proxy.logged, s.wire, s.wire_len, 0, &ANY) <= 0:
            raise ViewClosed("a TCP connection has no request head" if s.bits & S_TCP else
                             "this request's head was not kept")
        self.h = head_copy(&s.proxy.logged)
        self.m = &self.h.m
        return 0

    cdef head_t *edit(self) except NULL:
        self.look()
        if self.is_sent:
            raise RuntimeError("the request is on its way already: its head can be changed in on_request, on_route and "
                               "on_request_body, not in " + PHASE_WORDS[self.phase])
        return self.h

    cdef stream_t *goes(self, str what) except NULL:
        """Where the request goes can still be changed."""
        cdef stream_t *s = self.alive()
        if s.route is NULL:
            raise RuntimeError(f"no route is chosen yet: set {what} in on_route, or in on_request of a filter that "
                               "stands at a route")
        if self.is_sent:
            raise RuntimeError(f"the request is on its way already: {what} can be changed in on_request and on_route")
        return s

    # --- the request line --------------------------------------------------------------------------------------------

    @property
    def method(self):
        """str, read only. As the client sent it: GET, POST, and so on."""
        cdef msg_t *m = self.look()
        return _ascii(msg_span(m, m.method_off, m.method_len))

    @property
    def path(self):
        """str. The path without its query, as it came or was set. Setting it, before or after routing, changes
        what the upstream sees, and before routing what routes see. Raises ValueError unless it begins with "/"
        and can stand in a request line."""
        cdef msg_t *m = self.look()
        cdef span_t path = msg_span(m, m.path_off, m.path_len)
        cdef uint32_t n = 0
        cdef bytes room
        cdef int rc
        if path.len == 0:
            return "/"
        if self.path_normal.ptr is not NULL:
            return _ascii(self.path_normal)
        if path.len == 1:
            return _ascii(path)
        room = bytes(path.len)
        rc = uri_normalize(path.ptr, path.len, <uint8_t *><char *>room, &n)
        return _ascii(path) if rc < 0 or rc == URI_SAME else room[:n].decode("latin-1")

    @path.setter
    def path(self, str value not None):
        cdef head_t *h = self.edit()
        cdef bytes kept = value.encode()
        cdef span_t query = span_of(NULL, 0)
        if h.m.query_has:
            query = msg_span(&h.m, h.m.query_off, h.m.query_len)
        _set_target(h, kept, query)
        self.path_normal = span_of(NULL, 0)

    @property
    def query(self):
        """str. What stands behind "?", undecoded; "" when there is nothing. May be set until the request is
        sent."""
        cdef msg_t *m = self.look()
        return _ascii(msg_span(m, m.query_off, m.query_len)) if m.query_has else ""

    @query.setter
    def query(self, str value not None):
        cdef head_t *h = self.edit()
        cdef bytes query = value.encode()
        cdef bytes path = (<const char *>h.bytes + h.m.path_off)[:h.m.path_len] or b"/"
        if self.path_normal.ptr is not NULL:
            # What routes saw goes upstream, whoever changes the query.
            path = (<const char *>self.path_normal.ptr)[:self.path_normal.len]
            self.path_normal = span_of(NULL, 0)
        _set_target(h, path, span_of(<const unsigned char *><char *>query if value else NULL, <uint32_t>len(query)))

    @property
    def target(self):
        """str, read only. Path and query as the request line has them."""
        cdef str query
        cdef msg_t *m = self.look()
        query = self.query
        path = _ascii(msg_span(m, m.path_off, m.path_len)) or "/"
        return f"{path}?{query}" if m.query_has else path

    @property
    def host(self):
        """str. The Host header, or the target's authority. May be set until the request is sent."""
        cdef msg_t *m = self.look()
        return _ascii(msg_span(m, m.authority_off, m.authority_len))

    @host.setter
    def host(self, str value not None):
        self.headers["host"] = value

    @property
    def scheme(self):
        """str, read only. "http" or "https", as the client spoke to whoever is in front, where that one is
        trusted."""
        cdef msg_t *m = self.look()
        if self.s.down.is_trusted and m.at[HEADER_X_FORWARDED_PROTO] >= 0:
            return _ascii(msg_value(m, m.at[HEADER_X_FORWARDED_PROTO]))
        return "http"

    @property
    def http_version(self):
        """str, read only. Of the client: "1.1" or "1.0"."""
        return f"1.{self.look().minor}"

    @property
    def headers(self):
        """Headers, read only. The fields of the request as they go upstream. May be changed until it is sent,
        which is in on_request and on_route."""
        self.alive()
        return headers_of(self)

    @property
    def cookies(self):
        """dict[str, str], read only. Those that the client sent, by their names; of one that is there twice,
        the first. A copy."""
        return cookies_of(self.headers)

    @property
    def params(self):
        """dict[str, str], read only. The query, decoded; of a name that stands several times, the last. A copy.
        Raises ValueError for more than 1,000 of them."""
        from urllib.parse import parse_qsl

        return dict(parse_qsl(self.query, keep_blank_values=True, max_num_fields=1000))

    # --- the exchange ----------------------------------------------------------------------------------------------

    @property
    def peer(self):
        """str, read only. The client's IP address as the connection has it, or "unix"."""
        cdef down_t *d = self.alive().down
        return "unix" if d.addr.family == AF_UNIX else d.peer[:d.peer_len].decode()

    @property
    def connection(self):
        """Connection, read only. The client's connection that the request came on."""
        if self._connection is None:
            self._connection = connection_of(self.alive().down)
        return self._connection

    @property
    def id(self):
        """str, read only. The value of x-request-id that goes upstream."""
        cdef msg_t *m = self.look()
        cdef proxy_t *p = self.s.proxy
        cdef uint64_t a, b
        if m.at[HEADER_X_REQUEST_ID] >= 0 and (self.s.down.is_trusted or self.is_sent or
                                               m.fields[m.at[HEADER_X_REQUEST_ID]].bits & 2):
            return text_of(m.base + m.fields[m.at[HEADER_X_REQUEST_ID]].value_off,
                           m.fields[m.at[HEADER_X_REQUEST_ID]].value_len)
        if self.is_sent:
            return self.sent_id()
        # A version 4 UUID (RFC 9562), as the proxy would make one.
        a = rng_next(&p.rng)
        b = rng_next(&p.rng)
        made = (f"{a >> 32:08x}-{(a >> 16) & 0xFFFF:04x}-{0x4000 | (a & 0x0FFF):04x}-"
                f"{0x8000 | ((b >> 48) & 0x3FFF):04x}-{b & 0xFFFFFFFFFFFF:012x}")
        self.headers["x-request-id"] = made
        return made

    @property
    def listener(self):
        """str, read only. The name of the listener that it came in by."""
        cdef stream_t *s = self.alive()
        return s.listener.name.ptr[:s.listener.name.len].decode()

    @property
    def route(self):
        """str | None, read only. The route's name, once there is one."""
        cdef stream_t *s = self.alive()
        return s.route.name.ptr[:s.route.name.len].decode() if s.route is not NULL else None

    @property
    def cluster(self):
        """str | None. The cluster that answers, once the route is known. May be set from then on, until the
        request is sent; of several filters that do so, the last one has decided."""
        cdef stream_t *s = self.alive()
        return s.cluster.name.ptr[:s.cluster.name.len].decode() if s.cluster is not NULL else None

    @cluster.setter
    def cluster(self, str name not None):
        cdef stream_t *s = self.goes("the cluster")
        s.cluster = &s.snap.clusters[cluster_place(s.snap, name.encode())]
        self.steered |= STEERED_CLUSTER

    def split(self, weights, by=None):
        """Choose one of several clusters by weight, set `cluster` to it, and return its name::

            request.labels["version"] = request.split({"app": 95, "app-next": 5}, by=request.headers.get("x-user"))

        Without `by` each request is drawn for itself. With it the same key gives the same cluster for as long
        as the weights are the same, in every worker and on every machine; when a cluster's share grows by 5 %,
        about 5 % of the keys move to it, and no key that it has leaves it. Weights are relative: their sum may
        be anything. One of 0 gives a cluster nothing.

        It is a method, not a mapping that is assigned to `cluster`, as it takes a key and has a result: what
        `cluster` reads is always a name. Raises ValueError for a cluster that there is not, a weight below 0,
        or nothing above 0; may be called where `cluster` may be set.
        """
        cdef stream_t *s = self.goes("the cluster")
        s.cluster = split_choose(s, weights, by)
        self.steered |= STEERED_CLUSTER
        return s.cluster.name.ptr[:s.cluster.name.len].decode()

    @property
    def subset(self):
        """dict[str, str] | None. Which subset of the cluster the request is for, by names and values of the endpoints'
        metadata: as the route has it, or who set it last. Once it is sent, that of the subset it went to, which the
        cluster's `fallback` may have chosen. None: all endpoints. May be set as `cluster`, and after it, for it holds
        for the cluster that there is by then. A subset without endpoints is no error: `fallback` says where the request
        goes. Raises ValueError where the cluster has no subsets, or none by these names."""
        cdef stream_t *s = self.alive()
        return subset_told(s, self.look() if subset_needs_head(s) else NULL)

    @subset.setter
    def subset(self, words):
        cdef stream_t *s = self.goes("the subset")
        cdef SubsetAsked asked = None
        words = subset_words(words)
        if words is not None:
            asked = subset_asked(s, words)
        s.subset = &asked.rule if asked is not None else NULL
        self._subset = asked
        self.steered |= STEERED_SUBSET

    @property
    def timeout(self):
        """float | None. Seconds from the request received to the answer sent; None is no limit. May be set as
        `cluster`."""
        cdef stream_t *s = self.alive()
        return s.timeout_ns / 1e9 if s.timeout_ns else None

    @timeout.setter
    def timeout(self, seconds):
        cdef stream_t *s = self.alive()
        cdef double value = 0 if seconds is None else seconds
        if s.route is NULL or self.is_sent:
            raise RuntimeError("the timeout can be changed in on_route, and in on_request of a filter that stands at a "
                               "route")
        if seconds is not None and not 0 < value <= 86400:
            raise ValueError(f"a timeout of {seconds!r} s: more than 0 and at most 86400 is allowed, or None for no "
                             "limit")
        s.timeout_ns = <uint64_t>(value * 1e9)
        s.timeout_by = NULL     # whoever is asked now
        self.steered |= STEERED_TIMEOUT
        if seconds is not None and s.timeout_ns == 0:
            s.timeout_ns = 1

    @property
    def retry(self):
        """Retry | None. After which failures it is tried again, and how often. None: it is not, whatever
        failed, a connect that was refused included. Before anybody sets it: the rule of the route or its
        listener, without the fields of answers that it may name; else as the settings of the cluster say, which
        is after a connect that failed or a connection that was lost, at endpoints that were not tried yet,
        `connect_attempts` in all. May be set as `cluster`. A filter that decides in `on_upstream_error` comes
        before it."""
        cdef stream_t *s = self.alive()
        if s.retry is NULL and s.cluster is not NULL:
            return retry_by_settings(s.cluster.max_connect_attempts)
        if self._retry is None and s.retry is not NULL and s.retry.is_route:
            return retry_of_route(s.retry)
        return self._retry

    @retry.setter
    def retry(self, rule):
        cdef stream_t *s = self.goes("retry")
        if rule is not None and not isinstance(rule, Retry):
            raise TypeError(f"retry = {rule!r}: a Retry is allowed, or None for a single attempt")
        self._retry = rule
        s.retry = retry_never() if rule is None else &self._retry.c
        self.steered |= STEERED_RETRY

    @property
    def endpoint(self):
        """str | None, read only. Address of the endpoint that was chosen last."""
        cdef stream_t *s = self.alive()
        if s.endpoint is not NULL:
            return _ascii(s.endpoint.text)
        return _ascii(s.tried[s.n_tried - 1].text) if s.n_tried else None

    @property
    def attempts(self):
        """int, read only. How often an endpoint was tried so far; 0 before the first time."""
        return self.alive().attempts

    @property
    def state(self):
        """dict[str, Any], read only. The filter author's own, for the exchange; shared by all filters."""
        if self._state is None:
            self.alive()
            self._state = {}
        return self._state

    @property
    def labels(self):
        """Labels, read only. Words about the exchange: for the access log, for the rate limits of routes, and for the
        metrics that `metrics.labels` of the configuration names. May be set in every phase."""
        if self._labels is None:
            self.alive()
            self._labels = Labels.__new__(Labels)
            self._labels.request = self
            self._labels.words = {}
        return self._labels

    @property
    def elapsed(self):
        """float, read only. Seconds since the request's head was complete."""
        cdef stream_t *s = self.alive()
        return (reactor_clock(s.proxy.reactor) - s.start_ns) / 1e9

    @property
    def is_upgrade(self):
        """bool, read only. The client asks for another protocol on this connection, as for a WebSocket."""
        return self.look().bits & MSG_UPGRADE != 0

    @property
    def content_length(self):
        """int | None, read only. Bytes of the body, as the head says: 0 when there is none, None when its
        length comes with it."""
        cdef msg_t *m = self.look()
        if m.framing == FRAME_NONE:
            return 0
        return m.length if m.framing == FRAME_LENGTH else None

    def __repr__(self):
        try:
            return f"<Request {self.method} {self.target}>"
        except ViewClosed:
            return "<Request, closed>"


cdef str _metric_name(str name):
    """A token, as Server-Timing wants it (W3C Server Timing, section 3)."""
    made = ""
    for letter in name:
        made += letter if letter.isascii() and (letter.isalnum() or letter in "-._") else "-"
    return made


cdef int _set_target(head_t *h, bytes path, span_t query) except -1:
    cdef int rc = head_set_target(h, span_of(<const unsigned char *><char *>path, <uint32_t>len(path)), query)
    if rc < 0:
        raise ValueError(f"{path.decode('latin-1')!r} cannot stand in a request line: a path begins with '/' and has "
                         "visible ASCII characters, others percent-encoded (urllib.parse.quote)")
    return 0


cdef class Response(View):
    """An answer: one that a filter gives, or the upstream's on its way to the client.

    At most one of `text`, `json` and `body` is given. `json` is written compactly. Content-Length is added.
    """

    def __init__(self, status=200, *, str text=None, json=None, body=None, headers=(), str content_type=None):
        cdef Headers own
        self.content, kind = answer_body(text, json, body)
        self.h = head_empty()
        self.m = &self.h.m
        self.is_own = True
        self.code = answer_status(status)
        own = headers_of(self)
        for name, value in (headers.items() if hasattr(headers, "items") else headers):
            own.add(name, value)
        if content_type is not None:
            own["content-type"] = content_type
        elif kind is not None and "content-type" not in own:
            own["content-type"] = kind
        if self.content and answer_is_bodiless(status):
            raise ValueError(f"an answer with status {status} has no body")

    def __dealloc__(self):
        if self.h is not NULL:
            head_free(self.h)

    cdef void touch(self) noexcept:
        if self.h is NULL:
            self.h = head_copy(self.m)
            self.m = &self.h.m

    cdef msg_t *look(self) except NULL:
        if self.request is not None:
            self.request.alive()
        if self.m is NULL:
            raise ViewClosed("this answer's exchange is over")
        self.touch()
        return self.m

    cdef head_t *edit(self) except NULL:
        self.look()
        if self.request is not None and self.request.is_answer_sent:
            raise RuntimeError("the answer's head is on its way already: it can be changed in on_response, and in "
                               "on_response_body")
        return self.h

    @property
    def status(self):
        """int. 200 to 599. May be set until the answer is on its way, which is within on_response."""
        return self.code

    @status.setter
    def status(self, value):
        cdef head_t *h = self.edit()
        if answer_is_bodiless(value) and (self.content or (not self.is_own and h.m.framing != FRAME_NONE)):
            raise ValueError(f"this answer has a body, and one with status {value} must not have any")
        self.code = answer_status(value)
        h.m.status = self.code
        h.m.bits |= MSG_LINE | MSG_EDITED

    @property
    def headers(self):
        """Headers, read only. The fields of the answer, which may be changed as long as `status` may be set."""
        return headers_of(self)

    @property
    def is_local(self):
        """bool, read only. It was made by the proxy or a filter, not by the upstream."""
        return self.is_own

    @property
    def body(self):
        """bytes | None, read only. Of an answer that a filter or the proxy gave; None of the upstream's, whose
        body comes in phases."""
        return self.content

    def __repr__(self):
        return f"<Response {self.code}>"


cdef Response response_of(Request r, msg_t *m):
    cdef Response made = Response.__new__(Response)
    made.request = r
    made.m = m
    made.code = m.status
    return made


cdef class Labels:
    """Words about an exchange: for the access log, rate limits, and metrics. At most 16."""

    def __init__(self):
        raise TypeError("labels are those of a request: request.labels")

    def __dealloc__(self):
        raw_give(self.packed)

    def __getitem__(self, name):
        return self.words[name]

    def __setitem__(self, name, value):
        """Replaces the word of that name. Raises ValueError when it cannot be one, or there are 16 others."""
        self.request.alive()
        self.put(name, value)

    cdef int put(self, name, value) except -1:
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"labels are str: {name!r}: {value!r}")
        if not name or len(name.encode()) > LABEL_NAME_MAX or not name.isprintable():
            raise ValueError(f"a label's name has 1 to {LABEL_NAME_MAX} printable bytes: {name!r}")
        if name not in self.words and len(self.words) >= LABELS_MAX:
            raise ValueError(f"an exchange has at most {LABELS_MAX} labels; {name!r} is one more")
        self.words[name] = value
        return self.pack()

    def __delitem__(self, name):
        self.request.alive()
        self.drop(name)

    cdef int drop(self, name) except -1:
        del self.words[name]
        return self.pack()

    def __iter__(self):
        return iter(self.words)

    def __len__(self):
        return len(self.words)

    def __contains__(self, name):
        return name in self.words

    def get(self, key, default=None, /):
        """The word of that name; `default` when there is none."""
        return self.words.get(key, default)

    def setdefault(self, key, default=None, /):
        """The word of that name, which is set to `default` when there is none."""
        if key not in self.words:
            self[key] = default
        return self.words[key]

    def pop(self, key, /, *default):
        """The word of that name, which is taken away; `default` when there is none."""
        if key not in self.words and default:
            return default[0]
        found = self.words[key]
        del self[key]
        return found

    def popitem(self):
        """The name that was set last, and its word, which are taken away."""
        name = next(reversed(self.words))
        return name, self.pop(name)

    def clear(self):
        """Take all of them away."""
        self.request.alive()
        self.words.clear()
        self.pack()

    def update(self, other=(), /, **more):
        """Set several of them."""
        for name, value in {**dict(other), **more}.items():
            self[name] = value

    def __eq__(self, other):
        return self.words == (other.words if isinstance(other, Labels) else other)

    def keys(self):
        """The names, in the order in which they were set first."""
        return self.words.keys()

    def values(self):
        """The words."""
        return self.words.values()

    def items(self):
        """Each name with its word."""
        return self.words.items()

    def __repr__(self):
        return f"Labels({self.words!r})"

    cdef int pack(self) except -1:
        cdef bytes made = b""
        for name, value in self.words.items():
            name = name.encode()
            value = value.encode("utf-8", "replace")[:LABEL_VALUE_MAX]
            made += bytes((len(name),)) + name + len(value).to_bytes(2, "little") + value
        raw_give(self.packed)
        self.packed = <uint8_t *>raw_take(len(made) + 1)
        memcpy(self.packed, <char *>made, len(made))
        self.size = <uint32_t>len(made)
        if self.request.s is not NULL:
            self.request.s.labels = self.packed
            self.request.s.labels_len = self.size
        return 0


# A name that is cimported as well does not come into the module by an import.
globals().update(Headers=headers_module.Headers, Connection=facts.Connection, UpstreamError=facts.UpstreamError,
                 Failure=facts.Failure)
