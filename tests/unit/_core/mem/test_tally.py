"""What workers have in use, as they see each other."""

import os

from fastmesh._core.mem.tally import USED
from fastmesh.observe.breakers import breakers
from fastmesh.observe.health import HealthFile
from probes.breaker_probe import SEATS, Seats


def test_the_others_are_all_that_have_a_seat_but_oneself():
    seats = Seats()
    a, b, c = (seats.take(pid) for pid in (100, 200, 300))
    assert (a, b, c) == (0, 1, 2)
    seats.use(a, 7, [1, 2, 3, 4])
    seats.use(b, 7, [10, 20, 30, 40])
    seats.use(c, 7, [100, 200, 300, 400])
    assert seats.others(a, 7) == [110, 220, 330, 440]
    assert seats.others(c, 7) == [11, 22, 33, 44]
    assert seats.others(-1, 7) == [111, 222, 333, 444]
    assert seats.others(a, 8) == [0, 0, 0, 0]
    seats.leave(b)
    assert seats.others(a, 7) == [100, 200, 300, 400]


def test_a_seat_is_empty_for_the_next():
    seats = Seats()
    one, other = seats.take(100), seats.take(200)
    seats.use(one, 3, [5, 5, 5, 5])
    seats.use_endpoint(one, 3, 9)
    assert seats.endpoint_others(other, 3) == 9
    seats.leave(one)
    assert seats.take(300) == one
    assert seats.others(other, 3) == [0, 0, 0, 0]
    assert seats.endpoint_others(other, 3) == 0


def test_there_are_so_many_and_no_more():
    seats = Seats()
    assert [seats.take(pid + 2) for pid in range(SEATS)] == list(range(SEATS))
    assert seats.take(1000) == -1
    seats.leave(5)
    assert seats.take(1000) == 5


def test_the_rank_counts_those_that_are_taken():
    seats = Seats()
    for pid in (100, 200, 300):
        seats.take(pid)
    assert [seats.rank(seat) for seat in range(3)] == [(3, 0), (3, 1), (3, 2)]
    seats.leave(0)
    assert [seats.rank(seat) for seat in (1, 2)] == [(2, 0), (2, 1)]


def test_control_reads_them_and_empties_the_seat_of_one_that_died():
    health = HealthFile()
    seats = Seats(health.fd)
    a, b = seats.take(100), seats.take(200)
    seats.use(a, 4, [1, 2, 3, 4])
    seats.use(b, 4, [10, 20, 30, 40])
    assert health.used(4) == dict(zip(USED, (11, 22, 33, 44), strict=True))
    health.vacate(200)
    assert health.used(4) == dict(zip(USED, (1, 2, 3, 4), strict=True))
    assert seats.others(-1, 4) == [1, 2, 3, 4]
    health.vacate(4711)
    assert health.used(4)["requests"] == 1
    assert health.learned(4) == {"rejected": 0.0}
    seats.learn(a, 4, [40, 2_500, 100_000])
    seats.learn(seats.take(300), 4, [2, 3_000, 300_000])
    assert health.learned(4) == {"limit": 42.0, "base": 0.0025, "rejected": 0.3}
    found = list(breakers(health, 4, {"max_requests": 1, "max_pending": 3, "max_endpoint_requests": 5}))
    assert [(one.limit, one.used, one.most, one.is_open) for one in found] == [
        ("max_requests", 1, 1, True), ("max_pending", 2, 3, False)]
    health.close()


def test_seats_cost_what_is_used_of_them():
    """The file is mostly holes; a seat that is taken anew gives its pages back."""
    health = HealthFile()
    seats = Seats(health.fd)
    before = os.fstat(health.fd).st_blocks
    one = seats.take(100)
    for row in range(0, 16_000, 64):
        seats.use(one, row, [1, 1, 1, 1])
    used = os.fstat(health.fd).st_blocks
    assert used - before >= 250 * 8
    seats.leave(one)
    assert seats.take(200) == one
    assert os.fstat(health.fd).st_blocks < used - 240 * 8
    health.close()
