"""What a limit lets through, against a plain model; that processes count exactly, and what nobody can break."""

import os
import signal
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh._core.mem import shared
from probes.limit_probe import ODD, PASSED, REFUSED, SKIPPED, Limits
from probes.shared_probe import Raw
from probes.wire import PRESENT, SECOND, further, limit, listener, pack, route, snapshot, value

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
START = 1000


@pytest.fixture(autouse=True)
def own_memory() -> Iterator[None]:
    shared.detach()
    shared.segment().set_clock(START)
    yield
    shared.detach()


@pytest.fixture
def fd() -> Iterator[int]:
    """Memory as control makes it; this process is attached to it."""
    shared.detach()
    made = os.memfd_create("shared", os.MFD_CLOEXEC)
    os.ftruncate(made, 8 << 20)
    shared.attach(made)
    shared.segment().set_clock(START)
    yield made
    os.close(made)


def limits(*each: list[Any]) -> Limits:
    return Limits(pack(snapshot([listener()], limits=each)), shared.segment())


def asked(made: Limits, head: bytes = GET, i: int = 0, **about: Any) -> tuple[int, int, int]:
    made.request(head, **about)
    answer: tuple[int, int, int] = made.ask(i)
    return answer


def tenant(name: str) -> bytes:
    return f"GET / HTTP/1.1\r\nhost: x\r\nx-tenant: {name}\r\n\r\n".encode()


# --- tokens -----------------------------------------------------------------------------------------------------

def test_a_burst_and_then_the_rate() -> None:
    made = limits(limit(token=SECOND // 10, burst=3))
    assert [asked(made) for _ in range(3)] == [
        (PASSED, 2, SECOND // 10), (PASSED, 1, SECOND // 5), (PASSED, 0, 3 * SECOND // 10)]
    assert asked(made) == (REFUSED, 0, SECOND // 10)
    shared.segment().set_clock(START + 0.05)
    assert asked(made) == (REFUSED, 0, SECOND // 20)
    shared.segment().set_clock(START + 0.1)
    assert asked(made) == (PASSED, 0, 3 * SECOND // 10)
    shared.segment().set_clock(START + 1000)
    assert [asked(made)[0] for _ in range(4)] == [PASSED] * 3 + [REFUSED]
    assert made.counted() == {"checked": 10, "limited": 3, "would": 0, "evicted": 0, "odd_keys": 0}


class Model:
    """The same in plain Python: for each key the time at which its bucket is full, the most recently used last."""

    def __init__(self, token: int, burst: int, keys: int) -> None:
        self.token, self.full, self.keys = token, token * burst, keys
        self.until: OrderedDict[str, int] = OrderedDict()
        self.evicted = 0

    def take(self, key: str, now: int) -> tuple[int, int, int]:
        owed = max(self.until.get(key, 0) - now, 0)
        if owed > self.full:
            owed = 0
        if key in self.until:
            self.until.move_to_end(key)
            self.until[key] = now + owed
        if owed + self.token > self.full:
            return REFUSED, 0, owed + self.token - self.full
        if key not in self.until and len(self.until) == self.keys:
            self.until.popitem(last=False)
            self.evicted += 1
        self.until[key] = now + owed + self.token
        return PASSED, (self.full - owed - self.token) // self.token, owed + self.token


STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([0, 0, 0, 1, 7, 100, 10_000, -50, -100_000])),
                 max_size=60)


@settings(max_examples=tries(300), deadline=None)
@given(token=st.integers(1, 1000), burst=st.integers(1, 20), keys=st.integers(1, 5), steps=STEPS)
def test_it_is_the_model(token: int, burst: int, keys: int, steps: list[tuple[str, int]]) -> None:
    """Microseconds; time may go back as well."""
    shared.detach()
    made = limits(limit(token=token * 1000, burst=burst, keys=keys, key=["header x-tenant"]))
    model = Model(token * 1000, burst, keys)
    now = START * SECOND
    for key, passes in steps:
        now += passes * 1000
        shared.segment().set_clock(now / SECOND)
        # What the clock was set to: seconds as a float are no whole nanoseconds.
        at = int(now / SECOND * 1e9)
        assert asked(made, tenant(key)) == model.take(key, at)
    assert made.counted()["evicted"] == model.evicted
    made.close()
    shared.detach()


@pytest.mark.parametrize("token", [1000, 1666, 333_333_333, 86_400 * SECOND // 7])
@pytest.mark.parametrize("burst", [1, 3, 2500])
def test_exactly_so_many_tokens_as_it_says_fit_into_a_burst(token: int, burst: int) -> None:
    made = limits(limit(token=token, burst=burst))
    made.request(GET)
    assert made.loop(burst + 100) == burst


def test_what_is_given_back_can_be_taken_again() -> None:
    made = limits(limit(token=SECOND, burst=2))
    assert [asked(made)[0] for _ in range(3)] == [PASSED, PASSED, REFUSED]
    assert asked(made)[0] == REFUSED
    made = limits(limit(token=SECOND, burst=2))
    shared.segment().set_clock(START + 10)
    assert asked(made)[0] == PASSED
    assert asked(made)[0] == PASSED
    made.give_back()
    assert asked(made) == (PASSED, 0, 2 * SECOND)
    assert asked(made)[0] == REFUSED


def test_giving_back_never_makes_more_than_a_full_bucket() -> None:
    made = limits(limit(token=SECOND, burst=2))
    asked(made)
    shared.segment().set_clock(START + 100)
    made.give_back()
    made.give_back()
    assert [asked(made)[0] for _ in range(3)] == [PASSED, PASSED, REFUSED]


def test_a_bucket_begins_anew_when_the_clock_jumps_back() -> None:
    made = limits(limit(token=SECOND, burst=5))
    assert made.counted()["checked"] == 0
    made.request(GET)
    assert made.loop(10) == 5
    shared.segment().set_clock(1)
    assert made.loop(10) == 5
    shared.segment().set_clock(2)
    assert made.loop(10) == 1


# --- which requests ----------------------------------------------------------------------------------------------

def test_without_a_key_all_share_one_bucket() -> None:
    made = limits(limit(burst=2))
    assert [asked(made, tenant(name), client=client)[0] for name, client in (
        ("a", b"10.0.0.1:1"), ("b", b"10.0.0.2:1"), ("c", b"[::1]:1"))] == [PASSED, PASSED, REFUSED]


def test_each_key_has_its_own_bucket() -> None:
    made = limits(limit(key=["client_address", "header x-tenant"]))
    for name, client, how in (("a", b"10.0.0.1:1", PASSED), ("a", b"10.0.0.1:2", REFUSED), ("b", b"10.0.0.1:1", PASSED),
                              ("a", b"10.0.0.2:1", PASSED)):
        assert asked(made, tenant(name), client=client)[0] == how


@pytest.mark.parametrize(("skips", "how"), [(False, [PASSED, REFUSED, PASSED]), (True, [SKIPPED, SKIPPED, PASSED])])
def test_a_value_that_is_missing(skips: bool, how: list[int]) -> None:
    made = limits(limit(key=["header x-tenant"], skips_missing=skips))
    assert [asked(made, head)[0] for head in (GET, GET, tenant(""))] == how
    assert made.counted()["checked"] == sum(each != SKIPPED for each in how)


@pytest.mark.parametrize(("target", "counts"), [
    (b"/api", True), (b"/api/x", True), (b"/apix", False), (b"/x/../api", True), (b"//api", True), (b"/%61pi", True),
    (b"/x%2F..%2Fapi", True), (b"/x/..%5Capi", True), (b"/api;v=1", True), (b"/x;y/api", False), (b"/", False)])
def test_a_match_holds_in_every_reading_of_a_path(target: bytes, counts: bool) -> None:
    made = limits(limit(match=route("/api", status=200)))
    assert (asked(made, b"GET " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n")[0] == PASSED) is counts


@pytest.mark.parametrize(("method", "counts"), [(b"POST", True), (b"post", True), (b"Post", True), (b"GET", False),
                                                (b"POSTS", False), (b"brew", True), (b"Brew", False)])
def test_a_match_forgives_the_case_of_methods_that_are_known(method: bytes, counts: bool) -> None:
    made = limits(limit(match=route("/", methods=["POST", "brew"], status=200)))
    made.request(method + b" / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (made.ask()[0] == PASSED) is counts
    assert (made.ask()[0] == REFUSED) is counts


def test_one_of_several_values_of_a_header_is_enough_for_a_match() -> None:
    made = limits(limit(match=route("/", headers=[("x-plan", "free")], status=200)))
    assert asked(made, b"GET / HTTP/1.1\r\nhost: x\r\nx-plan: paid\r\nX-PLAN: free\r\n\r\n")[0] == PASSED
    assert asked(made, b"GET / HTTP/1.1\r\nhost: x\r\nx-plan: paid\r\n\r\n")[0] == SKIPPED


def test_a_match_by_cookie_parameter_and_connection() -> None:
    ten = [4, 8, bytes([10]).ljust(16, b"\0")]
    made = limits(limit(match=route("/", status=200, more=further(
        cookies=[value("plan", "free")], query=[value("q", kind=PRESENT)], sources=[ten]))))
    head = b"GET /?q=1 HTTP/1.1\r\nhost: x\r\ncookie: plan=free\r\n\r\n"
    assert asked(made, head, client=b"11.0.0.1:1")[0] == SKIPPED
    assert asked(made, head.replace(b"free", b"paid"), client=b"10.0.0.1:1")[0] == SKIPPED
    assert asked(made, head.replace(b"?q=1", b""), client=b"10.0.0.1:1")[0] == SKIPPED
    assert asked(made, head, client=b"10.0.0.1:1")[0] == PASSED


def test_a_share_of_requests() -> None:
    made = limits(limit(token=1, burst=1_000_000, share=100_000))
    passed = sum(asked(made)[0] == PASSED for _ in range(10_000))
    assert 850 < passed < 1150
    assert made.counted()["checked"] == passed


def test_a_dry_run_is_counted_apart() -> None:
    made = limits(limit(dry_run=True))
    assert [asked(made)[0] for _ in range(3)] == [PASSED, REFUSED, REFUSED]
    assert made.counted() == {"checked": 3, "limited": 0, "would": 2, "evicted": 0, "odd_keys": 0}


# --- bounds -----------------------------------------------------------------------------------------------------

def test_a_million_keys_have_no_more_buckets_than_it_says() -> None:
    made = limits(limit(keys=1000, key=["client_address"]))
    made.request(GET)
    passed, _ = made.flood(1_000_000)
    assert passed == 1_000_000
    assert made.counted()["evicted"] == 999_000
    # The oldest left, the newest are still there.
    assert asked(made, client=b"0.0.0.0:1")[0] == PASSED
    newest = (999_999).to_bytes(4, "little")
    assert asked(made, client=".".join(map(str, newest)).encode() + b":1")[0] == REFUSED


def test_odd_keys_share_one_bucket_and_are_counted() -> None:
    made = limits(limit(key=["header x-tenant"], burst=2))
    odd = [tenant("a" * 60_000), tenant("b" * 60_000), tenant("a\r\nx-tenant: b")]
    assert [asked(made, head)[0] for head in odd] == [PASSED, PASSED, REFUSED]
    assert made.counted()["odd_keys"] == 3
    assert made.key()[0] == ODD
    assert asked(made, tenant("a"))[0] == PASSED


def test_there_is_no_room_for_more_than_the_memory_holds() -> None:
    made = limits(limit(keys=1_000_000, key=["client_address"]))
    assert made.keep(shared.segment()) == 0
    other = Limits(pack(snapshot([listener()], limits=[limit("m", keys=1_000_000, key=["client_address"])])),
                   shared.Segment(size=1 << 26))
    assert other.keep(shared.segment()) == 1


# --- what lives on ------------------------------------------------------------------------------------------------

def again(first: list[Any], second: list[Any], head: bytes = tenant("a")) -> int:
    """A bucket of `first` is emptied; how a request fares that comes by `second`."""
    made = limits(first)
    made.request(head)
    made.loop(100)
    return asked(limits(second), head)[0]


def test_buckets_survive_another_snapshot() -> None:
    same = {"token": SECOND, "burst": 5, "key": ["header x-tenant"]}
    assert again(limit("l", **same), limit("l", row=7, status=503, **same)) == REFUSED
    assert again(limit("l", **same), limit("m", **same)) == PASSED


@pytest.mark.parametrize("other", [{"keys": 999}, {"key": ["header x-tenant", "method"]}, {"key": ["cookie x-tenant"]}])
def test_of_another_shape_they_begin_anew(other: dict[str, Any]) -> None:
    same: dict[str, Any] = {"token": SECOND, "burst": 5, "key": ["header x-tenant"]}
    assert again(limit("l", **same), limit("l", **{**same, **other})) == PASSED


def test_another_rate_holds_at_once() -> None:
    slow = limit("l", token=3600 * SECOND, burst=10)
    made = limits(slow)
    made.request(GET)
    assert made.loop(100) == 10
    # Ten hours are more than a bucket can owe now.
    fast = limits(limit("l", token=SECOND // 100, burst=10))
    assert [asked(fast)[0] for _ in range(11)] == [PASSED] * 10 + [REFUSED]
    # What it owes now is less than it can.
    slow = limits(limit("l", token=SECOND // 10, burst=10))
    assert [asked(slow)[0] for _ in range(10)] == [PASSED] * 9 + [REFUSED]


# --- several processes -----------------------------------------------------------------------------------------------

def in_child(work: Callable[[], int]) -> int:
    """Runs `work` in a copy of this process, whose exit status is what it returns; its pid."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            status = work()
        finally:
            os._exit(status)
    return pid


def test_processes_count_exactly(fd: int) -> None:
    made = limits(limit(token=SECOND, burst=300))
    made.request(GET)
    pids = [in_child(lambda: int(made.loop(20_000) // 2)) for _ in range(4)]
    passed = [2 * os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    # Halves, as an exit status has 8 bits; each may have lost one to the division.
    assert 300 - 4 <= sum(passed) <= 300
    assert made.loop(1) == 0


@pytest.mark.parametrize("way", ["hold", "tear"])
def test_who_dies_with_the_lock_takes_no_limit_along(fd: int, way: str) -> None:
    made = limits(limit("l", burst=2, key=["client_address"]))
    asked(made)
    raw = Raw(fd)
    (name,) = raw.names()
    assert name == "limit l 1000"

    def die() -> int:
        getattr(raw, way)(name)
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    pid = in_child(die)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert [asked(made)[0] for _ in range(3)] == [PASSED, PASSED, REFUSED]
    assert raw.check(name) == 1
