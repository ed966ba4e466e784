"""What pytest finds by itself where fastmesh is installed: the fixtures `filter_kit` and `filter_proxy`::

    def test_without_sockets(filter_kit):
        kit = filter_kit(RequireTenant(header="x-team"))
        assert kit.get("/").status == 400

    def test_for_real(filter_proxy):
        proxy = filter_proxy("my_package.tenants:RequireTenant", header="x-team")
        assert proxy.get("/", headers={"x-team": "blue"}).status == 200

Their types are `type[Kit]` and `type[Proxy]`. Leave the plugin out with `-p no:fastmesh`.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    # Not when pytest starts: most runs use neither.
    from fastmesh.testing.kit import Kit
    from fastmesh.testing.proxy import Proxy

_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes whether a test has failed: then nobody asks what it has left."""
    report = yield
    if report.when == "call":
        item.stash[_failed] = report.failed
    return report


@pytest.fixture
def filter_kit(request: pytest.FixtureRequest) -> Iterator[type[Kit]]:
    """`fastmesh.testing.Kit`, whose instances are closed at the end of the test.

    Then it is an error when a coroutine of a filter, a connection, or a request or answer that a filter has kept is
    left.
    """
    from fastmesh._core.play.stage import left
    from fastmesh.testing.kit import Kit, Leftover

    made: list[Kit] = []

    class KeptKit(Kit):
        __doc__ = Kit.__doc__

        def __init__(self, *filters: Any, **settings: Any) -> None:
            super().__init__(*filters, **settings)
            made.append(self)

    before = left()
    yield KeptKit
    if request.node.stash.get(_failed, False):
        for kit in made:
            kit.abandon()
        return
    errors = []
    for kit in made:
        try:
            kit.close()
        except Leftover as error:
            errors.append(error)
    made.clear()
    if errors:
        raise errors[0]
    if left() != before:
        gc.collect()
    more = {what: n - before[what] for what, n in left().items() if n > before[what]}
    if more:
        raise Leftover("at the end of the test there are "
                       + " and ".join(f"{n} {what}" for what, n in more.items())
                       + ": something has kept requests, answers or their headers; keep what is needed of them (str "
                         "values, headers.copy())")


@pytest.fixture
def filter_proxy() -> Iterator[type[Proxy]]:
    """`fastmesh.testing.proxy.Proxy`, whose instances are closed at the end of the test: real proxies with one worker
    and an origin each."""
    from fastmesh.testing.proxy import Proxy

    made: list[Proxy] = []

    class KeptProxy(Proxy):
        __doc__ = Proxy.__doc__

        def __init__(self, use: Any, **beside: Any) -> None:
            super().__init__(use, **beside)
            made.append(self)

    yield KeptProxy
    errors = []
    for proxy in made:
        try:
            proxy.close()
        except RuntimeError as error:
            errors.append(error)
    if errors:
        raise errors[0]
