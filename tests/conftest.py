"""For all tests: what is generated is not timed (how long an example takes says how busy the machine is), and what is
left to `make test-long` is not run."""

import gc
from pathlib import Path

import pytest
from effort import is_left_to_the_long_run
from hypothesis import settings

WAITING = ("integration", "adversity")

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if len({item.path for item in items}) == 1:
        return      # who asks for one file gets all of it
    left = [item for item in items if is_left_to_the_long_run(item.nodeid)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not is_left_to_the_long_run(item.nodeid)]
    items[:] = mixed(items)


def mixed(items: list[pytest.Item]) -> list[pytest.Item]:
    """Files of tests that wait for processes and sockets between those that keep the processor busy, so that those that
    run at the same time are of both kinds. Within a file the order stays."""
    files: dict[bool, dict[Path, list[pytest.Item]]] = {True: {}, False: {}}
    for item in items:
        waits = any(part in WAITING for part in item.path.parts)
        files[waits].setdefault(item.path, []).append(item)
    placed = []
    for those in files.values():
        whole, before = sum(map(len, those.values())), 0
        for path, of_file in those.items():
            placed.append((before / whole, path, of_file))
            before += len(of_file)
    return [item for _, _, of_file in sorted(placed, key=lambda each: each[:2]) for item in of_file]


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end. Without this each collection of garbage, and there are tests
    that ask for one to see that nothing is left, looks through thousands of tests that wait for their turn."""
    gc.collect()
    gc.freeze()
