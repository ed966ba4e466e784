"""See pipe.pxd."""
from _collections import deque      # what `collections` has it from, without the rest

from fastmesh._core.filter.chain cimport (
    KIND_STREAM, KIND_WHOLE, ON_ERROR_CLOSED, ON_ERROR_SKIP, Slot, slot_begin, slot_end)
from fastmesh._core.filter.view cimport Request, Response
from fastmesh._core.filter.wait cimport TASK_HELD, WAIT_DONE, Task, Wait
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.io.timer cimport timer_unlink
from fastmesh._core.mem.counter cimport PHASE_REQUEST_BODY, PHASE_RESPONSE_BODY

cdef extern from "Python.h":
    bint PyCoro_CheckExact(object o)

cdef enum:
    STEPS_MOST = 100000       # pieces in one go: a generator that gives without end is a failure


cdef class Next(Wait):

    cdef int begin(self) except -1:
        cdef Stage stage = self.stage
        if stage.inbox:
            self.settle(stage.taken(), None)
        elif stage.input_ended:
            self.settle(None, StopAsyncIteration())
        else:
            stage.hungry = self
        return 0

    cdef void give_up(self) noexcept:
        self.stage.hungry = None


cdef class Chunks:
    """The pieces of a body, as they come."""
    cdef Stage stage

    def __init__(self):
        raise TypeError("made by fastmesh")

    def __aiter__(self):
        return self

    def __anext__(self):
        cdef Next made = Next.__new__(Next)
        made.stage = self.stage
        return made


cdef class Stage(Task):

    cdef void entering(self) noexcept:
        cdef Request r = self.pipe.r
        r.depth += 1
        r.phase = PHASE_RESPONSE_BODY if self.pipe.is_out else PHASE_REQUEST_BODY
        self.begun_ns = slot_begin(self.c)

    cdef void leaving(self) noexcept:
        self.pipe.r.spend(self.stage, slot_end(
            self.c, PHASE_RESPONSE_BODY if self.pipe.is_out else PHASE_REQUEST_BODY, self.begun_ns, self.is_calling))
        self.is_calling = False
        self.pipe.r.depth -= 1

    cdef bint ready(self):
        if self.has_ended or self.is_held:
            return False
        if self.inbox or self.input_ended:
            return True
        # A generator that was not asked for more since its last piece.
        return self.kind == KIND_STREAM and not self.is_passing and self.body is not None and self.hungry is None

    cdef int advance(self) except -1:
        """One piece, or the end. PIPE_*."""
        if self.is_passing:
            if self.inbox:
                return self._give(self.inbox.popleft())
            return self._end()
        if self.kind == KIND_STREAM:
            return self._stream()
        if self.kind == KIND_WHOLE:
            if self.inbox:
                data = self.inbox.popleft()
                self.kept_bytes += len(data)
                if self.kept_bytes > self.c.body_limit:
                    self.pipe.fault = self.stage
                    return PIPE_TOO_LARGE
                self.kept.append(data)
                return PIPE_MOVED
            self.piece = b"".join(self.kept)
            self.kept = []
            self.is_last = True
        elif self.inbox:
            self.piece = self.inbox.popleft()
        else:
            self.piece = b""
            self.is_last = True
        return self._drive()

    cdef object _call(self):
        cdef Request r = self.pipe.r
        method = <object>self.c.calls[PHASE_RESPONSE_BODY if self.pipe.is_out else PHASE_REQUEST_BODY]
        if self.kind == KIND_WHOLE:
            return method(r, r.response, self.piece) if self.pipe.is_out else method(r, self.piece)
        if self.pipe.is_out:
            return method(r, r.response, self.piece, bool(self.is_last))
        return method(r, self.piece, bool(self.is_last))

    cdef int _drive(self) except -1:
        try:
            self.is_calling = True
            self.entering()
            try:
                result = self._call()
            finally:
                self.leaving()
            if result is not None and PyCoro_CheckExact(result):
                self.coro = result
                self.is_over = False
                if self.step() == TASK_HELD:
                    self.is_held = True
                    self.arm(self.c.timeout_ns)
                    return PIPE_HELD
                result = self.result
                self.coro = None
            return self._take(result)
        except BaseException as error:
            return self._failed(error)

    cdef int _take(self, object result) except -1:
        piece = self.piece
        if isinstance(result, Response) and not self.pipe.is_out and not self.c.is_shadow:
            self.piece = None
            self.pipe.given = result
            self.pipe.fault = self.stage
            return PIPE_ANSWERED
        if result is None:
            result = piece
        elif not isinstance(result, (bytes, bytearray, memoryview)):
            raise TypeError(f"returned a {type(result).__name__}: bytes or None are allowed"
                            + ("" if self.pipe.is_out else ", or a Response"))
        elif not self.c.changes_body and result != piece:
            raise TypeError("changed the body, though changes_body is False")
        result = bytes(result)
        self.piece = None         # not before: where the result is wrong, the piece goes on as it came
        if result:
            self._give(result)
        return self._end() if self.is_last else PIPE_MOVED

    cdef object _start(self):
        cdef Request r = self.pipe.r
        cdef Chunks chunks = Chunks.__new__(Chunks)
        chunks.stage = self
        method = <object>self.c.calls[PHASE_RESPONSE_BODY if self.pipe.is_out else PHASE_REQUEST_BODY]
        return method(r, r.response, chunks) if self.pipe.is_out else method(r, chunks)

    cdef int _stream(self) except -1:
        cdef Next wanted = self.hungry
        try:
            if self.owed is not None and <uint64_t>len(self.owed) > self.c.body_limit:
                raise TypeError("holds more than its body_limit of a body, though changes_body is False")
            if self.body is None:
                self.is_calling = True
                self.body = self._start()
            if wanted is not None:
                # It stands where it takes a piece, and there is one now, or the end.
                self.hungry = None
                wanted.task = None
                wanted.state = WAIT_DONE
                if self.inbox:
                    wanted.value = self.taken()
                else:
                    wanted.error = StopAsyncIteration()
            elif self.coro is None:
                self.coro = self.body.__anext__()
                self.is_over = False
            if self.step() == TASK_HELD:
                if self.hungry is not None:
                    return PIPE_MOVED
                self.is_held = True
                self.arm(self.c.timeout_ns)
                return PIPE_HELD
            return self._yielded(self.result)
        except StopAsyncIteration:
            self.coro = None
        except BaseException as error:
            return self._failed(error)
        try:
            return self._returned()
        except BaseException as error:
            return self._failed(error)

    cdef object taken(self):
        """The next piece, for a generator."""
        data = self.inbox.popleft()
        self.has_taken = True
        if not self.c.changes_body:
            self.owed = data if self.owed is None else self.owed + data
        return data

    cdef int _yielded(self, object result) except -1:
        self.coro = None
        if not isinstance(result, (bytes, bytearray, memoryview)):
            raise TypeError(f"yielded a {type(result).__name__}: bytes are allowed")
        data = bytes(result)
        if data and not self.c.changes_body:
            # The message says how long its body is, and its length stays.
            if self.owed is None or not self.owed.startswith(data):
                raise TypeError("changed the body, though changes_body is False")
            self.owed = self.owed[len(data):] if len(data) < len(self.owed) else None
        return self._give(data) if data else PIPE_MOVED

    cdef int _returned(self) except -1:
        """A generator has come to its end: the body ends there, or goes on without it."""
        if self.owed is not None:
            raise TypeError("dropped a part of the body, though changes_body is False")
        if self.c.changes_body or self.c.is_shadow:
            return self._end()
        self.body = None
        self.is_passing = True
        return PIPE_MOVED

    cdef void held_again(self) noexcept:
        """After having waited, for something else: where that is a piece, the pipe goes on."""
        cdef int how
        if self.hungry is None:
            return
        self.is_held = False
        if self.limit.next is not NULL:
            timer_unlink(&self.reactor.wheel, &self.limit)
        how = self.go_on()
        pipe_moved(self.pipe, how)

    cdef void finished(self) noexcept:
        """After having waited."""
        cdef int how = PIPE_MOVED
        cdef BaseException error = self.error
        self.is_held = False
        self.error = None
        try:
            if error is not None:
                how = self._returned() if isinstance(error, StopAsyncIteration) else self._failed(error)
            elif self.kind == KIND_STREAM:
                how = self._yielded(self.result)
            else:
                how = self._take(self.result)
        except BaseException as failed:
            try:
                how = self._failed(failed)
            except BaseException:
                how = PIPE_FAILED
        if how == PIPE_MOVED:
            how = self.go_on()
        pipe_moved(self.pipe, how)

    cdef int go_on(self) noexcept:
        try:
            return self.pipe.run()
        except BaseException:
            self.pipe.fault = self.stage
            return PIPE_FAILED

    cdef int _give(self, object data) except -1:
        if data and not self.c.is_shadow or self.is_passing:
            self.pipe.push(self.place + 1, data)
        return PIPE_MOVED

    cdef int _end(self) except -1:
        if not self.has_ended:
            self.has_ended = True
            if not self.c.is_shadow:
                self.pipe.push_end(self.place + 1)
            self.inbox.clear()
        return PIPE_MOVED

    cdef int _failed(self, BaseException error) except -1:
        cdef Request r = self.pipe.r
        cdef int phase = PHASE_RESPONSE_BODY if self.pipe.is_out else PHASE_REQUEST_BODY
        (<Slot>self.c.owner).failed(phase, error, reactor_clock(self.reactor))
        self.coro = None
        self.body = None
        self.hungry = None
        if self.c.is_shadow:
            self.has_ended = True
            return PIPE_MOVED
        # What a generator has taken and not given is lost: going on would leave a hole in the body.
        if self.c.on_error == ON_ERROR_CLOSED or (self.kind == KIND_STREAM and self.has_taken):
            self.pipe.fault = self.stage
            return PIPE_FAILED
        if self.c.on_error == ON_ERROR_SKIP or self.kind == KIND_STREAM:
            self.is_passing = True
            r.skipped |= <uint64_t>1 << self.stage
        if self.piece:
            self._give(self.piece)
        self.piece = None
        return self._end() if self.is_last else PIPE_MOVED


cdef class Pipe:

    cdef feed(self, bytes data):
        self.push(0, data)

    cdef finish(self):
        self.input_ended = True
        self.push_end(0)

    cdef push(self, int place, object data):
        cdef Stage stage
        while place < len(self.stages):
            stage = self.stages[place]
            if not stage.has_ended:
                stage.inbox.append(data)
            if not stage.c.is_shadow:
                return
            # A shadow sees what the next one sees.
            place += 1
        if self.collects:
            self.collected.append(data)
            self.collected_bytes += len(data)
        elif pipe_put(self, data):
            self.is_full = True

    cdef push_end(self, int place):
        cdef Stage stage
        while place < len(self.stages):
            stage = self.stages[place]
            stage.input_ended = True
            if not stage.c.is_shadow:
                return
            place += 1
        self.has_ended = True

    cdef int run(self) except -1:
        cdef Stage stage
        cdef int place, how, steps = 0
        cdef bint moved = True
        cdef bint held = False
        if self.is_running:
            return PIPE_MOVED
        self.is_running = True
        try:
            while moved and not self.is_full:
                moved = False
                for place in range(len(self.stages) - 1, -1, -1):
                    stage = self.stages[place]
                    if not stage.ready():
                        continue
                    how = stage.advance()
                    if how > PIPE_HELD:
                        return how
                    moved = True
                    steps += 1
                    if steps > STEPS_MOST:
                        self.fault = stage.stage
                        raise RuntimeError("gave more pieces in one go than any body has")
                    break
            for stage in self.stages:
                held = held or (stage.is_held and not stage.c.is_shadow)
            return PIPE_HELD if held and not self.has_ended else PIPE_MOVED
        finally:
            self.is_running = False

    cdef void cancel(self) noexcept:
        cdef Stage stage
        for stage in self.stages:
            stage.hungry = None
            if stage.coro is not None:
                stage.cancel()
            if stage.body is not None:
                try:
                    closing = stage.body.aclose()
                    try:
                        closing.send(None)
                    except StopIteration:
                        pass
                    closing.close()
                except BaseException:
                    # It refuses to end: it is let go.
                    pass
            stage.body = None
            stage.coro = None
            stage.pipe = None


cdef Pipe pipe_new(Request r, bint is_out):
    cdef Pipe pipe = None
    cdef Stage stage
    cdef slot_t *c
    cdef int phase = PHASE_RESPONSE_BODY if is_out else PHASE_REQUEST_BODY
    cdef int i, k
    for k in range(r.n_stages):
        i = r.n_stages - 1 - k if is_out else k
        if not (r.live & ~r.skipped) >> i & 1:
            continue
        c = r.slot(i)
        if not c.phases >> phase & 1:
            continue
        if pipe is None:
            pipe = Pipe.__new__(Pipe)
            pipe.r = r
            pipe.is_out = is_out
            pipe.stages = []
            pipe.collected = []
        stage = Stage.__new__(Stage)
        stage.reactor = r.s.proxy.reactor
        stage.pipe = pipe
        stage.c = c
        stage.stage = i
        stage.kind = c.kinds[phase]
        stage.place = len(pipe.stages)
        stage.inbox = deque()
        stage.kept = []
        pipe.stages.append(stage)
        if stage.kind == KIND_WHOLE and not c.is_shadow:
            pipe.collects = True
    return pipe
