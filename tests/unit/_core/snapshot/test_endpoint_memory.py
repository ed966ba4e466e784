"""What an endpoint costs before a worker has used it: a hundred thousand of them are mostly never asked."""

import pytest

from probes.snapshot_probe import Registry, Snapshot, sizes, take_last_seen
from probes.wire import SECOND, cluster, decoded, endpoint, endpoints, pack, registry, snapshot

# Row of an endpoint, and one on a page of its own: 32 rows of 128 bytes are on one.
FAR = 64


def test_an_endpoint_is_a_cache_line_and_what_finds_it():
    in_snapshot, in_registry, place, used = sizes()
    assert in_registry == 64
    assert in_snapshot == 32
    assert place == 8
    assert used <= 128


def test_a_block_comes_with_the_first_use_and_stays_over_a_reload():
    with registry() as r:
        value = pack(snapshot(clusters=[cluster(endpoints(3))]))
        old = Snapshot(value, r)
        assert [old.live_of(i)["is_used"] for i in range(3)] == [False] * 3
        old.connect_ok(0)
        assert not old.live_of(0)["is_used"]      # there was nothing to forget
        old.connect_failed(1, SECOND)
        new = Snapshot(value, r)
        old.close()
        assert [new.live_of(i)["is_used"] for i in range(3)] == [False, True, False]
        assert new.live_of(1)["failures"] == 1
        new.close()
        take_last_seen()


def test_a_pick_does_not_use_an_endpoint():
    with decoded(snapshot(clusters=[cluster(endpoints(8))])) as s:
        for _ in range(32):
            s.pick()
        assert not any(s.live_of(i)["is_used"] for i in range(8))


@pytest.mark.parametrize(("ip", "port", "family", "text"), [
    (b"\x0a\0\0\x01", 80, 4, "10.0.0.1:80"),
    (bytes(15) + b"\x01", 443, 6, "[::1]:443"),
    (b"/x", 0, 1, "unix:/x"),
    (b"/1234567", 0, 1, "unix:/1234567"),
    (b"/12345678", 0, 1, "unix:/12345678"),
    (b"/" + b"p" * 106, 0, 1, "unix:/" + "p" * 106),
    (b"\0abstract-name", 0, 1, "unix:@abstract-name"),
])
def test_addresses_of_any_length_are_found_again(ip, port, family, text):
    with registry() as r:
        value = pack(snapshot(clusters=[cluster([endpoint(0, port, ip, family=family)])]))
        old = Snapshot(value, r)
        at = old.live_of(0)["at"]
        new = Snapshot(value, r)
        old.close()
        assert new.live_of(0)["at"] == at
        assert new.dump()["clusters"][0]["endpoints"][0][1] == text.encode()
        new.close()
        assert take_last_seen() == [("c", text)]
        assert r.counts() == (0, 0)


def test_unix_paths_that_differ_in_one_byte_are_two():
    with registry() as r:
        paths = (b"/" + b"p" * 50 + b"1", b"/" + b"p" * 50 + b"2")
        s = Snapshot(pack(snapshot(clusters=[cluster([endpoint(i, 0, paths[i], family=1) for i in range(2)])])), r)
        assert r.counts() == (1, 2)
        s.close()
        take_last_seen()


def sparse(*rows):
    r = Registry(1024, is_sparse=True)
    return r, Snapshot(pack(snapshot(clusters=[cluster([endpoint(row, 80 + row) for row in rows])])), r)


def test_counters_that_nobody_has_used_take_no_memory():
    r, s = sparse(0, FAR, 2 * FAR)
    assert not any(r.is_there(row) for row in (0, FAR, 2 * FAR))
    s.connect_failed(1, SECOND)
    assert [r.is_there(row) for row in (0, FAR, 2 * FAR)] == [False, True, False]
    again = Snapshot(pack(snapshot(clusters=[cluster([endpoint(row, 80 + row) for row in (0, FAR, 2 * FAR)])])), r)
    assert [r.is_there(row) for row in (0, FAR, 2 * FAR)] == [False, True, False]
    assert again.row(FAR)["connect_failures"] == 1
    again.close()
    s.close()
    r.close()
    take_last_seen()


def test_a_row_that_was_used_is_told_of_its_new_owner():
    r, s = sparse(FAR)
    s.weigh([1])
    assert r.row(FAR)["weight_given"] == 1_000_001
    again = Snapshot(pack(snapshot(clusters=[cluster([endpoint(FAR, 99)])])), r)
    assert r.row(FAR)["weight_given"] == 0
    # It is new in a cluster that is known.
    assert r.row(FAR)["warm_since_ns"] == 1
    again.close()
    s.close()
    r.close()
    take_last_seen()


def test_texts_are_copied_and_the_bytes_that_were_read_are_not_kept():
    value = bytearray(pack(snapshot(clusters=[cluster(endpoints(3), name="some-name")])))
    with registry() as r:
        s = Snapshot(bytes(value), r)
        found = s.dump()["clusters"][0]
        assert found["name"] == b"some-name"
        assert [e[3] for e in found["endpoints"]] == [b"e0", b"e1", b"e2"]
        s.close()
        take_last_seen()
