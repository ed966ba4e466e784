"""What a policy yields, without a proxy."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from fastmesh import Discovery, Duration, Endpoints, Secret
from fastmesh.filters.endpoint_set import WrongSet
from fastmesh.testing import take_sets


class Counts(Discovery):
    first: int
    pause: Duration = 0.0
    key: Secret = "s3cret"
    closed = SimpleNamespace(times=0)

    def start(self) -> None:
        if self.first < 0:
            raise ValueError("first is 0 or more")

    async def endpoints(self) -> AsyncIterator[Endpoints]:
        try:
            for n in range(self.first, self.first + 3):
                self.log.info("%s with %s", n, self.key)
                yield [(f"10.0.0.{n}:80", n + 1), f"10.0.1.{n}:80"]
                await asyncio.sleep(self.pause)
        finally:
            self.closed.times += 1


def test_sets_one_after_the_other():
    log: list[str] = []
    calls: list[int] = []
    before = Counts.closed.times
    assert take_sets(Counts(first=0), 2, between=lambda: calls.append(1), log=log) == [
        ["10.0.0.0:80", "10.0.1.0:80"], ["10.0.0.1:80 weight 2", "10.0.1.1:80"]]
    assert calls == [1] and log == ["info: 0 with (secret)", "info: 1 with (secret)"]
    assert Counts.closed.times == before + 1


def test_what_does_not_come():
    with pytest.raises(EOFError, match=r"Counts\.endpoints has ended after 3 sets of 4"):
        take_sets(Counts(first=0), 4)
    with pytest.raises(TimeoutError):
        take_sets(Counts(first=0, pause=60.0), 2, timeout=0.05)


def test_what_a_proxy_would_refuse():
    with pytest.raises(ValueError, match="first is 0 or more"):
        take_sets(Counts(first=-1))
    with pytest.raises(TypeError, match="the setting 'first' of Counts is missing"):
        take_sets(Counts)
    with pytest.raises(TypeError, match="Counts has no setting 'frist': it has first, pause, key; write first"):
        Counts(frist=1)
    with pytest.raises(WrongSet, match=r"endpoint 1 of 2: found '10\.0\.0\.999:80'"):
        take_sets(Counts(first=999))

    class Nothing(Discovery):
        pass

    with pytest.raises(TypeError, match="Nothing has no method endpoints; write async def endpoints"):
        take_sets(Nothing)


def test_what_a_policy_raises_is_raised():
    class Raises(Discovery):
        async def endpoints(self) -> AsyncIterator[Endpoints]:
            raise LookupError("no registry")
            yield []

    with pytest.raises(LookupError, match="no registry"):
        take_sets(Raises)


def test_a_policy_has_metrics_and_no_mesh():
    class Counts(Discovery):
        def start(self) -> None:
            self.asked = self.metrics.counter("asked")

        async def endpoints(self) -> AsyncIterator[Endpoints]:
            self.asked.inc()
            yield [{"address": "10.0.0.1:80", "weight": 2, "metadata": {"b": "2", "a": "1"}}]
            await self.mesh.get("app", "/")

    policy = Counts()
    assert take_sets(policy) == [["10.0.0.1:80 weight 2 a=1 b=2"]]
    assert policy.asked.name == "fastmesh_filter_discovery_cluster_asked_total"
    with pytest.raises(AttributeError, match=r"a discovery policy has no self\.mesh: it runs before there is a worker"):
        take_sets(Counts(), 2)
