"""For all tests: what is generated is not timed (how long an example takes says how busy the machine is), and what is
left to `make test-long` is not run."""

import gc

import pytest
from effort import is_left_to_the_long_run
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if len({item.path for item in items}) == 1:
        return      # who asks for one file gets all of it
    left = [item for item in items if is_left_to_the_long_run(item.nodeid)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not is_left_to_the_long_run(item.nodeid)]


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end. Without this each collection of garbage, and there are tests
    that ask for one to see that nothing is left, looks through thousands of tests that wait for their turn."""
    gc.collect()
    gc.freeze()
