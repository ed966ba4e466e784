"""See watch.pxd.

A stream that is watched has an account: a Python object that hears of each step. Nobody waits most of the time, and
then all this costs a request one branch; while somebody does, each request is compared with the GIL held.
"""
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.http.msg cimport msg_span, msg_t, msg_value
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.lb.endpoint cimport endpoint_t
from fastmesh._core.lb.subset cimport SUBSET_KEYS_MAX, subset_pair_t, subset_pairs
from fastmesh._core.mem.span cimport span_ieq, span_of, span_t
from fastmesh._core.net.addr cimport ADDR_TEXT, addr_print
from fastmesh._core.proxy.access_log cimport flags_text
from fastmesh._core.proxy.degraded cimport DEGRADED_TEXT, degraded_text
from fastmesh._core.proxy.limit_fields cimport LIMIT_NAMES, limit_names
from fastmesh._core.proxy.mux cimport (
    STEP_AGAIN, STEP_ALONE, STEP_ANSWERED, STEP_BESIDE, STEP_BESIDE_LOST, STEP_BESIDE_WON, STEP_CUT, STEP_EXHAUSTED,
    STEP_FAILED, STEP_FALLBACK, STEP_LOCAL, STEP_PICKED, STEP_SENT, STEP_DELAYED, STEP_SLOWED, STEP_COPIED,
    STEP_NOT_COPIED, STEP_STEERED, STEP_ASKED, stream_t, watch_ops_t)
from fastmesh._core.route.decision cimport decision_t
from fastmesh._core.route.route_table cimport asker_t, route_miss, route_table_t

from fastmesh._core.lb.subset import CHOICES
from fastmesh._core.route.decision import DECISIONS
from fastmesh._core.route.route_table import MISSES

cdef enum:
    WATCHES_MOST = 16         # who may wait at the same time
    STEPS_MOST = 64
    PASSED_MOST = 64          # routes that are listed of those that did not take it
    LOOKED_MOST = 4096        # … that are looked at
    TEXT_MOST = 1024

STEPS = {STEP_PICKED: "picked", STEP_SENT: "sent", STEP_FAILED: "failed", STEP_ANSWERED: "answered",
         STEP_AGAIN: "again", STEP_LOCAL: "answered here", STEP_BESIDE: "beside", STEP_ALONE: "alone",
         STEP_BESIDE_LOST: "lost", STEP_BESIDE_WON: "won", STEP_CUT: "cut", STEP_FALLBACK: "fallback",
         STEP_EXHAUSTED: "exhausted", STEP_DELAYED: "delayed", STEP_SLOWED: "slowed", STEP_COPIED: "copied",
         STEP_NOT_COPIED: "not copied", STEP_STEERED: "steered", STEP_ASKED: "filters"}
# What the text of a step is; of all others, why.
SAID = {STEP_BESIDE: "rule", STEP_COPIED: "cluster", STEP_STEERED: "filter", STEP_ASKED: "asked"}


cdef str _text(span_t s):
    cdef uint32_t n = s.len if s.len < TEXT_MOST else TEXT_MOST
    return (<const char *>s.ptr)[:n].decode("utf-8", "replace") if s.ptr is not NULL else ""


cdef str _words(const char *text):
    return text.decode("utf-8", "replace") if text is not NULL else ""


cdef class Wanted:
    """Which request somebody waits for: all that is not None must be so."""
    cdef readonly object number
    cdef bytes listener, method, path, host, header, value

    def __init__(self, number, wanted):
        self.number = number
        for key, most in (("listener", 256), ("method", 64), ("path", 8192), ("host", 255), ("header", 256),
                          ("value", 8192)):
            text = wanted.get(key)
            if text is not None and (not isinstance(text, str) or len(text) > most):
                raise ValueError(key)
        self.listener = _bytes(wanted.get("listener"))
        self.method = _bytes(wanted.get("method"))
        self.path = _bytes(wanted.get("path"))
        self.host = _bytes(wanted.get("host"))
        self.header = _bytes(wanted.get("header"))
        self.value = _bytes(wanted.get("value"))

    cdef bint takes(self, const stream_t *s, const msg_t *m):
        cdef uint32_t i
        cdef span_t v
        if self.listener is not None and self.listener != _raw(s.listener.name):
            return False
        if self.method is not None and self.method != _raw(msg_span(m, m.method_off, m.method_len)):
            return False
        if self.path is not None and not (_raw(msg_span(m, m.path_off, m.path_len)) or b"/").startswith(self.path):
            return False
        if self.host is not None and _host(msg_span(m, m.authority_off, m.authority_len)) != self.host.lower():
            return False
        if self.header is None:
            return True
        for i in range(m.n_fields):
            if span_ieq(msg_span(m, m.fields[i].name_off, m.fields[i].name_len),
                        span_of(<const uint8_t *><const char *>self.header, <uint32_t>len(self.header))):
                v = msg_value(m, <int>i)
                if self.value is None or _raw(v) == self.value:
                    return True
        return False


cdef object _bytes(object text):
    return None if text is None else text.encode("utf-8", "surrogateescape")


cdef bytes _raw(span_t s):
    return (<const char *>s.ptr)[:s.len] if s.ptr is not NULL else b""


cdef bytes _host(span_t authority):
    """In lower case, without its port."""
    cdef bytes text = _raw(authority).lower()
    head, colon, port = text.rpartition(b":")
    return head if colon and port.isdigit() else text


cdef class Account:
    """What has become of one request so far."""
    cdef Watches watches
    cdef object number
    cdef dict said
    cdef list steps
    cdef uint64_t start_ns

    cdef void step(self, stream_t *s, str what, dict more):
        if len(self.steps) < STEPS_MOST:
            at = (reactor_clock(s.proxy.reactor) - self.start_ns) / 1e6
            self.steps.append({"ms": round(at, 3), "what": what, **more})


cdef class Watches:

    def __cinit__(self):
        self.p = NULL
        self.waiting = []
        self.told = []

    def add(self, number, wanted):
        """Waits for a request. Raises ValueError for what cannot be waited for."""
        if len(self.waiting) >= WATCHES_MOST:
            raise ValueError(f"{WATCHES_MOST} wait already")
        self.waiting.append(Wanted(number, wanted))
        self.p.n_watches = <uint32_t>len(self.waiting)

    def remove(self, number):
        """Waits no more. What is already under way is told all the same."""
        self.waiting = [one for one in self.waiting if one.number != number]
        self.p.n_watches = <uint32_t>len(self.waiting)

    def take(self):
        """The accounts that are finished, each once: (number, account)."""
        told, self.told = self.told, []
        self.p.has_accounts = 0
        return told


cdef object watches_of(proxy_t *p):
    cdef Watches made = Watches()
    made.p = p
    p.watches = <void *>made
    p.watch_ops = &OPS
    return made


# --- what streams tell ------------------------------------------------------------------------------------------------

cdef void _begun(stream_t *s, const msg_t *m) noexcept nogil:
    with gil:
        _begin(s, m)


cdef void _begin(stream_t *s, const msg_t *m) noexcept:
    cdef Watches all_ = <Watches>s.proxy.watches
    cdef Wanted one
    cdef Account account
    cdef char room[ADDR_TEXT]
    for one in all_.waiting:
        if not one.takes(s, m):
            continue
        account = Account()
        account.watches = all_
        account.number = one.number
        account.start_ns = s.start_ns
        account.steps = []
        account.said = {
            "listener": _text(s.listener.name),
            "client": _text(span_of(<const uint8_t *>room, addr_print(&s.down.addr, room))),
            "method": _text(msg_span(m, m.method_off, m.method_len)),
            "target": _text(msg_span(m, m.target_off, m.target_len)),
            "host": _text(msg_span(m, m.authority_off, m.authority_len)),
        }
        Py_INCREF(account)
        s.account = <void *>account
        all_.remove(one.number)
        return


cdef void _routed(stream_t *s, const msg_t *m, const asker_t *who, const decision_t *d) noexcept nogil:
    with gil:
        _route(s, m, who, d)


cdef void _route(stream_t *s, const msg_t *m, const asker_t *who, const decision_t *d) noexcept:
    cdef Account account = <Account>s.account
    cdef const route_table_t *t = &s.listener.routes
    cdef uint32_t end = d.route.index if d.route is not NULL else t.n
    cdef uint32_t i
    cdef uint32_t hidden = 0
    cdef span_t name
    cdef list passed = []
    for i in range(end):
        if i >= LOOKED_MOST or len(passed) >= PASSED_MOST:
            hidden = end - <uint32_t>len(passed)
            break
        name = span_of(NULL, 0)
        what = MISSES[route_miss(&t.routes[i], m, d.path, who, &name)]
        if end > PASSED_MOST and what in ("host", "path"):
            hidden += 1
            continue
        passed.append([i, _text(t.routes[i].name), what, _text(name)])
    account.said["decided"] = DECISIONS[d.how]
    account.said["path"] = _text(d.path)
    # Of a preflight the one that it asks about.
    account.said["matched_method"] = _text(msg_span(m, m.method_off, m.method_len))
    account.said["passed"] = passed
    account.said["not_listed"] = hidden
    if d.route is not NULL:
        account.said["route"] = [d.route.index, _text(d.route.name)]


cdef void _stepped(stream_t *s, int what, const char *text) noexcept nogil:
    with gil:
        _step(s, what, text)


cdef void _step(stream_t *s, int what, const char *text) noexcept:
    cdef dict more = {}
    cdef char room[DEGRADED_TEXT]
    if what == STEP_PICKED:
        more["endpoint"] = _text(s.endpoint.text)
        more["cluster"] = _text(s.cluster.name)
        if s.is_probe:
            more["probe"] = True
        if s.wanted is s.endpoint:
            more["session"] = True
    elif what == STEP_SENT:
        more["connection"] = "kept" if s.up.is_reused else "new"
    elif what == STEP_ANSWERED:
        more["status"] = s.status
        more["endpoint"] = _text(s.endpoint.text)
    elif text is not NULL:
        more["why"] = _words(text)
    if what == STEP_FALLBACK:
        # As the answer will say it.
        kind, *parts = _text(degraded_text(s, room)).split("; ")
        more["step"] = s.fall_step - 1
        more["kind"] = kind
        more.update([part.partition("=")[::2] for part in parts])
    (<Account>s.account).step(s, STEPS[what], more)


cdef void _beside(stream_t *s, int what, const endpoint_t *e, uint64_t after_ns, const char *text) noexcept nogil:
    with gil:
        _step_beside(s, what, e, after_ns, text)


cdef void _step_beside(stream_t *s, int what, const endpoint_t *e, uint64_t after_ns, const char *text) noexcept:
    cdef dict more = {}
    if e is not NULL:
        more["endpoint"] = _text(e.text)
    if after_ns != 0:
        more["for_ms" if what == STEP_DELAYED else "after_ms"] = round(after_ns / 1e6, 3)
    if text is not NULL:
        more[SAID.get(what, "why")] = _words(text)
    (<Account>s.account).step(s, STEPS[what], more)


cdef dict _subset(const stream_t *s):
    """How the subset was chosen, and what all of its endpoints have."""
    cdef subset_pair_t pairs[SUBSET_KEYS_MAX]
    cdef uint32_t n = subset_pairs(s.cluster, pairs)
    return {"chosen": CHOICES[s.subset_how - 1], "has": {_text(pairs[i].name): _text(pairs[i].value) for i in range(n)}}


cdef void _ended(stream_t *s, uint64_t now_ns) noexcept nogil:
    with gil:
        _end(s, now_ns)


cdef void _end(stream_t *s, uint64_t now_ns) noexcept:
    cdef Account account = <Account>s.account
    cdef char room[LIMIT_NAMES]
    cdef char instead[DEGRADED_TEXT]
    cdef dict said = account.said
    s.account = NULL
    said["steps"] = account.steps
    said["snapshot"] = s.snap.version
    said["status"] = s.status
    said["flags"] = _text(flags_text(s.flags, room)).replace("-", "")
    said["details"] = _words(s.details) if s.details is not NULL else "via_upstream"
    said["cluster"] = _text(s.cluster.name) if s.cluster is not NULL else ""
    # What the route has chosen, where a fallback has gone elsewhere.
    said["first_cluster"] = _text(s.fall_from.name) if s.fall_from is not NULL else said["cluster"]
    if s.subset_how != 0 and s.cluster is not NULL:
        said["subset"] = _subset(s)
    said["limited_by"] = _text(limit_names(s, <uint8_t *>room)) if s.limited != 0 else ""
    said["timeout_ms"] = s.timeout_ns / 1e6
    said["attempts"] = s.attempts + s.fall_attempts
    said["hedges"] = s.hedges
    said["degraded"] = _text(degraded_text(s, instead))
    said["received"] = s.received
    said["sent"] = s.sent
    said["proxy_ms"] = round(s.proxy_ns / 1e6, 3)
    said["duration_ms"] = round((now_ns - s.start_ns) / 1e6, 3)
    if account.watches.p is not NULL and s.proxy.watches is not NULL:
        account.watches.told.append((account.number, said))
        s.proxy.has_accounts = 1
    Py_DECREF(account)


cdef watch_ops_t OPS
OPS.begun = _begun
OPS.routed = _routed
OPS.step = _stepped
OPS.ended = _ended
OPS.beside = _beside
