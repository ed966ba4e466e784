"""Keys that clients choose so that they fall on each other: what is looked at for one key is counted, and is no more
than for keys that nobody has chosen."""

import random
from collections.abc import Iterator

import pytest

from fastmesh._core.mem import shared
from probes.flood_probe import Copies, colliding, host_steps
from probes.limit_probe import Limits
from probes.snapshot_probe import Snapshot
from probes.wire import cluster, endpoints, limit, listener, pack, registry, route, snapshot

KEYS = 2_048
BITS = 12           # of a hash without a seed: all of them would be one chain


@pytest.fixture(autouse=True)
def own_memory() -> Iterator[None]:
    shared.detach()
    yield
    shared.detach()


@pytest.fixture(scope="module")
def chosen() -> list[bytes]:
    return list(colliding(KEYS, BITS))


def drawn(count: int) -> list[bytes]:
    chance = random.Random(7)
    return [b"k%x" % chance.getrandbits(64) for _ in range(count)]


def longest_of_limits(keys: list[bytes]) -> int:
    made = Limits(pack(snapshot([listener()], limits=[limit(keys=KEYS, key=["header x-tenant"])])), shared.segment())
    for key in keys:
        made.request(b"GET / HTTP/1.1\r\nhost: x\r\nx-tenant: " + key + b"\r\n\r\n")
        made.ask()
    count, longest = made.chains()
    assert count == KEYS
    made.close()
    return int(longest)


def longest_of_copies(keys: list[bytes], seed: int = 5) -> int:
    made = Copies(seed, KEYS)
    for key in keys:
        made.keep(key)
    assert all(map(made.has, keys))
    count, longest = made.chains()
    assert count == KEYS
    return int(longest)


def test_they_would_be_one_chain(chosen: list[bytes]) -> None:
    """What the rest is to be compared with: in the index of hosts, which has no seed, they are one."""
    hosts = [route(hosts=[key.decode()], status=200) for key in chosen[:256]]
    steps = host_steps(pack(snapshot([listener(hosts)])), chosen[:256])
    assert max(steps) >= 200 and len(set(chosen)) == KEYS


def test_keys_of_rate_limits(chosen: list[bytes]) -> None:
    assert longest_of_limits(chosen) <= longest_of_limits(drawn(KEYS)) + 6 <= 20


def test_copies_of_answers(chosen: list[bytes]) -> None:
    assert longest_of_copies(chosen) <= longest_of_copies(drawn(KEYS)) + 6 <= 20
    # Which keys fall on each other is another matter in each worker.
    assert {longest_of_copies(chosen, seed) for seed in range(1, 6)} <= set(range(20))


def test_hosts_that_are_asked_for(chosen: list[bytes]) -> None:
    """What is in the index is the operator's; a client only chooses what is looked for, and nothing is ever added."""
    hosts = [f"shop-{i}.example.com" for i in range(1_000)]
    packed = pack(snapshot([listener([route(hosts=[host], status=200) for host in hosts])]))
    assert max(host_steps(packed, [host.encode() for host in hosts])) <= 32
    assert max(host_steps(packed, drawn(KEYS))) <= 32
    # They all begin at the same place: what they find there is the operator's, and they leave nothing.
    steps = host_steps(packed, chosen)
    assert len(set(steps)) == 1 and max(steps) <= 32 and host_steps(packed, chosen) == steps


def test_names_of_sessions() -> None:
    """A name is a keyed hash of the endpoint: a client can ask for any, and add none."""
    members = endpoints(1_000)
    balancing = [None, None, None, 0, None, [1, "seat", 0, "/", bytes(range(16))]]
    with registry(1_000) as r:
        s = Snapshot(pack(snapshot(clusters=[cluster(members, balancing=balancing)])), r)
        size = 2_048        # the power of two that is at least twice as many
        taken = sorted(int(s.name_of(i)[:16], 16) % size for i in range(1_000))
        s.close()
    # Runs of places that are taken, as they are filled one behind the other: what one look costs at the most.
    run = longest = 0
    places = [0] * size
    for place in taken:
        while places[place]:
            place = (place + 1) % size
        places[place] = 1
    for place in range(2 * size):
        run = run + 1 if places[place % size] else 0
        longest = max(longest, run)
    assert longest <= 64
