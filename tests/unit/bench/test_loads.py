"""What the load programs compute: percentiles, frames, and the configuration each proxy gets."""

from pathlib import Path

import pytest

from bench.load import h2load
from bench.load.echo import accepted, frame, unframed
from bench.load.percentiles import curve, percentile
from bench.peers import PEERS, Service, Work
from bench.scenarios import SCENARIOS, Options


@pytest.mark.parametrize(("share", "found"), [(0, 1), (50, 50), (99, 99), (99.9, 100), (100, 100)])
def test_a_percentile_is_the_least_value_that_covers_its_share(share: float, found: int) -> None:
    assert percentile(range(1, 101), share) == found


def test_a_percentile_of_nothing_is_zero() -> None:
    assert percentile([], 99) == 0


def test_a_curve_ends_where_the_values_no_longer_carry_it() -> None:
    few, many = curve(range(1, 1001)), curve(range(1, 1_000_001))
    assert "p99" in few and "p99.9" in few and "p99.99" not in few
    assert many["p99.99"] == 999_900
    assert list(many.values()) == sorted(many.values())


def test_the_answer_to_a_websocket_key_is_that_of_the_rfc() -> None:
    assert accepted(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536])
@pytest.mark.parametrize("masked", [False, True])
def test_a_frame_comes_out_as_it_went_in(length: int, masked: bool) -> None:
    payload = b"x" * length
    packed = frame(payload, masked)
    assert unframed(packed + b"next") == (payload, len(packed))
    assert all(unframed(packed[:cut]) == (b"", 0) for cut in {0, 1, len(packed) - 1})


def test_a_mask_is_taken_off() -> None:
    # RFC 6455, section 5.7.
    assert unframed(bytes.fromhex("818537fa213d7f9f4d5158")) == (b"Hello", 11)


@pytest.mark.parametrize("peer", [one for one in PEERS if not one.floor and not one.guest], ids=lambda one: one.name)
def test_what_a_scenario_asks_for_is_in_the_configuration(peer, tmp_path: Path) -> None:
    def written(**more: object) -> str:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        peer.command(Service("http", **{"origins": (21001,), **more}), 20123, folder)
        return "".join(path.read_text() for path in sorted(folder.iterdir())).replace(str(folder), "FOLDER")

    plain = written()
    assert "20123" in plain and "21001" in plain and "kind-0" not in plain and "generation" not in plain
    assert all(f"/kind-{k}/" in written(routes=4) for k in range(3))
    many = written(clusters=3)
    assert "service-2.test" in many and "app-2" in many
    assert all(str(port) in written(origins=(21001, 21002, 21003)) for port in (21001, 21002, 21003))
    assert "/generation-7" in written(generation=7)
    assert written(access_log=True) != plain


@pytest.mark.parametrize("peer", [one for one in PEERS if one.works], ids=lambda one: one.name)
def test_filters_are_in_the_configuration_in_their_order(peer, tmp_path: Path) -> None:
    def written(*filters: Work) -> str:
        folder = tmp_path / "-".join(("with", *filters))
        folder.mkdir()
        command = peer.command(Service("http", origins=(21001,), filters=filters), 20123, folder)
        return "".join([*(path.read_text() for path in sorted(folder.iterdir())), *command])

    assert "x-mark" not in written() and ":Answer" not in written("mark")
    three = written("mark", "mark", "mark")
    at = [three.index(f"x-mark-{number}") for number in (1, 2, 3)]
    assert at == sorted(at) and "x-mark-4" not in three
    texts = {work: written(work) for work in sorted(peer.works - {"mark"})}
    assert len(set(texts.values())) == len(texts)


def test_scenarios_have_names_of_their_own_and_points_with_labels() -> None:
    names = [one.name for one in SCENARIOS]
    assert len(set(names)) == len(names)
    for quick in (False, True):
        options = Options(quick=quick)
        for one in SCENARIOS:
            labels = [one.label(point) for point in one.points(options)]
            assert labels and len(set(labels)) == len(labels)
            assert len(labels) == 1 or all(labels)
            assert one.sample_seconds(options) > 0


PRINTED = """
finished in 1.00s, 96521.00 req/s, 13.70MB/s
requests: 96521 total, 96525 started, 96521 done, 96519 succeeded, 2 failed, 3 errored, 4 timeout
status codes: 96500 2xx, 0 3xx, 0 4xx, 21 5xx
"""


def test_what_h2load_printed_is_read_with_all_that_went_wrong() -> None:
    assert h2load.read(PRINTED) == h2load.Load(requests=96521, rps=96521.0, failed=2 + 3 + 4 + 21)


def test_h2load_without_a_result_is_an_error() -> None:
    with pytest.raises(ValueError, match="no result"):
        h2load.read("spawning thread #0")
