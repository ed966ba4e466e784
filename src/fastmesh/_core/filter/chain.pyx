"""See chain.pxd."""
from libc.string cimport memset
from fastmesh._core.filter.wait cimport wait_reactor
from fastmesh._core.mem.raw cimport raw_give, raw_zeroed
from fastmesh._core.mem.counter cimport (
    PHASE_ANSWER, PHASE_COMPLETE, PHASE_CONNECTION, PHASE_PICK, PHASE_REQUEST, PHASE_REQUEST_BODY,
    PHASE_REQUEST_TRAILERS, PHASE_RESPONSE, PHASE_RESPONSE_BODY, PHASE_RESPONSE_TRAILERS, PHASE_RETRY, PHASE_ROUTE,
    PHASE_UPSTREAM_ERROR, PHASE_WEIGHTS, STATS_FILTERS)

cdef extern from *:
    """
    #include <signal.h>
    #include <stdint.h>
    #include <string.h>
    #include <time.h>

    static inline uint64_t fm_now_ns(clockid_t which) {
        struct timespec t;
        clock_gettime(which, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }

    /* Of the filter that runs, for the signal that interrupts it: when it began, 0 = none, and how long it may. */
    static volatile uint64_t fm_filter_since = 0;
    static volatile uint64_t fm_filter_hang = 0;
    static volatile uint32_t fm_filter_entries = 0;
    static volatile uint32_t fm_filter_seen = 0;
    static volatile int fm_ticking = 0;
    static int fm_may_tick = 0;

    static timer_t fm_ticker;

    static void fm_tick_every(long us) {
        struct itimerspec v;
        v.it_interval.tv_sec = 0;
        v.it_interval.tv_nsec = us * 1000;
        v.it_value = v.it_interval;
        timer_settime(fm_ticker, 0, &v, 0);
    }

    /* The clock ticks only while filters run: after a tick without a call it stops, and the next call starts it. */
    static void fm_on_tick(int number) {
        uint64_t since = fm_filter_since;
        if (since != 0 && fm_now_ns(CLOCK_MONOTONIC) - since > fm_filter_hang) {
            PyErr_SetInterruptEx(number);
        } else if (since == 0 && fm_filter_entries == fm_filter_seen) {
            fm_tick_every(0);
            fm_ticking = 0;
        }
        fm_filter_seen = fm_filter_entries;
    }

    /* A signal of its own: SIGALRM ends an orphan that hangs. */
    static int fm_watch(int number) {
        struct sigaction act;
        struct sigevent event;
        if (fm_may_tick) return 0;
        memset(&act, 0, sizeof act);
        act.sa_handler = fm_on_tick;
        act.sa_flags = SA_RESTART;
        memset(&event, 0, sizeof event);
        event.sigev_notify = SIGEV_SIGNAL;
        event.sigev_signo = number;
        if (sigaction(number, &act, 0) != 0 || timer_create(CLOCK_MONOTONIC, &event, &fm_ticker) != 0) return -1;
        fm_may_tick = 1;
        return 0;
    }
    """
    unsigned long fm_now_ns(int which) nogil
    int CLOCK_MONOTONIC
    int CLOCK_THREAD_CPUTIME_ID
    unsigned long fm_filter_since
    unsigned long fm_filter_hang
    unsigned int fm_filter_entries
    int fm_ticking
    int fm_may_tick
    void fm_tick_every(long us) nogil
    int fm_watch(int number)

cdef extern from "filter_memory.h":
    long fm_memory_held
    unsigned long fm_memory_most
    PyObject *fm_inside
    PyObject *fm_memory_refused
    int fm_memory_bound(unsigned long most)

cdef enum:
    TICK_US = 25000
    HANG_LEAST_NS = 50000000
    HANG_TIMES = 10           # budgets, before a filter that runs on is interrupted
    CPU_EVERY = 32            # calls of which one has its processor time measured, by a system call
    KINDS_MOST = 200          # kinds of errors whose traceback is told
    SECOND_NS = 1000000000

cdef stats_t *stats_now = NULL
cdef Slot refused = None      # the filter that ran out of memory, until it is known what of it is kept
cdef uint64_t cpu_begun = 0

PHASES = {
    "on_connection": (PHASE_CONNECTION, KIND_PLAIN),
    "on_request": (PHASE_REQUEST, KIND_PLAIN),
    "on_route": (PHASE_ROUTE, KIND_PLAIN),
    "on_request_chunk": (PHASE_REQUEST_BODY, KIND_CHUNK),
    "on_request_body": (PHASE_REQUEST_BODY, KIND_WHOLE),
    "on_request_stream": (PHASE_REQUEST_BODY, KIND_STREAM),
    "on_request_trailers": (PHASE_REQUEST_TRAILERS, KIND_PLAIN),
    "on_upstream_error": (PHASE_UPSTREAM_ERROR, KIND_PLAIN),
    "on_retry": (PHASE_RETRY, KIND_PLAIN),
    "on_response": (PHASE_RESPONSE, KIND_PLAIN),
    "on_response_chunk": (PHASE_RESPONSE_BODY, KIND_CHUNK),
    "on_response_body": (PHASE_RESPONSE_BODY, KIND_WHOLE),
    "on_response_stream": (PHASE_RESPONSE_BODY, KIND_STREAM),
    "on_response_trailers": (PHASE_RESPONSE_TRAILERS, KIND_PLAIN),
    "on_complete": (PHASE_COMPLETE, KIND_PLAIN),
    # Of load balancers, which stand in no chain.
    "weights": (PHASE_WEIGHTS, KIND_PLAIN),
    "pick": (PHASE_PICK, KIND_PLAIN),
    # Of fallbacks, likewise.
    "answer": (PHASE_ANSWER, KIND_PLAIN),
}
POLICIES = {"closed": ON_ERROR_CLOSED, "open": ON_ERROR_OPEN, "skip": ON_ERROR_SKIP}
cdef dict NAMES = {place: name for name, place in PHASES.items()}


def _say_nothing(what, phase, text):
    pass


cdef str phase_name(int phase, int kind):
    return NAMES.get((phase, kind), "?")


cdef class Slot:
    """One filter of a worker's snapshot.

    `phases`: bound methods by their names; `report(what, phase, text)` is called with "error", "overrun",
    "quarantine" and "back". Times are in ns.
    """

    def __init__(self, filter, dict phases, *, str name="", int row=0, str on_error="open", uint64_t budget_ns=2000000,
                 uint64_t timeout_ns=30000000000, uint32_t body_limit=1048576, bint shadow=False,
                 bint changes_body=True, bint is_late=False, uint64_t second_ns=0,
                 quarantine=(20, 10000000000, 5000000000, 300000000000), report=None):
        cdef int phase, kind
        memset(&self.c, 0, sizeof(slot_t))
        self.filter = filter
        self.name = name or type(filter).__name__
        self.methods = phases
        self.report = report or _say_nothing
        self.seen = set()
        self.details = f"filter_failed{{{self.name}}}".encode()
        self.answered = f"filter_answered{{{self.name}}}".encode()
        self.timed = f"response_timeout{{filter:{self.name}}}".encode()
        for method_name, method in phases.items():
            if method_name not in PHASES:
                raise ValueError(f"{self.name}: there is no phase {method_name}")
            phase, kind = PHASES[method_name]
            if self.c.calls[phase] is not NULL:
                other = NAMES[phase, self.c.kinds[phase]]
                raise ValueError(f"{self.name}: {method_name} and {other} exclude each other")
            self.c.calls[phase] = <PyObject *>method
            self.c.kinds[phase] = kind
            self.c.phases |= 1 << phase
        self.c.owner = <PyObject *>self
        self.c.number = min(row, STATS_FILTERS - 1) + 1
        self.c.on_error = POLICIES[on_error]
        self.c.budget_ns = budget_ns
        self.c.hang_ns = max(budget_ns * HANG_TIMES, HANG_LEAST_NS)
        self.c.timeout_ns = timeout_ns
        self.c.body_limit = body_limit
        self.c.is_shadow = shadow
        self.c.changes_body = changes_body
        self.c.is_late = is_late
        self.c.second_most_ns = second_ns
        self.c.failures_most, self.c.window_ns, self.c.pause_first_ns, self.c.pause_most_ns = quarantine
        self.c.pause_ns = self.c.pause_first_ns

    @property
    def is_quarantined(self):
        return self.c.bypassed_until_ns != 0

    @property
    def row(self):
        """In the worker's shared memory."""
        return self.c.number - 1

    def bypass(self, uint64_t ns):
        """Put it into quarantine for so long: it was the end of a worker."""
        self.c.bypassed_until_ns = fm_now_ns(CLOCK_MONOTONIC) + ns

    cdef void failed(self, int phase, BaseException error, uint64_t now_ns) noexcept:
        cdef str called = phase_name(phase, self.c.kinds[phase])
        if self.c.row is not NULL:
            self.c.row.phases[phase].errors += 1
        try:
            if self.witness is not None:
                self.witness(called, error)
            import traceback        # not before it is needed: it is paid for by every worker
            at = error.__traceback__
            while at is not None and at.tb_next is not None:
                at = at.tb_next
            kind = (type(error), called, at.tb_lineno if at is not None else 0)
            if kind not in self.seen and len(self.seen) < KINDS_MOST:
                self.seen.add(kind)
                text = "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-12))
                self.report("error", called, text)
        except BaseException:
            # A __str__ that raises, no memory: the count above tells of it.
            pass
        self._count(now_ns, f"{called} raised {type(error).__name__}")

    cdef void shadowed(self, int phase, list would) noexcept:
        cdef str called = phase_name(phase, self.c.kinds[phase])
        if self.c.row is not NULL:
            self.c.row.would += 1
        try:
            kind = ("shadow", called, *would)
            if kind not in self.seen and len(self.seen) < KINDS_MOST:
                self.seen.add(kind)
                self.report("shadow", called, f"{called} would {', and '.join(would)}")
        except BaseException:
            pass

    cdef void overran(self, int phase, uint64_t took_ns, uint64_t now_ns) noexcept:
        cdef str called = phase_name(phase, self.c.kinds[phase])
        self.c.row.phases[phase].overruns += 1
        kind = ("overrun", called)
        try:
            if kind not in self.seen:
                self.seen.add(kind)
                self.report("overrun", called,
                            f"{called} took {took_ns / 1e6:.1f} ms in one go, its budget is "
                            f"{self.c.budget_ns / 1e6:g} ms. All other traffic of this worker waited meanwhile: "
                            + ("do less in it" if phase == PHASE_WEIGHTS or phase == PHASE_PICK else
                               "let it run isolated (`isolated: true`)")
                            + ", or raise `budget`")
        except BaseException:
            pass
        # A little over may be the machine's doing: something else had the processor.
        if took_ns > OVERRUN_TIMES * self.c.budget_ns:
            self._count(now_ns, f"{called} went far over its budget")

    cdef void overspent(self, int phase) noexcept:
        cdef slot_t *c = &self.c
        cdef uint64_t took_ns = c.second_ns
        c.second_ns = 0
        c.second_since_ns = 0
        c.row.phases[phase].overruns += 1
        # By the worker's clock, which a test may move.
        self.quarantine(wait_reactor.engine.now(),
                        f"it took {took_ns / 1e6:.0f} ms of the processor's time within a second, its "
                        f"`budget_per_second` is {c.second_most_ns / 1e6:g} ms. Let it do less, or run isolated "
                        "(`isolated: true`), or give it more")

    cdef void _count(self, uint64_t now_ns, str why) noexcept:
        cdef slot_t *c = &self.c
        if now_ns - c.since_ns > c.window_ns:
            c.since_ns = now_ns
            c.failures = 0
        c.failures += 1
        if c.failures_most != 0 and c.failures >= c.failures_most:
            self.quarantine(now_ns, f"{c.failures} failures within {c.window_ns / 1e9:g} s, at last: {why}")

    cdef void quarantine(self, uint64_t now_ns, str why) noexcept:
        cdef slot_t *c = &self.c
        if c.bypassed_until_ns:
            return
        c.bypassed_until_ns = now_ns + c.pause_ns
        if c.row is not NULL:
            c.row.quarantined = 1
            c.row.quarantines += 1
        try:
            self.report("quarantine", "", f"{why}. It is bypassed for {c.pause_ns / 1e9:g} s: requests "
                        + ("get 503" if c.on_error == ON_ERROR_CLOSED else "go on without it"))
        except BaseException:
            pass
        c.pause_ns = min(c.pause_ns * 2, c.pause_most_ns)
        c.failures = 0


cdef bint slot_is_bypassed(slot_t *c, uint64_t now_ns) noexcept:
    if c.bypassed_until_ns == 0:
        return False
    if now_ns < c.bypassed_until_ns:
        return True
    c.bypassed_until_ns = 0
    c.since_ns = now_ns
    if c.row is not NULL:
        c.row.quarantined = 0
    try:
        (<Slot>c.owner).report("back", "", "it is tried again")
    except BaseException:
        pass
    return False


cdef void _look_at_memory() noexcept:
    """What a filter was refused may have been one large piece, gone by now; or it keeps what it has, and then there is
    nothing left for the others. Only the end of the worker gives that back."""
    global refused
    cdef Slot accused = refused
    refused = None
    if fm_memory_most == 0 or fm_memory_held <= <long>(fm_memory_most // 4 * 3) or "memory" in accused.seen:
        return
    try:
        accused.seen.add("memory")
        accused.report("memory", "", f"filters of this worker keep {fm_memory_held >> 20} MiB, of "
                       f"{fm_memory_most >> 20} MiB (`filter_memory`), and it asked for more")
    except BaseException:
        pass


cdef uint64_t slot_begin(slot_t *c) noexcept:
    global fm_filter_since, fm_filter_hang, fm_filter_entries, fm_ticking, fm_inside, cpu_begun
    cdef uint64_t now
    if refused is not None:
        _look_at_memory()
    fm_inside = c.owner
    cpu_begun = 0
    fm_filter_entries += 1
    if fm_may_tick and not fm_ticking:
        fm_ticking = 1
        fm_tick_every(TICK_US)
    now = fm_now_ns(CLOCK_MONOTONIC)
    fm_filter_hang = c.hang_ns
    fm_filter_since = now
    if stats_now is not NULL:
        stats_now.header.filter_now = c.number
        stats_now.header.filter_since_ns = now
        if fm_filter_entries % CPU_EVERY == 0:
            cpu_begun = fm_now_ns(CLOCK_THREAD_CPUTIME_ID)
    return now


cdef uint32_t slot_entries() noexcept nogil:
    return fm_filter_entries


cdef uint64_t slot_end(slot_t *c, int phase, uint64_t begun_ns, bint is_call) noexcept:
    global fm_filter_since, fm_inside, fm_memory_refused, refused
    cdef uint64_t now
    fm_filter_since = 0
    fm_inside = NULL
    if fm_memory_refused is not NULL:
        fm_memory_refused = NULL
        refused = <Slot>c.owner
    now = fm_now_ns(CLOCK_MONOTONIC)
    if stats_now is not NULL:
        stats_now.header.filter_now = 0
    if c.row is not NULL:
        c.row.phases[phase].calls += is_call
        c.row.phases[phase].wall_ns += now - begun_ns
        if cpu_begun:
            c.row.phases[phase].cpu_ns += (fm_now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_begun) * CPU_EVERY
    if now - begun_ns > c.budget_ns:
        if c.row is not NULL:
            # By the worker's clock, which a test may move.
            (<Slot>c.owner).overran(phase, now - begun_ns, wait_reactor.engine.now())
    if c.second_most_ns != 0:
        if now - c.second_since_ns >= SECOND_NS:
            c.second_since_ns = now
            c.second_ns = 0
        c.second_ns += now - begun_ns
        if c.second_ns > c.second_most_ns and c.row is not NULL:
            (<Slot>c.owner).overspent(phase)
    return now - begun_ns


cdef class Table:

    def __init__(self, slots, on_free=None):
        cdef Slot slot
        cdef uint32_t i
        self.slots = list(slots)
        self.balancers = []
        self.on_free = on_free
        self.n = <uint32_t>len(self.slots)
        self.c = <slot_t **>raw_zeroed((self.n + 1) * sizeof(slot_t *))
        for i in range(self.n):
            slot = self.slots[i]
            self.c[i] = &slot.c

    cdef void attach(self, stats_t *stats) noexcept:
        global stats_now
        cdef uint32_t i
        stats_now = stats
        for i in range(self.n):
            self.c[i].row = &stats.filters[self.c[i].number - 1]

    def __dealloc__(self):
        raw_give(self.c)


def watch_filters(int number):
    """From now on a filter that runs for much longer than its budget is interrupted: the Python function of signal
    `number`, which the caller has set, is called within it. Raises OSError."""
    if fm_watch(number) != 0:
        raise OSError("no timer for filters that hang")


def is_overdue():
    """The filter that runs now has run for longer than it may."""
    cdef uint64_t since = fm_filter_since
    return since != 0 and fm_now_ns(CLOCK_MONOTONIC) - since > fm_filter_hang


def bound_memory(uint64_t most):
    """What Python may allocate, from now on, before filters get MemoryError; 0 is no limit. False where this Python's
    memory cannot be told. To be called on the data thread, which filters run on."""
    return bool(fm_memory_bound(most))


def memory_held():
    """Bytes that Python has allocated since it was first bound."""
    return fm_memory_held
