"""See phases.pxd.

A phase is called at once, and its reply leaves with those of all other calls of the same read; a coroutine takes its
first step at once, too, and has a task when it waits (reserve.pxd). What a filter raises is its reply, whatever it is.
"""
import traceback
from functools import partial

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from fastmesh._core.hosted.exchange cimport (
    ANSWER, N_PHASES, ON_COMPLETE, ON_CONNECTION, ON_REQUEST, ON_REQUEST_BODY, ON_REQUEST_CHUNK, ON_REQUEST_STREAM,
    ON_REQUEST_TRAILERS, ON_RESPONSE, ON_RESPONSE_BODY, ON_RESPONSE_CHUNK, ON_RESPONSE_STREAM, ON_RESPONSE_TRAILERS,
    ON_ROUTE, ON_UPSTREAM_ERROR, Call, Request, Trailers, response_heard)
from fastmesh._core.hosted.fields cimport headers_flat
from fastmesh._core.hosted.heard cimport heard_array, heard_is_nil, heard_t, heard_uint, heard_value
from fastmesh._core.hosted.reserve cimport Steps, fm_thread_ns
from fastmesh._core.hosted.said cimport said_array, said_begin, said_end, said_t, said_uint, said_value
from fastmesh._core.hosted.exchange import Connection

cdef extern from "Python.h":
    bint PyCoro_CheckExact(object o)

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    static inline uint64_t fm_phase_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    """
    uint64_t fm_phase_ns() noexcept nogil

cdef enum:
    # As in fastmesh.filters.protocol.
    CALL = 0
    OVER = 2
    DONE = 0
    FAILED = 1
    WANTS = 3
    EDITS_MOST = 1000
    TEXT_MOST = 8192
    PULSE_WORDS = 2           # when the loop turned last, and the place of the filter that runs
    TRACE_LINES = 12
    CPU_EVERY = 32            # calls of which one has its processor time measured: two system calls each
    STREAMS = 1 << ON_REQUEST_STREAM | 1 << ON_RESPONSE_STREAM
    WHOLE = 1 << ON_REQUEST_BODY | 1 << ON_RESPONSE_BODY


cdef class PhaseCalls(Taker):

    def __init__(self, list filters not None, write, pulse, spares):
        cdef Py_buffer view
        self.filters = filters
        self.write = write
        self.running = {}
        self.exchanges = {}
        self.spares = spares
        self.pulse_view = pulse
        PyObject_GetBuffer(pulse, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        if view.len < PULSE_WORDS * 8:
            PyBuffer_Release(&view)
            raise ValueError("too small to say in it which filter runs")
        # The memory stays where it is as long as the view of it is held.
        self.pulse = <uint64_t *>view.buf + 1
        PyBuffer_Release(&view)

    # --- from the worker ---

    def take(self, bytes message not None):
        """Obey one message. Raises whatever it likes when that is none of the protocol."""
        self.obey(<const uint8_t *>PyBytes_AS_STRING(message), <uint32_t>PyBytes_GET_SIZE(message))

    cdef int obey(self, const uint8_t *p, uint32_t n) except -1:
        cdef heard_t h
        cdef uint64_t kind
        cdef Request request
        h.p, h.end, h.is_wrong = p, p + n, False
        heard_array(&h)
        kind = heard_uint(&h)
        if h.is_wrong:
            raise ValueError("no message")
        if kind == CALL:
            return self._begin(p, n, &h)
        if kind == OVER:
            request = self.exchanges.pop(heard_uint(&h), None)
            if request is not None:
                request.end()
            return 0
        h.p, h.end, h.is_wrong = p, p + n, False
        self.hear(heard_value(&h))
        return 0

    cdef int _begin(self, const uint8_t *p, uint32_t n, heard_t *h) except -1:
        cdef uint64_t number = heard_uint(h)
        cdef uint64_t exchange = heard_uint(h)
        cdef uint64_t place = heard_uint(h)
        cdef uint64_t phase = heard_uint(h)
        cdef bytes message = PyBytes_FromStringAndSize(<const char *>p, n)
        cdef const uint8_t *kept = <const uint8_t *>PyBytes_AS_STRING(message)
        cdef Request request = None
        cdef Call call
        if h.is_wrong or place >= <uint64_t>len(self.filters) or phase >= N_PHASES:
            raise ValueError("a call of what there is not")
        # What is looked at later lies in memory of its own.
        h.p = kept + (h.p - p)
        h.end = kept + n
        if exchange:
            request = self.exchanges.get(exchange)
        if request is None:
            request = Request.__new__(Request)
            request.is_kept = exchange != 0
            if exchange:
                self.exchanges[exchange] = request
        request.heard(message, h, fm_phase_ns())
        if not heard_is_nil(h):
            request.response = response_heard(request, message, h)
        call = Call.__new__(Call)
        call.number = number
        call.request = request
        call.filter = self.filters[place]
        call.place = <int>place + 1
        call.phase_number = <int>phase
        call.argument = heard_value(h)
        if h.is_wrong:
            raise ValueError("a call that is cut")
        if STREAMS >> phase & 1:
            request.open(call)
            self.begin_stream(call)
        elif call.argument is None and WHOLE >> phase & 1:
            call.pieces = []
            self.running[number] = call
            self.say((WANTS, number))
        else:
            self.enter(call)
        return 0

    # --- a phase ---

    cdef object _called(self, Call call):
        """What a phase returned, or its coroutine."""
        cdef int phase = call.phase_number
        cdef Request request = call.request
        cdef Trailers trailers
        method = call.filter.by_number[phase]
        argument = call.argument
        if phase == ON_REQUEST or phase == ON_ROUTE:
            return method(request)
        if phase == ON_RESPONSE:
            return method(request, request.response)
        if phase == ON_CONNECTION:
            return method(Connection(*argument))
        if phase == ON_REQUEST_CHUNK:
            return method(request, argument[0], argument[1])
        if phase == ON_RESPONSE_CHUNK:
            return method(request, request.response, argument[0], argument[1])
        if phase == ON_RESPONSE_BODY:
            return method(request, request.response, argument)
        if phase == ON_REQUEST_TRAILERS or phase == ON_RESPONSE_TRAILERS:
            trailers = Trailers.__new__(Trailers)
            trailers.call = call
            return method(request, headers_flat(trailers, [part for field in argument for part in field]))
        if phase == ON_UPSTREAM_ERROR or phase == ANSWER or phase == ON_COMPLETE:
            return method(request, self.told(phase, argument))
        return method(request, argument)

    cdef int enter(self, Call call) except -1:
        cdef uint64_t begun = 0
        cdef Steps steps
        cdef object result = None
        cdef BaseException error = None
        call.request.open(call)
        self.entries += 1
        if self.entries % CPU_EVERY == 0:
            call.is_measured = True
            begun = fm_thread_ns()
        self.pulse[0] = <uint64_t>call.place
        try:
            result = self._called(call)
        except BaseException as raised:
            error = raised
        self.pulse[0] = 0
        if error is not None:
            try:
                return self.fail(call, error)
            finally:
                error = None        # its traceback holds this frame
        if begun:
            call.cpu_ns = <int64_t>(fm_thread_ns() - begun) * CPU_EVERY
        if result is None or not PyCoro_CheckExact(result):
            return self.finish(call, result)
        call.coroutine = result
        steps = Steps.__new__(Steps)
        steps.call, steps.coroutine, steps.pulse = call, result, self.pulse
        task = self.spares.begin(steps, partial(self.came_to, call))
        if task is not None:
            self.runs(call, task)
        return 0

    def enter_late(self, Call call not None):
        """Calls the phase, of which everything is there by now."""
        self.enter(call)

    def came_to(self, Call call not None, result, error):
        """A coroutine has ended."""
        if error is None:
            self.finish(call, result)
        else:
            self.fail(call, error)

    cdef int finish(self, Call call, object result) except -1:
        cdef tuple told
        if result is None and (call.edits is None or len(call.edits) <= EDITS_MOST):
            self.forget(call)
            return self.done(call, None)
        try:
            told = self.result_of(call, result)
            if call.edits is not None and len(call.edits) > EDITS_MOST:
                raise ValueError(f"made {len(call.edits)} changes in one phase: {EDITS_MOST} are allowed")
        except Exception as error:
            return self.fail(call, error)
        if told[1]:
            self.shut(call)
            self.give(call, told[0], told[1])
            return 0
        self.forget(call)
        return self.done(call, told[0])

    def finish_late(self, Call call not None, told=None):
        """The call's reply, behind all that has been said of it."""
        self.forget(call)
        self.done(call, told)

    cdef int fail(self, Call call, BaseException error) except -1:
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        try:
            text = "".join(traceback.format_exception(error, limit=-TRACE_LINES))
        except Exception:       # a __str__ that raises
            text = type(error).__name__
        edits = call.edits if call.edits is not None and len(call.edits) <= EDITS_MOST else []
        self.forget(call)
        return self.say((FAILED, call.number, edits, call.cpu_ns, type(error).__name__,
                         at.tb_lineno if at is not None else 0, text[max(0, len(text) - TEXT_MOST):]))

    def fail_late(self, Call call not None, BaseException error not None):
        self.fail(call, error)

    cdef int shut(self, Call call) except -1:
        if call.is_open:
            call.is_open = False
            call.request.shut(call)
            call.request.part()
        return 0

    cdef int forget(self, Call call) except -1:
        """Nothing of it is under way any more."""
        if self.running:
            self.running.pop(call.number, None)
        self.shut(call)
        if not call.request.is_kept:
            call.request.end()
        if self.idle is not None and not self.running:
            self.idle.set()
        return 0

    def drop(self, Call call not None):
        """It is over, and nobody is told."""
        self.forget(call)

    # --- to the worker ---

    cdef int say(self, tuple message) except -1:
        cdef said_t s
        said_begin(&s)
        try:
            try:
                said_array(&s, <uint32_t>len(message))
                for value in message:
                    said_value(&s, value)
            except (ValueError, TypeError, OverflowError) as error:     # an edit or a result that cannot travel
                s.used = 0
                _cannot(&s, message[1], error)
            self.write(PyBytes_FromStringAndSize(<const char *>s.p, s.used))
        finally:
            said_end(&s)
        return 0

    def tell(self, tuple message not None):
        """Says so to the worker."""
        self.say(message)

    cdef int done(self, Call call, object told) except -1:
        """The reply of a phase that has not failed, without an object of it."""
        cdef said_t s
        cdef tuple edit
        said_begin(&s)
        try:
            try:
                said_array(&s, 5)
                said_uint(&s, DONE)
                said_uint(&s, call.number)
                if call.edits is None:
                    said_array(&s, 0)
                else:
                    said_array(&s, <uint32_t>len(call.edits))
                    for edit in call.edits:
                        said_array(&s, <uint32_t>len(edit))
                        for value in edit:
                            said_value(&s, value)
                said_uint(&s, <uint64_t>call.cpu_ns)
                said_value(&s, told)
            except (ValueError, TypeError, OverflowError) as error:     # an edit or a result that cannot travel
                s.used = 0
                _cannot(&s, call.number, error)
            self.write(PyBytes_FromStringAndSize(<const char *>s.p, s.used))
        finally:
            said_end(&s)
        return 0


cdef int _cannot(said_t *s, object number, object error) except -1:
    said_array(s, 7)
    for value in (FAILED, number, [], 0, type(error).__name__, 0, f"cannot be sent: {error}"):
        said_value(s, value)
    return 0
