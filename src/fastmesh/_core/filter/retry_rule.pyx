"""See retry_rule.pxd, and retry_rule.pyi for what authors may rely on."""
cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.resil.retry cimport (
    FAULT_CONNECT, FAULT_CONNECT_TIMEOUT, FAULT_PROTOCOL, FAULT_RESET, FAULT_TIMEOUT, RETRY_ATTEMPTS_MOST,
    RETRY_STATUS_FIRST, RETRY_STATUS_LAST)

cdef enum:
    NO_ANSWER = 1 << FAULT_CONNECT | 1 << FAULT_CONNECT_TIMEOUT | 1 << FAULT_RESET | 1 << FAULT_PROTOCOL | (
        1 << FAULT_TIMEOUT)

# Envoy's names. Its `reset` means what is `reset`, `connect-failure` and `timeout` here: one can be had without others.
cdef dict CONDITIONS = {      # faults, and statuses
    "5xx": (NO_ANSWER, range(500, 600)),
    "connect-failure": (1 << FAULT_CONNECT | 1 << FAULT_CONNECT_TIMEOUT, ()),
    "gateway-error": (NO_ANSWER, range(502, 505)),
    "protocol-error": (1 << FAULT_PROTOCOL, ()),
    "reset": (1 << FAULT_RESET, ()),
    "retriable-4xx": (0, (409,)),
    "timeout": (1 << FAULT_TIMEOUT, ()),
}
# Numbers of gRPC's statuses.
cdef dict GRPC = {"cancelled": 1, "deadline-exceeded": 4, "internal": 13, "resource-exhausted": 8, "unavailable": 14}

cdef retry_t NEVER
NEVER.attempts = 1

cdef double LONGEST_PAUSE = 60.0
cdef double LONGEST_TRY = 86400.0
cdef double LONGEST_WAIT = 300.0


@cython.final
cdef class Retry:
    """How often a request is tried, and after which failures."""

    def __cinit__(self, attempts=2, on=("connect-failure", "reset"), *, backoff=0.025, backoff_max=None,
                  per_try_timeout=None, non_idempotent=False, retry_after_max=25.0):
        if not isinstance(attempts, int) or isinstance(attempts, bool) or not 1 <= attempts <= RETRY_ATTEMPTS_MOST:
            raise ValueError(f"attempts={attempts!r}: 1 to {RETRY_ATTEMPTS_MOST} are allowed, the first one counted")
        if not isinstance(non_idempotent, bool):
            raise TypeError(f"non_idempotent={non_idempotent!r}: True or False is allowed")
        self.attempts = attempts
        self.on = self._conditions(on)
        self.backoff = _seconds("backoff", backoff, 0.0, LONGEST_PAUSE)
        if backoff_max is None:
            self.backoff_max = min(10 * self.backoff, LONGEST_PAUSE)
        else:
            self.backoff_max = _seconds("backoff_max", backoff_max, self.backoff, LONGEST_PAUSE)
        if per_try_timeout is not None:
            self.per_try_timeout = _seconds("per_try_timeout", per_try_timeout, 0.001, LONGEST_TRY)
            self.c.try_ns = <uint64_t>(<double>self.per_try_timeout * 1e9)
        elif "timeout" in self.on:
            raise ValueError('"timeout" is in `on`, and there is no per_try_timeout: no attempt would ever be too slow')
        self.non_idempotent = non_idempotent
        self.retry_after_max = _seconds("retry_after_max", retry_after_max, 0.0, LONGEST_WAIT)
        self.c.wait_most_ns = <uint64_t>(self.retry_after_max * 1e9)
        self.c.attempts = <uint8_t>self.attempts
        self.c.backoff_ns = <uint64_t>(self.backoff * 1e9)
        self.c.backoff_most_ns = <uint64_t>(self.backoff_max * 1e9)
        self.c.non_idempotent = self.non_idempotent
        self.c.is_told = self.attempts > 1

    cdef frozenset _conditions(self, on):
        cdef frozenset named
        cdef uint32_t place
        if isinstance(on, (str, bytes, int)):
            raise TypeError(f"on={on!r}: a set is allowed, as {{{on!r}}}")
        named = frozenset(on)
        if not named:
            raise ValueError("`on` is empty: name what is tried again, or set request.retry to None")
        for name in named:
            if isinstance(name, str):
                if name in GRPC:
                    self.c.grpc |= <uint32_t>1 << <uint32_t>GRPC[name]
                    continue
                if name not in CONDITIONS:
                    raise ValueError(f"there is no condition {name!r}: {_allowed()}{_meant(name)}")
                faults, statuses = CONDITIONS[name]
                self.c.faults |= <uint8_t>faults
            elif isinstance(name, int) and not isinstance(name, bool):
                statuses = (name,)
            else:
                raise TypeError(f"{name!r} is no condition: {_allowed()}")
            for status in statuses:
                if not RETRY_STATUS_FIRST <= status <= RETRY_STATUS_LAST:
                    raise ValueError(f"an answer with {status} is none to be tried again: {_allowed()}")
                place = <uint32_t>(status - RETRY_STATUS_FIRST)
                self.c.statuses[place >> 6] |= <uint64_t>1 << (place & 63)
        return named

    cdef tuple _told(self):
        return (self.attempts, sorted(self.on, key=_place), self.backoff, self.backoff_max, self.per_try_timeout,
                self.non_idempotent, self.retry_after_max)

    def __eq__(self, other):
        return isinstance(other, Retry) and self._told() == (<Retry>other)._told()

    def __hash__(self):
        return hash((self.attempts, self.on, self.backoff, self.per_try_timeout))

    def __reduce__(self):
        return retry_heard, (list(self._told()),)

    def __repr__(self):
        names = ", ".join([repr(name) for name in sorted(self.on, key=_place)])
        shown = [f"attempts={self.attempts}", f"on={{{names}}}", f"backoff={self.backoff}"]
        if self.backoff_max != min(10 * self.backoff, LONGEST_PAUSE):
            shown.append(f"backoff_max={self.backoff_max}")
        if self.per_try_timeout is not None:
            shown.append(f"per_try_timeout={self.per_try_timeout}")
        if self.non_idempotent:
            shown.append("non_idempotent=True")
        if self.retry_after_max != 25.0:
            shown.append(f"retry_after_max={self.retry_after_max}")
        return f"Retry({', '.join(shown)})"


def _place(name):
    return isinstance(name, int), name


cdef double _seconds(str name, value, double least, double most) except -1:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name}={value!r}: seconds are a number")
    if not least <= value <= most:
        raise ValueError(f"{name}={value!r}: {least:g} to {most:g} seconds are allowed")
    return value


cdef str _allowed():
    names = ", ".join([f'"{name}"' for name in (*CONDITIONS, *GRPC)])
    return f"allowed are {names}, and statuses from {RETRY_STATUS_FIRST} to {RETRY_STATUS_LAST}"


cdef str _meant(str name):
    """What looks like it, for those who write `connect_failure`, or "503"."""
    cdef str alike = name.lower().replace("_", "-")
    if name.isascii() and name.isdigit():
        return f"; did you mean {name}, without quotes?"
    for known in (*CONDITIONS, *GRPC):
        if alike and (known.startswith(alike) or alike.startswith(known)):
            return f'; did you mean "{known}"?'
    return ""


def retry_told(Retry rule not None):
    """What there is to be said of it, as plain values."""
    return rule._told()


def retry_heard(list told not None):
    """Made of what `retry_told` said."""
    attempts, on, backoff, backoff_max, per_try_timeout, non_idempotent, retry_after_max = told
    return Retry(attempts, on, backoff=backoff, backoff_max=backoff_max, per_try_timeout=per_try_timeout,
                 non_idempotent=non_idempotent, retry_after_max=retry_after_max)


cdef const retry_t *retry_never() noexcept:
    return &NEVER


cdef Retry retry_of_route(const retry_t *r):
    cdef uint32_t place
    # Failed connects always are.
    cdef set on = {"connect-failure"}
    if r.faults >> FAULT_RESET & 1:
        on.add("reset")
    if r.faults >> FAULT_PROTOCOL & 1:
        on.add("protocol-error")
    if r.faults >> FAULT_TIMEOUT & 1 and r.try_ns != 0:
        on.add("timeout")
    for place in range(RETRY_STATUS_LAST - RETRY_STATUS_FIRST + 1):
        if r.statuses[place >> 6] >> (place & 63) & 1:
            on.add(place + RETRY_STATUS_FIRST)
    for name in GRPC:
        if r.grpc >> <uint32_t>GRPC[name] & 1:
            on.add(name)
    return Retry(r.attempts, on, backoff=r.backoff_ns / 1e9, backoff_max=r.backoff_most_ns / 1e9,
                 per_try_timeout=r.try_ns / 1e9 if r.try_ns != 0 else None, non_idempotent=bool(r.non_idempotent),
                 retry_after_max=r.wait_most_ns / 1e9)


cdef Retry retry_by_settings(uint32_t connect_attempts):
    return Retry(min(max(connect_attempts, 1), RETRY_ATTEMPTS_MOST), backoff=0.0)
