"""The waits between a worker's death and its successor."""

from fastmesh.control.backoff import LONGEST, WELL_AFTER, Backoff


def test_the_first_death_costs_no_wait_and_the_next_ones_more_and_more() -> None:
    waits = Backoff()
    assert [waits.next_wait(1) for _ in range(12)] == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]


def test_it_never_grows_beyond_its_limit() -> None:
    waits = Backoff()
    assert max(waits.next_wait(0) for _ in range(10_000)) == LONGEST


def test_a_worker_that_lived_long_enough_was_well() -> None:
    waits = Backoff()
    for _ in range(5):
        waits.next_wait(1)
    assert waits.next_wait(WELL_AFTER) == 0
    assert waits.next_wait(1) == 0.1
