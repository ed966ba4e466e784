"""The fixture of the playbook: a worker whose kernel and clock are the test."""

from collections.abc import Iterator

import pytest
from playbook.play import Play

FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def spare_descriptor() -> None:
    """The one that a process keeps from its first listener on, for the day when there are none."""
    Play("ready").start().abandon()


@pytest.fixture(params=["ready", "completion"])
def play(request: pytest.FixtureRequest, spare_descriptor: None) -> Iterator[Play]:
    """With the manners of each engine in turn. At the end everybody leaves, and nothing may be left of them."""
    made = Play(request.param)
    yield made
    if request.node.stash.get(FAILED, False):
        made.abandon()
    else:
        made.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report
