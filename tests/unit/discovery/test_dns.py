"""Endpoints by name: what the resolver says, and what stays when it says nothing."""

import asyncio
import socket

import pytest

from fastmesh.discovery.dns import Dns
from fastmesh.testing import take_sets


@pytest.fixture
def names(monkeypatch):
    """Names and their addresses, in place of the resolver."""
    known: dict[str, list[str] | Exception] = {}
    asked: list[tuple[str, int]] = []

    async def getaddrinfo(self, host, port, *, family=0, type=0, **more):
        asked.append((host, family))
        found = known[host]
        if isinstance(found, Exception):
            raise found
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, type, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    known["asked"] = asked
    return known


def test_all_addresses_of_all_hosts(names):
    names |= {"a.x": ["10.0.0.2", "10.0.0.1", "10.0.0.2"], "b.x": ["fd00::1", "fe80::1%eth0"]}
    assert take_sets(Dns(hosts=("a.x:80", "b.x:81"))) == [["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:81"]]


def test_changes_and_failures(names):
    names |= {"a.x": ["10.0.0.1"], "b.x": OSError("no such name")}
    log: list[str] = []
    steps = iter([{"a.x": OSError("no such name"), "b.x": ["10.0.0.2"]}, {"b.x": ["10.0.0.3"]}, {"a.x": ["10.0.0.4"]}])
    found = take_sets(Dns(hosts=("a.x:80", "b.x:80"), interval=0.1), 4, log=log,
                      between=lambda: names.update(next(steps)))
    assert found == [["10.0.0.1:80"], ["10.0.0.1:80", "10.0.0.2:80"], ["10.0.0.1:80", "10.0.0.3:80"],
                     ["10.0.0.3:80", "10.0.0.4:80"]]
    assert log == ["error: b.x cannot be resolved: no such name; it has none yet",
                   "error: a.x cannot be resolved: no such name; its addresses stay",
                   "info: b.x is resolved again: 10.0.0.2:80", "info: a.x is resolved again: 10.0.0.4:80"]


def test_nothing_is_yielded_before_a_name_was_resolved(names):
    names |= {"a.x": OSError("no such name")}
    with pytest.raises(TimeoutError):
        take_sets(Dns(hosts=("a.x:80",), interval=0.1), timeout=0.3)


def test_one_family(names):
    names |= {"a.x": ["fd00::1"]}
    take_sets(Dns(hosts=("a.x:80",), family="6"))
    assert names["asked"] == [("a.x", socket.AF_INET6)]


def test_a_name_that_every_machine_knows():
    assert "127.0.0.1:8080" in take_sets(Dns(hosts=("localhost:8080",), family="4"))[0]


@pytest.mark.parametrize(("settings", "said"), [
    ({"hosts": ()}, "hosts is empty"), ({"hosts": ("a.x",)}, "found 'a.x'; write a host and a port"),
    ({"hosts": ("a.x:0",)}, "found 'a.x:0'"), ({"hosts": (":80",)}, "found ':80'"),
    ({"hosts": ("a.x:80",), "interval": 0.01}, "100ms or more")])
def test_settings_that_cannot_be(settings, said):
    with pytest.raises(ValueError, match=said):
        take_sets(Dns(**settings))
