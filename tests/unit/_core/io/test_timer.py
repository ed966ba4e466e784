"""The wheel beside a list of deadlines: never early, at most a slot late, and no timer forgotten."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.parts_probe import Wheel

SLOT = 1 << 22
START = 123_456_789_012_345
TIMERS = 12


class Model:
    """A wheel, and what must come of it."""

    def __init__(self, start=START):
        self.now = start
        self.due = {}
        self.fired = []
        self.wheel = Wheel(start, TIMERS, self.on_fire)

    def on_fire(self, i):
        assert i in self.due, f"{i} fired and was not armed"
        deadline = self.due.pop(i)
        assert deadline <= self.now, f"{i} fired {deadline - self.now} ns early"
        self.fired.append(i)

    def arm(self, i, after):
        self.due[i] = self.now + after
        self.wheel.arm(i, self.now + after)

    def pass_time(self, ns):
        """In one step: what is over by more than a slot must have fired."""
        self.now += ns
        self.wheel.run(self.now)
        late = {i: self.now - deadline for i, deadline in self.due.items() if deadline <= self.now - SLOT}
        assert not late, f"late: {late}"

    def sleep(self, ns):
        """In as many steps as the wheel wants."""
        until = self.now + ns
        steps = 0
        while self.now < until:
            wait = self.wheel.wait(self.now, until - self.now)
            assert 0 <= wait <= until - self.now
            if self.due:
                # It may be woken for nothing, but never too late.
                assert self.now + wait <= max(min(self.due.values()), self.now) + 2 * SLOT
            self.pass_time(wait if wait else 1)
            steps += 1
            assert steps < 3000


DELAYS = st.one_of(st.integers(1, 3 * SLOT), st.integers(1, 300 * SLOT), st.integers(1, 70_000 * SLOT),
                   st.sampled_from([k * SLOT + d for k in (1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537)
                                    for d in (-1, 0, 1)]))
STEPS = st.lists(st.one_of(
    st.tuples(st.just("arm"), st.integers(0, TIMERS - 1), DELAYS),
    st.tuples(st.just("cancel"), st.integers(0, TIMERS - 1), st.just(0)),
    st.tuples(st.just("unlink"), st.integers(0, TIMERS - 1), st.just(0)),
    st.tuples(st.just("pass"), st.just(0), st.integers(0, 1000 * SLOT)),
    st.tuples(st.just("sleep"), st.just(0), st.integers(1, 600 * SLOT)),
), max_size=40)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(STEPS, st.integers(0, 1 << 50))
def test_against_a_list(steps, start):
    model = Model(start)
    for what, i, ns in steps:
        if what == "arm":
            model.arm(i, ns)
        elif what == "cancel":
            model.due.pop(i, None)
            model.wheel.cancel(i)
        elif what == "unlink":
            model.due.pop(i, None)
            model.wheel.unlink(i)
        elif what == "pass":
            model.pass_time(ns)
        else:
            model.sleep(ns)
    left = dict(model.due)
    model.pass_time(max([deadline - model.now for deadline in left.values()], default=0) + 2 * SLOT)
    assert set(left) <= set(model.fired) and not model.due
    for i in range(TIMERS):
        model.wheel.unlink(i)
    assert model.wheel.count == 0


@pytest.mark.parametrize("after", [1, SLOT - 1, SLOT, SLOT + 1, 100 * SLOT, 256 * SLOT, 70_000 * SLOT])
def test_never_early_and_at_most_two_slots_late(after):
    model = Model()
    model.arm(0, after)
    model.pass_time(after - 1)
    assert model.fired == []
    model.pass_time(2 * SLOT + 1)
    assert model.fired == [0]


def test_a_later_deadline_costs_no_move():
    model = Model()
    model.arm(0, 10 * SLOT)
    for _ in range(100):
        model.pass_time(5 * SLOT)
        model.arm(0, 10 * SLOT)
        assert model.wheel.count == 1 and not model.fired
    model.pass_time(12 * SLOT)
    assert model.fired == [0]


def test_an_earlier_deadline_counts():
    model = Model()
    model.arm(0, 1000 * SLOT)
    model.arm(0, 3 * SLOT)
    model.pass_time(5 * SLOT)
    assert model.fired == [0]


def test_a_timer_may_arm_itself_and_others_while_it_fires():
    model = Model()
    rounds = []

    def on_fire(i):
        Model.on_fire(model, i)
        rounds.append(i)
        if len(rounds) < 20:
            model.arm(i, 1)
            model.arm((i + 1) % TIMERS, 1)

    model.wheel.on_fire = on_fire
    model.arm(0, SLOT)
    for _ in range(200):
        model.pass_time(SLOT)
    assert len(rounds) >= 20 and not model.due


def test_a_timer_may_take_out_the_others_of_its_slot():
    model = Model()

    def on_fire(i):
        Model.on_fire(model, i)
        for other in range(TIMERS):
            if other != i:
                model.due.pop(other, None)
                model.wheel.unlink(other)

    model.wheel.on_fire = on_fire
    for i in range(TIMERS):
        model.arm(i, SLOT)
    model.pass_time(5 * SLOT)
    assert len(model.fired) == 1 and model.wheel.count == 0


def test_further_than_the_wheel_reaches():
    model = Model()
    after = 3 * (SLOT << 24)
    model.arm(0, after)
    model.pass_time(after - SLOT)
    assert model.fired == []
    model.pass_time(3 * SLOT)
    assert model.fired == [0]


def test_an_empty_wheel_waits_as_long_as_it_may():
    model = Model()
    assert model.wheel.wait(model.now, 10**9) == 10**9
    model.pass_time(1 << 45)
    model.arm(0, SLOT)
    assert model.wheel.wait(model.now, 10**12) <= 2 * SLOT


def test_many_random_deadlines():
    rng = random.Random(7)
    model = Model()
    for _ in range(3000):
        i = rng.randrange(TIMERS)
        if rng.random() < 0.7:
            model.arm(i, rng.choice([rng.randrange(1, 10 * SLOT), rng.randrange(1, 5000 * SLOT)]))
        model.pass_time(rng.randrange(3 * SLOT))
    model.pass_time(6000 * SLOT)
    assert not model.due
