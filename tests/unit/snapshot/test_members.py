"""Which endpoints an instance uses: in order of preference, and by lot."""

from collections import Counter

import pytest

from fastmesh.config.cluster import Cluster
from fastmesh.config.node import Node
from fastmesh.snapshot.members import members


def cluster(endpoints, **balancing) -> Cluster:
    return Cluster.model_validate({"name": "c", "endpoints": endpoints, "balancing": balancing})


def addresses(groups) -> list[list[str]]:
    return [[str(endpoint.address).removeprefix("127.0.0.1:") for endpoint in group] for group in groups]


def of(port: int, **more) -> dict:
    return {"address": f"127.0.0.1:{port}", **more}


def test_without_an_order_there_is_one_group():
    assert addresses(members(cluster([of(3), of(1), of(2)]), Node())) == [["3", "1", "2"]]
    assert members(cluster([]), Node()) == [[]]


def test_priorities_come_in_their_order():
    some = cluster([of(1, priority=5), of(2), of(3, priority=1), of(4, priority=5), of(5)])
    assert addresses(members(some, Node())) == [["2", "5"], ["3"], ["1", "4"]]


def test_the_own_zone_comes_first_within_a_priority():
    zones = [of(1, zone="b"), of(2, zone="a"), of(3), of(4, zone="a", priority=1), of(5, zone="b", priority=1)]
    assert addresses(members(cluster(zones, prefer_zone=True), Node(zone="a"))) == [["2"], ["1", "3"], ["4"], ["5"]]
    assert addresses(members(cluster(zones, prefer_zone=True), Node(zone="c"))) == [["1", "2", "3"], ["4", "5"]]
    assert addresses(members(cluster(zones), Node(zone="a"))) == [["1", "2", "3"], ["4", "5"]]


MANY = [of(port) for port in range(1, 1001)]


def test_a_subset_is_the_same_each_time_and_another_for_each_instance():
    chosen = [addresses(members(cluster(MANY, subset=20), Node(instance=f"i{n}")))[0] for n in range(3)]
    assert [len(set(ports)) for ports in chosen] == [20, 20, 20]
    assert chosen[0] == addresses(members(cluster(MANY, subset=20), Node(instance="i0")))[0]
    assert chosen[0] == addresses(members(cluster(MANY[::-1], subset=20), Node(instance="i0")))[0][::-1]
    assert len(set(chosen[0]) & set(chosen[1])) < 6


def test_without_a_name_the_machine_has_one(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "i0")
    assert members(cluster(MANY, subset=20), Node()) == members(cluster(MANY, subset=20), Node(instance="i0"))


def test_together_instances_use_all():
    counts = Counter(port for n in range(500) for port in
                     addresses(members(cluster(MANY[:100], subset=20), Node(instance=f"i{n}")))[0])
    # 100 each, as a draw of 20 of 100 has it: a deviation of 9.
    assert len(counts) == 100 and min(counts.values()) > 60 and max(counts.values()) < 140


@pytest.mark.parametrize("gone", [0, 499, 999])
def test_a_change_of_the_list_changes_one_place_at_most(gone):
    for n in range(10):
        before = set(addresses(members(cluster(MANY, subset=50), Node(instance=f"i{n}")))[0])
        rest = [endpoint for i, endpoint in enumerate(MANY) if i != gone]
        after = set(addresses(members(cluster(rest, subset=50), Node(instance=f"i{n}")))[0])
        assert len(before - after) <= 1 and before - after <= {str(gone + 1)}


def test_each_group_has_its_subset():
    groups = members(cluster([of(p, priority=p % 2) for p in range(1, 101)], subset=7), Node(instance="i"))
    assert [len(group) for group in groups] == [7, 7]


def test_a_subset_larger_than_the_group_is_all_of_it():
    assert addresses(members(cluster([of(2), of(1)], subset=2), Node())) == [["2", "1"]]
