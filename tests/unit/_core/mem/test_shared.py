"""Shared memory: names, what each object does, that processes count exactly, and that none of them can take a lock
with it when it dies."""

import fcntl
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import OrderedDict

import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastmesh._core.mem import shared
from fastmesh._core.mem.shared import Counter, Flag, Gauge, LruMap, Segment, SharedError, TokenBuckets
from probes.shared_probe import Raw, sip


@pytest.fixture(autouse=True)
def own_memory():
    shared.detach()
    yield
    shared.detach()


@pytest.fixture
def fd():
    """Shared memory as control makes it; this process is attached to it."""
    made = os.memfd_create("shared", os.MFD_CLOEXEC)
    os.ftruncate(made, 8 << 20)
    shared.attach(made)
    yield made
    os.close(made)


@pytest.fixture
def clock():
    """Time stands still until it is moved."""
    def at(seconds):
        shared.segment().set_clock(seconds)
    at(1000.0)
    return at


def in_child(work):
    """Runs `work` in a copy of this process; its pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# --- names ----------------------------------------------------------------------------------------------------------

def test_the_same_name_is_the_same_object():
    Counter("a").add(3)
    assert Counter("a").add(4) == 7
    assert Counter("b").value == 0
    assert repr(Counter("a")) == "shared.Counter('a')" and Counter("a").name == "a"


def test_another_kind_under_a_name_is_refused():
    Counter("a")
    with pytest.raises(SharedError, match=r"shared\.Gauge\('a'\): this name is a Counter already"):
        Gauge("a")


@pytest.mark.parametrize(("first", "second", "said"), [
    (lambda: LruMap("m", max_entries=10, max_bytes=64), lambda: LruMap("m", max_entries=11, max_bytes=64),
     "asked for with max_entries=11, max_bytes=64, but it was made with max_entries=10, max_bytes=64"),
    (lambda: LruMap("m", max_entries=10, max_bytes=64), lambda: LruMap("m", max_entries=10, max_bytes=65),
     "max_bytes=65, but"),
    (lambda: TokenBuckets("m", rate=1, max_keys=5), lambda: TokenBuckets("m", rate=1, max_keys=6),
     "asked for with max_keys=6, but it was made with max_keys=5"),
])
def test_another_size_under_a_name_is_refused(first, second, said):
    first()
    with pytest.raises(SharedError, match=said):
        second()


def test_what_belongs_to_a_handle_may_differ():
    LruMap("m", ttl=1)
    assert LruMap("m", ttl=2).ttl == 2
    TokenBuckets("b", rate=1)
    assert TokenBuckets("b", rate=5, burst=7).burst == 7


def test_what_does_not_fit_is_refused_and_names_the_limit():
    with pytest.raises(SharedError, match=r"max_entries=1000000, max_bytes=1024 takes 1,0\d\d,\d{3},\d{3} bytes, and "
                                          r"67,\d{3},\d{3} are left of the 67,108,864"):
        LruMap("m", max_entries=1_000_000, max_bytes=1024)
    left = shared.segment().left
    LruMap("m", max_entries=10)
    assert left - 10_000 < shared.segment().left < left


def test_there_are_so_many_objects_and_no_more():
    for i in range(1024):
        Counter(f"c{i}")
    with pytest.raises(SharedError, match="there are 1,024 shared objects already"):
        Counter("one more")
    Counter("c5").add()


@pytest.mark.parametrize("make", [
    lambda: Counter(""), lambda: Counter("x" * 129), lambda: Counter("ü" * 65),
    lambda: LruMap("m", max_entries=0), lambda: LruMap("m", max_entries=1 << 30), lambda: LruMap("m", max_bytes=0),
    lambda: LruMap("m", max_bytes=1 << 21), lambda: LruMap("m", ttl=0), lambda: LruMap("m", ttl=-1),
    lambda: LruMap("m", ttl=math.nan), lambda: LruMap("m", ttl=math.inf),
    lambda: TokenBuckets("b", rate=0), lambda: TokenBuckets("b", rate=-1), lambda: TokenBuckets("b", rate=math.nan),
    lambda: TokenBuckets("b", rate=math.inf), lambda: TokenBuckets("b", rate=1, burst=0),
    lambda: TokenBuckets("b", rate=1e-9, burst=1e9), lambda: TokenBuckets("b", rate=1, max_keys=0),
])
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(SharedError):
        make()
    Counter("and does not stay").add()


@pytest.mark.parametrize("make", [shared.Shared, shared.Table, lambda: shared.Table("x"), Counter,
                                  lambda: Counter(None), lambda: Counter(b"x"), lambda: Counter.__new__(Counter)])
def test_nothing_is_made_without_memory_behind_it(make):
    with pytest.raises(TypeError):
        make()


def test_nothing_is_pickled():
    for one in (Counter("a"), LruMap("m"), shared.segment()):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(one)


def test_a_name_may_be_any_text():
    Counter("Zähler/ü \0 x").add()
    assert Counter("Zähler/ü \0 x").value == 1
    with pytest.raises(UnicodeEncodeError):
        Counter("\ud800")


# --- the segment ----------------------------------------------------------------------------------------------------

def test_two_mappings_of_one_memfd_are_one_memory(fd):
    Counter("a").add(5)
    assert Raw(fd).names() == ["a"]
    shared.detach()
    shared.attach(fd)
    assert Counter("a").value == 5


def test_attaching_comes_before_making(fd):
    shared.detach()
    shared.attach(fd)
    shared.attach(fd)
    shared.detach()
    shared.segment()
    shared.attach(fd)       # nothing was made yet
    shared.detach()
    Counter("early")
    with pytest.raises(SharedError, match="make them in a filter's `start`"):
        shared.attach(fd)


def test_memory_of_another_version_is_refused(fd):
    os.pwrite(fd, b"\x07", 8)
    with pytest.raises(SharedError, match="another version's"):
        Segment(fd)


def test_memory_that_is_too_small_is_refused():
    made = os.memfd_create("small")
    os.ftruncate(made, 4096)
    with pytest.raises(SharedError, match="too small"):
        Segment(made)
    os.close(made)
    with pytest.raises(SharedError):
        Segment(size=1)


def test_objects_outlive_the_module_s_hold_of_their_memory():
    counter = Counter("a")
    shared.detach()
    assert Counter("a").add() == 1
    assert counter.add(2) == 2


def test_memory_is_taken_as_it_is_used():
    made = os.memfd_create("sparse")
    os.ftruncate(made, 64 << 20)
    shared.attach(made)
    LruMap("m", max_entries=100_000, max_bytes=256).put("k", "v")
    assert os.fstat(made).st_blocks * 512 < 100_000
    os.close(made)


def test_many_processes_that_begin_at_once_make_one_segment_and_one_object(fd):
    shared.detach()
    path = f"/proc/{os.getpid()}/fd/{fd}"
    code = ("import os, sys; from fastmesh._core.mem import shared; shared.attach(os.open(sys.argv[1], os.O_RDWR)); "
            "[shared.Counter(f'c{i}').add() for i in range(50)]")
    many = [subprocess.Popen([sys.executable, "-c", code, path], env=os.environ | {"PYTHONPATH": ":".join(sys.path)})
            for _ in range(4)]
    assert [one.wait() for one in many] == [0] * 4
    shared.attach(fd)
    assert sorted(Raw(fd).names()) == sorted(f"c{i}" for i in range(50))
    assert {Counter(f"c{i}").value for i in range(50)} == {4}


# --- numbers --------------------------------------------------------------------------------------------------------

def test_a_counter():
    c = Counter("c")
    assert [c.add(), c.add(10), c.add(-4), c.value] == [1, 11, 7, 7]
    with pytest.raises(OverflowError):
        c.add(1 << 63)
    with pytest.raises(TypeError):
        c.add(1.5)


def test_a_gauge():
    g = Gauge("g")
    assert g.get() == 0.0
    g.set(-1.25)
    assert Gauge("g").get() == -1.25


def test_a_flag():
    f = Flag("f")
    assert not f and f.get() is False
    f.set()
    assert Flag("f") and Flag("f").get() is True
    f.clear()
    assert not f
    f.set(True)
    f.set(False)
    assert not f


# --- token buckets --------------------------------------------------------------------------------------------------

def test_a_burst_and_then_the_rate(clock):
    b = TokenBuckets("b", rate=10, burst=3)
    assert [b.take("k") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert b.take("k") == pytest.approx(0.1)
    assert b.take("another") == 0.0
    clock(1000.05)
    assert b.take("k") == pytest.approx(0.05)
    clock(1000.1)
    assert b.take("k") == 0.0
    assert b.take("k") > 0
    clock(2000.0)
    assert [b.take("k") for _ in range(3)] == [0.0] * 3 and b.take("k") > 0     # not more than the burst


@pytest.mark.parametrize("rate", [3, 7, 0.3, 1e6, 12345.678, 1 / 7])
@pytest.mark.parametrize("burst", [1, 10, 100])
def test_as_many_whole_tokens_as_it_says_fit_into_a_burst(clock, rate, burst):
    b = TokenBuckets("b", rate=rate, burst=burst)
    assert [b.take("k") for _ in range(burst)] == [0.0] * burst
    assert b.take("k") > 0


def test_costs(clock):
    b = TokenBuckets("b", rate=10, burst=10)
    assert b.take("k", 4) == 0 and b.take("k", 6) == 0
    assert b.take("k", 5) == pytest.approx(0.5)
    assert b.take("k", 0.5) == pytest.approx(0.05)
    assert b.take("k", 11) == math.inf
    for cost in (0, -1, math.nan, math.inf, 1e300):
        with pytest.raises(ValueError, match="cost"):
            b.take("k", cost)


def test_what_is_charged_afterwards_is_owed(clock):
    b = TokenBuckets("b", rate=10, burst=10)
    assert b.charge("k", 5) == 0.0
    assert b.charge("k", 25) == pytest.approx(2.0)
    assert b.take("k") == pytest.approx(2.1)
    clock(1002.1)
    assert b.take("k") == 0.0
    b.charge("k", 1000)
    b.reset("k")
    assert b.take("k", 10) == 0.0
    for _ in range(20):
        b.charge("k", 1e9)
    assert 0 < b.charge("k", 1e9) < 1.2e9       # bounded: debts do not add up without end


def test_the_key_used_longest_ago_leaves(clock):
    b = TokenBuckets("b", rate=1, burst=1, max_keys=3)
    for key in "abc":
        assert b.take(key) == 0
    assert b.take("a") > 0          # used: now b is the oldest
    assert b.take("d") == 0
    assert b.evicted == 1 and len(b) == 3
    assert b.take("a") > 0 and b.take("c") > 0
    assert b.take("b") == 0         # begins with a full bucket
    b.clear()
    assert len(b) == 0 and b.take("a") == 0


def test_a_default_burst_is_a_second_s_worth():
    assert TokenBuckets("b", rate=50).burst == 50
    assert TokenBuckets("c", rate=0.5).burst == 1


def test_another_rate_goes_on_where_the_first_was(clock):
    assert TokenBuckets("b", rate=1, burst=10).take("k", 10) == 0
    assert TokenBuckets("b", rate=100, burst=10).take("k") > 0
    clock(1010.0)
    assert TokenBuckets("b", rate=100, burst=10).take("k", 10) == 0


# --- maps -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("value", ["", "x", "ü€𝄞", "\ud800", b"", b"\0\xff", b"x" * 256, 0, 1, -1, (1 << 63) - 1,
                                   -(1 << 63)])
def test_values_come_back_as_they_were(value):
    m = LruMap("m")
    m.put("k", value)
    found = m.get("k")
    assert found == value and type(found) is type(value)


def test_a_large_value():
    m = LruMap("m", max_entries=4, max_bytes=100_000)
    m.put("k", b"y" * 100_000)
    assert m.get("k") == b"y" * 100_000
    m.put("k", "short")
    assert m.get("k") == "short"


@pytest.mark.parametrize("value", ["x" * 257, b"x" * 257, "€" * 86])
def test_a_value_that_is_too_long_is_refused(value):
    m = LruMap("m")
    m.put("k", 1)
    with pytest.raises(ValueError, match="max_bytes is 256"):
        m.put("k", value)
    assert m.get("k") == 1


@pytest.mark.parametrize("value", [None, 1.5, ["x"], bytearray(b"x")])
def test_other_values_are_refused(value):
    with pytest.raises(TypeError, match="a value is str, bytes or int"):
        LruMap("m").put("k", value)
    with pytest.raises(OverflowError):
        LruMap("m").put("k", 1 << 63)


def test_keys():
    m = LruMap("m")
    m.put("ü", 1)
    assert m.get("ü".encode()) == 1
    m.put("\ud800", 2)
    assert m.get("\ud800") == 2
    m.put(b"", 3)
    assert m.get("") == 3
    m.put("k" * 65536, 4)
    assert m.get("k" * 65536) == 4 and m.get("k" * 65535) is None
    for wrong in (None, 1, ("a",)):
        with pytest.raises(TypeError, match="a key is str or bytes"):
            m.get(wrong)
    with pytest.raises(ValueError, match="at most 65,536 bytes"):
        m.put("k" * 65537, 5)


def test_what_is_not_there():
    m = LruMap("m")
    assert m.get("k") is None and m.get("k", 5) == 5 and "k" not in m and m.delete("k") is False
    m.put("k", "v")
    assert "k" in m and m.delete("k") is True and "k" not in m and len(m) == 0


def test_time_to_live(clock):
    m = LruMap("m", ttl=10)
    m.put("a", 1)
    m.put("b", 2, ttl=1)
    clock(1001.0)
    assert m.get("a") == 1 and m.get("b") is None
    clock(1009.999)
    assert "a" in m
    clock(1010.0)
    assert "a" not in m and m.delete("a") is False and len(m) == 0
    with pytest.raises(SharedError, match="ttl"):
        m.put("a", 1, ttl=0)


def test_a_number_lives_from_its_first_add(clock):
    m = LruMap("m")
    assert m.add("k", ttl=10) == 1
    clock(1009.0)
    assert m.add("k", 5, ttl=10) == 6
    clock(1010.0)
    assert m.add("k", ttl=10) == 1
    m.put("k", 40)
    assert m.add("k", 2) == 42
    m.put("text", "v")
    with pytest.raises(TypeError, match="is no number"):
        m.add("text")
    m.put("k", (1 << 63) - 1)
    with pytest.raises(OverflowError):
        m.add("k")
    assert m.get("k") == (1 << 63) - 1


class Model(RuleBasedStateMachine):
    """An LruMap beside the same in plain Python, with a clock that only this test moves."""

    keys = st.sampled_from([f"key {i}" for i in range(7)])
    values = st.one_of(st.integers(-5, 5), st.text(max_size=8), st.binary(max_size=16))
    ttls = st.sampled_from([None, 1.0, 3.0])

    @initialize(ttl=ttls)
    def begin(self, ttl):
        self.fd = os.memfd_create("model")
        os.ftruncate(self.fd, 1 << 20)
        shared.detach()
        shared.attach(self.fd)
        self.now = 100.0
        shared.segment().set_clock(self.now)
        self.ttl = ttl
        self.real = LruMap("m", max_entries=4, max_bytes=32, ttl=ttl)
        self.model = OrderedDict()      # key -> (value, until), oldest first
        self.evicted = 0
        self.raw = Raw(self.fd)

    def _live(self, key):
        found = self.model.get(key)
        if found is not None and found[1] is not None and found[1] <= self.now:
            del self.model[key]
            return None
        return found

    def _store(self, key, value, until):
        if key not in self.model and len(self.model) == 4:
            self.model.popitem(last=False)
            self.evicted += 1
        self.model[key] = (value, until)
        self.model.move_to_end(key)

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.5]))
    def time_passes(self, seconds):
        self.now += seconds
        shared.segment().set_clock(self.now)

    @rule(key=keys, value=values, ttl=ttls)
    def put(self, key, value, ttl):
        self.real.put(key, value, ttl=ttl)
        ttl = self.ttl if ttl is None else ttl
        self._store(key, value, None if ttl is None else self.now + ttl)

    @rule(key=keys)
    def get(self, key):
        found = self._live(key)
        if found is not None:
            self.model.move_to_end(key)
        assert self.real.get(key, "none") == (found[0] if found else "none")

    @rule(key=keys, n=st.integers(-3, 3))
    def add(self, key, n):
        found = self._live(key)
        if found is not None:
            self.model.move_to_end(key)
            if not isinstance(found[0], int):
                with pytest.raises(TypeError):
                    self.real.add(key, n)
                return
            self.model[key] = (found[0] + n, found[1])
            assert self.real.add(key, n) == found[0] + n
            return
        self._store(key, n, None if self.ttl is None else self.now + self.ttl)
        assert self.real.add(key, n) == n

    @rule(key=keys)
    def delete(self, key):
        found = self._live(key)
        self.model.pop(key, None)
        assert self.real.delete(key) is (found is not None)

    @rule(key=keys)
    def contains(self, key):
        assert (key in self.real) is (self._live(key) is not None)

    @rule()
    def clear(self):
        self.real.clear()
        self.model.clear()

    @invariant()
    def it_is_whole(self):
        assert self.raw.check("m") == len(self.real) == len(self.model)
        assert self.real.evicted == self.evicted

    def teardown(self):
        shared.detach()
        os.close(self.fd)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([0, 1, 2, 5]), st.sampled_from([1, 2, 4])),
                max_size=60))
def test_buckets_are_those_of_a_plain_model(steps):
    """A bucket's level, computed in whole eighths of a second: 8 tokens a second, so that nothing is rounded."""
    shared.detach()
    real = TokenBuckets("b", rate=8, burst=4, max_keys=2)
    model = OrderedDict()       # key -> eighths at which it is full again
    now = 8000
    for key, passes, cost in steps:
        now += passes
        shared.segment().set_clock(now / 8)
        full_at = max(model.get(key, 0), now)
        if full_at + cost <= now + 4:
            expected = 0.0
            if key not in model and len(model) == 2:
                model.popitem(last=False)
            model[key] = full_at + cost
        else:
            expected = (full_at + cost - now - 4) / 8
        if key in model:
            model.move_to_end(key)
        assert real.take(key, cost) == expected
        assert len(real) == len(model)


# --- several processes ----------------------------------------------------------------------------------------------

PROCESSES = 3
TIMES = 5000


def test_processes_count_exactly(fd):
    counter, numbers = Counter("c"), LruMap("m", max_entries=8)
    buckets = TokenBuckets("b", rate=1e-5, burst=TIMES)

    def hammer():
        mine = LruMap("m", max_entries=8)
        taken = LruMap("taken", max_entries=8)
        for i in range(TIMES):
            Counter("c").add()
            mine.add(f"k{i % 5}")
            if buckets.take("k") == 0:
                taken.add("n")

    children = [in_child(hammer) for _ in range(PROCESSES)]
    assert [wait(pid) for pid in children] == [0] * PROCESSES
    assert counter.value == PROCESSES * TIMES
    assert [numbers.get(f"k{i}") for i in range(5)] == [PROCESSES * TIMES // 5] * 5
    assert LruMap("taken", max_entries=8).get("n") == TIMES       # of three times as many that were asked for
    assert Raw(fd).check("m") == 5


def test_processes_that_push_each_other_s_keys_out(fd):
    def churn(seed):
        m = LruMap("m", max_entries=50, max_bytes=16)
        for i in range(TIMES):
            key = str((i * 7919 + seed * 31) % 120)
            m.put(key, key)
            found = m.get(key)
            assert found is None or found == key        # another may have pushed it out; it never has another's value
            if i % 11 == 0:
                m.delete(key)

    children = [in_child(lambda seed=seed: churn(seed)) for seed in range(PROCESSES)]
    assert [wait(pid) for pid in children] == [0] * PROCESSES
    assert Raw(fd).check("m") <= 50


def die_holding(fd, how, *names):
    """A child does something to the segment, and is killed with it mapped, as a worker would be."""
    raw = Raw(fd)

    def stay():
        getattr(raw, how)(*names)
        os.kill(os.getpid(), signal.SIGKILL)
    assert wait(in_child(stay)) == -signal.SIGKILL


def test_a_lock_whose_holder_was_killed_is_taken_over(fd):
    m = LruMap("m", max_entries=8)
    for i in range(8):
        m.put(str(i), i)
    die_holding(fd, "tear", "m")
    assert m.get("3") is None
    assert (m.recovered, len(m)) == (1, 0)
    for i in range(20):
        m.put(str(i), i)
    assert m.get("19") == 19 and Raw(fd).check("m") == 8
    die_holding(fd, "hold", "m")
    assert len(m) == 0 and m.recovered == 2


def test_a_bucket_s_lock_whose_holder_was_killed_is_taken_over(fd):
    b = TokenBuckets("b", rate=1e-6, burst=1)
    assert b.take("k") == 0 and b.take("k") > 0
    die_holding(fd, "tear", "b")
    assert b.take("k") == 0 and b.take("k") > 0
    assert b.recovered == 1 and Raw(fd).check("b") == 1


def test_the_list_of_objects_survives_one_that_dies_while_it_adds_to_it(fd):
    Counter("a").add()
    die_holding(fd, "hold_list")
    LruMap("m", max_entries=4).put("k", 1)
    assert Raw(fd).names() == ["a", "m"] and Raw(fd).recovered == 1
    assert Counter("a").value == 1 and LruMap("m", max_entries=4).get("k") == 1


def test_processes_killed_at_any_moment_leave_whole_tables(fd):
    """Whatever a worker was doing when it was killed, the others go on with a table that is whole."""
    m = LruMap("m", max_entries=20, max_bytes=16)
    begun = Counter("begun")

    def churn():
        i = 0
        while True:
            key = str(i % 47)
            m.put(key, key)
            m.get(str(i % 13))
            m.delete(str(i % 29))
            begun.add()
            i += 1

    for round_ in range(tries(60)):
        before = begun.value
        pid = in_child(churn)
        while begun.value < before + 50 + 7 * round_:       # it is in the middle of its work
            time.sleep(0)
        os.kill(pid, signal.SIGKILL)
        assert wait(pid) == -signal.SIGKILL
        m.put("mine", "x")
        assert m.get("mine") == "x"
        assert 1 <= Raw(fd).check("m") <= 20
    assert m.recovered <= 60


# --- the hash -------------------------------------------------------------------------------------------------------

def test_the_hash_is_sip_hash():
    """The first of the reference implementation's vectors."""
    seed = bytes(range(16))
    assert sip(b"", seed).hex() == "a3817f04ba25a8e66df67214c7550293"
    assert sip(b"\0", seed).hex() == "da87c1d86b99af44347659119b22fc45"


@pytest.mark.parametrize("n", [1, 7, 8, 9, 15, 16, 17, 63, 64, 200])
def test_the_hash_is_that_of_openssl(n, tmp_path):
    key, seed = os.urandom(n), os.urandom(16)
    file = tmp_path / "key"
    file.write_bytes(key)
    done = subprocess.run(["openssl", "mac", "-macopt", f"hexkey:{seed.hex()}", "-in", str(file), "SIPHASH"],
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip().lower() == sip(key, seed).hex()


def test_each_segment_has_a_seed_of_its_own(fd):
    def seed_of(which):
        return os.pread(which, 16, 24)
    other = os.memfd_create("other")
    os.ftruncate(other, 1 << 20)
    Segment(other)
    assert seed_of(fd) != seed_of(other) != bytes(16)
    os.close(other)


def test_the_lock_of_the_kernel_is_given_back(fd):
    """Whoever comes to attach must not wait for one that has done so."""
    assert wait(in_child(lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))) == 0
