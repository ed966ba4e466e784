"""What outlives a snapshot: found again by cluster name and address, gone with the last reference."""

import random

import pytest

from probes.snapshot_probe import Snapshot, take_last_seen
from probes.wire import cluster, endpoint, endpoints, pack, registry, snapshot


def load(r, *clusters):
    return Snapshot(pack(snapshot(clusters=clusters)), r)


def test_state_is_carried_over_by_cluster_name_and_address():
    with registry() as r:
        old = load(r, cluster([endpoint(0, 80), endpoint(1, 81)], name="a"), cluster([endpoint(2, 80)], 1, "b"))
        old.set_active(1, 5)
        old.connect_failed(1, 100)
        # Other order, other rows and weights, other cluster index and id; one endpoint more.
        new = load(r, cluster([endpoint(2, 80)], 5, "b"), cluster([endpoint(9, 82), endpoint(8, 81, weight=3)], 6, "a"))
        kept = new.live_of(1, cluster=1)
        assert (kept["active"], kept["failures"], kept["refs"]) == (5, 1, 2)
        assert kept["at"] == old.live_of(1)["at"]
        assert kept["row"] == 8
        assert old.live_of(0, cluster=1)["at"] == new.live_of(0, cluster=0)["at"] != old.live_of(0)["at"]
        assert [c["live_id"] for c in old.dump()["clusters"]] == [6, 5]
        assert r.counts() == (2, 4)
        old.close()
        assert r.counts() == (2, 3)
        assert take_last_seen() == [("a", "127.0.0.1:80")]
        assert new.live_of(1, cluster=1)["refs"] == 1
        new.close()


def test_a_refused_snapshot_changes_nothing():
    with registry() as r:
        old = load(r, cluster([endpoint(3, 80)]))
        with pytest.raises(ValueError, match="weight"):
            load(r, cluster([endpoint(4, 80), endpoint(5, 81), endpoint(6, 82, weight=0)], 9))
        assert old.live_of(0)["row"] == 3
        assert old.live_of(0)["refs"] == 1
        assert old.dump()["clusters"][0]["live_id"] == 0
        assert r.counts() == (1, 1)
        # The endpoint that was new in it is gone again, and the pool was told.
        assert take_last_seen() == [("c", "127.0.0.1:81")]
        old.close()


def test_streams_hold_their_snapshot():
    with registry() as r:
        s = load(r, cluster([endpoint(0)]))
        s.hold()
        s.hold()
        s.release()
        assert s.dump()["refs"] == 2
        s.release()
        assert r.counts() == (1, 1)
        s.close()
        assert take_last_seen() == [("c", "127.0.0.1:80")]


def test_the_same_address_in_two_clusters_is_two_endpoints():
    with registry() as r:
        s = load(r, cluster([endpoint(0)], 0, "a"), cluster([endpoint(1)], 1, "b"))
        assert s.live_of(0, cluster=0)["at"] != s.live_of(0, cluster=1)["at"]
        s.close()
        assert sorted(take_last_seen()) == [("a", "127.0.0.1:80"), ("b", "127.0.0.1:80")]


def test_families_and_ports_tell_endpoints_apart():
    with registry() as r:
        s = load(r, cluster([endpoint(0, 80, b"/tmp"), endpoint(1, 0, b"/tmp", family=1), endpoint(2, 81, b"/tmp"),
                             endpoint(3, 80, b"/tmp" + bytes(12), family=6)]))
        assert r.counts() == (1, 4)
        s.close()


def test_many_reloads_against_a_model():
    """Random sets of endpoints come and go while several snapshots overlap."""
    rng = random.Random(3)
    everything = endpoints(300)
    held = []
    with registry(300) as r:
        for _ in range(300):
            chosen = [[i for i in range(300) if rng.random() < share] for share in (0.1, 0.5, 0.9)]
            held.append((chosen, load(r, *(cluster([everything[i] for i in some], k, f"c{k}")
                                           for k, some in enumerate(chosen)))))
            while len(held) > rng.randrange(1, 5):
                held.pop(rng.randrange(len(held)))[1].close()
            expected = {(k, i) for chosen, _ in held for k, some in enumerate(chosen) for i in some}
            assert r.counts() == (3 if held else 0, len(expected))
            if held:
                chosen, s = rng.choice(held)
                k = rng.randrange(3)
                for at, i in enumerate(chosen[k]):
                    refs = sum(i in other[k] for other, _ in held)
                    assert s.live_of(at, cluster=k)["refs"] == refs
        for _, s in held:
            s.close()
