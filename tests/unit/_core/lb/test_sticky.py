"""Names of endpoints that can be brought back and not made up."""

import pytest

from probes.wire import cluster, decoded, endpoint, endpoints, snapshot


def sticky(members, secret: bytes = b"s" * 16, name: str = "c"):
    return decoded(snapshot(clusters=[cluster(members, name=name, balancing=[
        None, None, None, 0, None, [1, "home", 0, "/", secret]])]), rows=max(1, len(members)))


def names(members, **more) -> list[bytes]:
    with sticky(members, **more) as s:
        return [s.name_of(i) for i in range(len(members))]


@pytest.mark.parametrize("count", [1, 2, 3, 17, 10_000])
def test_a_name_leads_back(count):
    with sticky(endpoints(count)) as s:
        given = [s.name_of(i) for i in range(count)]
        assert len(set(given)) == count
        assert [s.named(name) for name in given] == list(range(count))


def test_a_name_follows_from_secret_cluster_and_address_alone():
    members = endpoints(5)
    given = names(members)
    assert names(members[::-1]) == given[::-1]
    assert not set(given) & set(names(members, secret=b"t" * 16))
    assert not set(given) & set(names(members, name="d"))
    # One byte more in the cluster's name is not one less in the address.
    assert names([endpoint(0, 0, b"/x", family=1)], name="c") != names([endpoint(0, 0, b"x", family=1)], name="c/")


def test_kinds_of_addresses():
    members = [endpoint(0, 80), endpoint(1, 81), endpoint(2, 80, bytes(15) + b"\1", family=6),
               endpoint(3, 0, b"/" + b"x" * 106, family=1)]
    with sticky(members, name="n" * 128) as s:
        assert [s.named(s.name_of(i)) for i in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", [b"", b"0", b"0" * 31, b"0" * 32, b"0" * 33, b"F" * 32, b"g" * 32, b"\xff" * 32,
                                  b"f" * 32])
def test_what_is_no_name_leads_nowhere(name):
    with sticky(endpoints(3)) as s:
        assert s.named(name) is None


def test_a_changed_name_leads_nowhere():
    with sticky(endpoints(3)) as s:
        name = s.name_of(1)
        for i in range(32):
            other = b"0" if name[i:i + 1] != b"0" else b"1"
            assert s.named(name[:i] + other + name[i + 1:]) is None


def test_a_cluster_without_endpoints_has_no_names():
    with sticky([]) as s:
        assert s.named(b"0" * 32) is None
