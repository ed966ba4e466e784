"""Other endpoints in a compiled snapshot: everything else stays, and what stays keeps its number."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from effort import tries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastmesh.control.compile_process import _registry
from fastmesh.filters.endpoint_set import pack_set, read_set, read_told
from fastmesh.snapshot import revise as module
from fastmesh.snapshot.endpoint import described
from fastmesh.snapshot.process import answer
from fastmesh.snapshot.registry import pack_reserve, unpack_reserve
from fastmesh.snapshot.revise import endpoints_of, exchange_all, revise, splice
from fastmesh.snapshot.wire import CLUSTER_ENDPOINTS, CLUSTERS

CONFIG = """\
listeners:
  - {name: web, address: "127.0.0.1:8080", routes: [{match: {prefix: /}, cluster: app}]}
clusters:
  - {name: still, endpoints: ["127.0.0.1:1", {address: "unix:/run/x", weight: 2}]}
  - {name: app, endpoints: {use: file, path: /run/app}}
  - {name: api, endpoints: {use: file, path: /run/api, allow_empty: true}}
"""


class Live:
    """A snapshot as control keeps it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.fd = -1
        self.size = 0
        self.is_spliced = False
        self.take(self.compile())

    def compile(self) -> dict[str, Any]:
        request: dict[str, Any] = {"file": str(self.file), "version": 1, "env": {}}
        if self.fd >= 0:
            request |= {"former": (self.fd, self.size), "registry": msgpack.packb(self.registry),
                        "reserve": self.reserve}
            request["registry"] = _registry(request)
        found = answer(request)
        assert found["ok"], found["text"]
        rows = found["registry"].pop("endpoints")
        return {**found, "reserve": (pack_reserve(rows["gone"]), rows["next"])}

    def take(self, found: dict[str, Any]) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = os.memfd_create("snapshot")
        self.size = os.write(self.fd, found["snapshot"])
        self.snapshot, self.reserve = found["snapshot"], found["reserve"]
        self.registry = found.get("registry") or self.registry

    def revise(self, **sets: list[Any] | bytes) -> dict[str, Any]:
        request = {
            "version": 9, "snapshot": (self.fd, self.size), "reserve": self.reserve,
            "sets": {name: (one if isinstance(one, bytes) else msgpack.packb(one), name == "api")
                     for name, one in sets.items()}}
        found = revise(request)
        spliced = splice(self.snapshot, request)
        self.is_spliced = spliced is not None
        if spliced is not None:     # the two ways lead to the same
            assert spliced == found == exchange_all(self.snapshot, request)
        if found["changed"]:
            self.take(found)
        return found

    @property
    def clusters(self) -> list[dict[str, Any]]:
        return [{"endpoints": [described(row[0], row[1:]) for row in cluster[CLUSTER_ENDPOINTS]]}
                for cluster in msgpack.unpackb(self.snapshot)[CLUSTERS]]

    def rows(self, cluster: int) -> dict[str, int]:
        return {row[5]: row[0] for row in msgpack.unpackb(self.snapshot)[CLUSTERS][cluster][CLUSTER_ENDPOINTS]}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    (tmp_path / "mesh.yaml").write_text(CONFIG)
    made = Live(tmp_path / "mesh.yaml")
    yield made
    os.close(made.fd)


def test_only_what_was_found_changes(live):
    before = msgpack.unpackb(live.snapshot)
    found = live.revise(app=[["10.0.0.2:80", 1], ["10.0.0.1:80", 3]])
    assert found["changed"] == {"app": [2, 2, 0]} and found["refused"] == {} and found["version"] == 9
    after = msgpack.unpackb(live.snapshot)
    assert after[2] == 9 and after[CLUSTERS][1][CLUSTER_ENDPOINTS] == [
        [2, 4, 80, bytes([10, 0, 0, 1]), 3, "10.0.0.1:80", None],
        [3, 4, 80, bytes([10, 0, 0, 2]), 1, "10.0.0.2:80", None]]
    after[2], after[CLUSTERS][1][CLUSTER_ENDPOINTS] = before[2], []
    assert after == before
    assert live.clusters[1]["endpoints"] == [{"row": 2, "address": "10.0.0.1:80", "weight": 3},
                                             {"row": 3, "address": "10.0.0.2:80", "weight": 1}]


def test_what_stays_keeps_its_number_and_what_comes_back_too(live):
    live.revise(app=[["10.0.0.1:80", 1], ["10.0.0.2:80", 1]])
    assert live.revise(app=[["10.0.0.2:80", 1], ["10.0.0.3:80", 1]])["changed"] == {"app": [2, 1, 1]}
    assert live.rows(1) == {"10.0.0.2:80": 3, "10.0.0.3:80": 4}
    live.revise(app=[["10.0.0.1:80", 1], ["10.0.0.3:80", 1]], api=[["10.0.0.1:80", 1]])
    assert live.rows(1) == {"10.0.0.1:80": 2, "10.0.0.3:80": 4} and live.rows(2) == {"10.0.0.1:80": 5}
    assert live.rows(0) == {"127.0.0.1:1": 0, "unix:/run/x": 1}


def test_the_same_again_changes_nothing(live):
    live.revise(app=[["10.0.0.1:80", 1], ["unix:/run/a", 2]])
    found = live.revise(app=[["unix:/run/a", 2], ["10.0.0.1:80", 1]])
    assert found["changed"] == {} and found["snapshot"] == b""
    assert live.revise(app=[["unix:/run/a", 1], ["10.0.0.1:80", 1]])["changed"] == {"app": [2, 0, 0]}


def test_a_set_that_cannot_be_used_does_not_hold_up_the_others(live):
    live.revise(app=[["10.0.0.1:80", 1]], api=[["10.0.0.9:80", 1]])
    found = live.revise(app=[["10.0.0.1:80", 0]], api=[])
    assert found["changed"] == {"api": [0, 0, 1]} and live.rows(1) == {"10.0.0.1:80": 2} and live.rows(2) == {}
    kind, text = found["refused"]["app"]
    assert kind == "refused" and "endpoint 1 of 1: found the weight 0" in text
    assert live.revise(app=[])["refused"]["app"][0] == "empty"
    for nonsense in (b"", b"\xc1", b"\x91", msgpack.packb({"a": 1}), msgpack.packb(7)):
        assert live.revise(app=nonsense)["refused"]["app"][0] == "refused"
    assert live.rows(1) == {"10.0.0.1:80": 2}


ADDRESSES = st.sampled_from(["10.0.0.1:80", "10.0.0.2:80", "[::1]:80", "unix:/a", "unix:/a/b"])
WORDS = st.sampled_from([(), (("a", "b"),), (("a", ""), ("c", "d"))])
SETS = st.dictionaries(ADDRESSES, st.tuples(st.integers(1, 2), WORDS), max_size=4)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SETS, max_size=5))
def test_what_is_live_is_the_last_set_whatever_came_before(live, sets):
    numbers: dict[str, int] = {}
    for said in sets:
        members = read_set([{"address": address, "weight": weight, "metadata": dict(words)}
                            for address, (weight, words) in said.items()])
        live.revise(api=pack_set(members))
        assert live.clusters[2]["endpoints"] == [
            {"row": live.rows(2)[str(member.address)], "address": str(member.address), "weight": member.weight,
             **({"priority": 0, "zone": "", "metadata": dict(member.metadata)} if member.metadata else {})}
            for member in members]
        for address, row in live.rows(2).items():
            assert numbers.setdefault(address, row) == row
        assert len(set(numbers.values())) == len(numbers)


def test_what_is_live_is_not_read_again_and_what_is_new_is(live, monkeypatch):
    live.revise(app=[["10.0.0.1:80", 1], ["10.0.0.2:80", 1], ["10.0.0.3:80", 1, ["a", "b"]]])
    read: list[Any] = []

    def counted(rows: Any) -> Any:
        read.extend(rows)
        return read_told(rows)

    monkeypatch.setattr(module, "read_told", counted)
    live.revise(app=[["10.0.0.2:80", 1], ["10.0.0.3:80", 1, ["a", "b"]], ["unix:/4", 2]])
    assert read == [("unix:/4", 2)] and list(live.rows(1)) == ["unix:/4", "10.0.0.2:80", "10.0.0.3:80"]


@pytest.mark.parametrize(("said", "why"), [
    ([["10.0.0.1:80", 1], ["10.0.0.1:80", 1]], "endpoint 2 of 2: 10.0.0.1:80 is there twice"),
    ([["10.0.0.1:80", 1], ["10.0.0.1:80", 2]], "endpoint 2 of 2: 10.0.0.1:80 is there twice"),
    ([["127.0.0.1:80", 1], ["localhost:80", 1]], "endpoint 2 of 2: 127.0.0.1:80 is there twice"),
    ([["10.0.0.1:80", 1], ["10.0.0.2", 1]], "endpoint 2 of 2: found '10.0.0.2'"),
    ([["10.0.0.1:80", 1], {"address": {}}], "endpoint 2 of 2: found a dict"),
    ([["10.0.0.1:80", 1], ["10.0.0.2:80", 1, ["a"]]], "endpoint 2 of 2: found a tuple of 3"),
    ([["10.0.0.1:80", 1]] * 65_537, "at most 65,536")])
def test_with_endpoints_that_are_live_it_is_still_checked_as_a_whole(live, said, why):
    live.revise(app=[["10.0.0.1:80", 1], ["127.0.0.1:80", 1]])
    found = live.revise(app=said)
    assert found["changed"] == {} and why in found["refused"]["app"][1]
    assert list(live.rows(1)) == ["10.0.0.1:80", "127.0.0.1:80"]


def test_a_compile_takes_over_what_there_was(live):
    live.revise(app=[["10.0.0.1:80", 3], ["[::1]:80", 1]])
    again = live.compile()
    assert endpoints_of(again["snapshot"]) == endpoints_of(live.snapshot)
    assert [cluster["endpoints"] for cluster in again["clusters"]] == [c["endpoints"] for c in live.clusters]
    assert again["config"]["clusters"][1]["endpoints"] == {
        "use": "file", "path": "/run/app", "first_wait": "5s", "allow_empty": False, "debounce": "100ms",
        "max_silence": "0"}
    # Also of a cluster that listed them before.
    listed = '["127.0.0.1:1", {address: "unix:/run/x", weight: 2}]'
    live.file.write_text(CONFIG.replace(listed, "{use: file, path: /x}"))
    assert [row["address"] for row in live.compile()["clusters"][0]["endpoints"]] == ["127.0.0.1:1", "unix:/run/x"]


def test_what_control_and_the_host_are_told(live):
    found = live.compile()
    assert [(one["cluster"], one["use"], one["first_wait"], one["allow_empty"]) for one in found["discoveries"]] == [
        ("app", "file", 5.0, False), ("api", "file", 5.0, True)]
    keys = [one["key"] for one in found["discoveries"]]
    assert keys[0] != keys[1]
    live.file.write_text(CONFIG.replace("path: /run/api,", "path: /run/api, debounce: 1s,"))
    # The operator's keys are not the policy's.
    assert [one["key"] for one in live.compile()["discoveries"]] == keys
    live.file.write_text(CONFIG.replace("path: /run/api", "path: /run/apis"))
    assert [one["key"] == key for one, key in zip(live.compile()["discoveries"], keys, strict=True)] == [True, False]


def test_secrets_are_not_shown(live, tmp_path):
    (tmp_path / "d.py").write_text("from fastmesh import Discovery, Secret\nclass D(Discovery):\n    token: Secret\n"
                                   "    async def endpoints(self):\n        yield []\n")
    live.file.write_text("listeners: []\nclusters: [{name: a, endpoints: {use: ./d.py:D, token: s3cret}}]\n")
    found = live.compile()
    assert found["config"]["clusters"][0]["endpoints"]["token"] == "(secret)"
    assert b"s3cret" in found["discovery"] and b"s3cret" not in found["snapshot"]


def test_what_is_said_of_an_endpoint(live):
    def one(**metadata: str) -> dict[str, Any]:
        return {"address": "10.0.0.1:80", "metadata": metadata}

    assert live.revise(app=[one(version="v1", az="b")])["changed"] == {"app": [1, 1, 0]}
    told = {"row": 2, "address": "10.0.0.1:80", "weight": 1, "priority": 0, "zone": "",
            "metadata": {"az": "b", "version": "v1"}}
    assert live.clusters[1]["endpoints"] == [told]
    assert live.revise(app=[one(az="b", version="v1")])["changed"] == {}
    # A reload keeps it, and other words about the same endpoint are news.
    assert live.compile()["clusters"][1]["endpoints"] == [told]
    assert live.revise(app=[one(version="v2")])["changed"] == {"app": [1, 0, 0]}
    assert live.clusters[1]["endpoints"][0]["metadata"] == {"version": "v2"}


def test_priorities_and_zones(live):
    def both(**more: Any) -> bytes:
        return pack_set(read_set([{"address": "10.0.0.1:80", **more}, "10.0.0.2:80"]))

    assert live.revise(app=both(priority=1, zone="b"))["changed"] == {"app": [2, 2, 0]}
    assert live.revise(app=both(zone="b", priority=1))["changed"] == {}
    first, second = live.compile()["clusters"][1]["endpoints"]
    assert (first["priority"], first["zone"], "zone" in second) == (1, "b", False)
    assert live.revise(app=both(zone="b"))["changed"] == {"app": [2, 0, 0]}
    assert live.revise(app=both())["changed"] == {"app": [2, 0, 0]}
    assert [row["row"] for row in live.clusters[1]["endpoints"]] == [first["row"], second["row"]]
    assert "zone" not in live.clusters[1]["endpoints"][0]


def test_what_the_file_says_of_an_endpoint(live):
    listed = '["127.0.0.1:1", {address: "unix:/run/x", weight: 2}]'
    live.file.write_text(CONFIG.replace(listed, """[
      {address: "127.0.0.1:2", priority: 1, metadata: {version: 1.10, "": ü}},
      {address: "127.0.0.1:1", zone: eu-1a}, "127.0.0.1:3"]"""))
    found = live.compile()
    assert [row[6] for row in msgpack.unpackb(found["snapshot"])[CLUSTERS][0][CLUSTER_ENDPOINTS]] == [
        [0, "eu-1a", []], None, [1, "", ["version", "1.10", "", "ü"]]]
    first, second, third = found["clusters"][0]["endpoints"]
    assert (first["zone"], first["metadata"], third["priority"]) == ("eu-1a", {}, 1) and "zone" not in second
    assert third["metadata"] == {"version": "1.10", "": "ü"}


@pytest.mark.parametrize(("metadata", "said"), [
    ("[a]", "found a list, allowed: a mapping"), ("{a: [b]}", "allowed: text without control characters"),
    ("{" + ", ".join(f"n{i}: x" for i in range(33)) + "}", "at most 32"),
    ('{a: "\\u0001"}', "allowed: text without control characters")])
def test_what_it_may_not_say(live, metadata, said):
    live.file.write_text(CONFIG.replace("weight: 2", f"metadata: {metadata}"))
    found = answer({"file": str(live.file), "version": 1, "env": {}})
    assert not found["ok"] and said in found["text"], found["text"]


def test_what_is_plain_is_not_read_in_python_at_all(live, monkeypatch):
    monkeypatch.setattr(module, "exchange_all", None)
    live.revise(app=[["10.0.0.1:80", 1], ["[::1]:80", 300]], api=[["10.0.0.1:80", 1, ["a", "b", "c", ""]]])
    live.revise(app=[["[::1]:80", 300], ["10.0.0.3:80", 1]])
    live.revise(app=[["[::1]:80", 4], ["10.0.0.1:80", 1, ["x", "y"]]], api=[])
    assert live.rows(1) == {"10.0.0.1:80": 2, "[::1]:80": 3} and live.rows(2) == {}
    assert live.clusters[1]["endpoints"] == [
        {"row": 2, "address": "10.0.0.1:80", "weight": 1, "priority": 0, "zone": "", "metadata": {"x": "y"}},
        {"row": 3, "address": "[::1]:80", "weight": 4}]


# Rows of sets as a host might tell them, and as it should not.
TOLD = st.lists(st.tuples(
    st.sampled_from(["10.0.0.1:80", "10.0.0.2:80", "9.0.0.1:80", "10.0.0.1:8", "[::1]:80", "unix:/a", "1.2.3.4:0", ""]),
    st.sampled_from([1, 2, 127, 128, 70_000, 2**31, 2**31 + 1, 0, -1]),
    *[st.sampled_from([("a", "b"), ("a", ""), ("b", "x", "c", "y"), (), ("c", "y", "b", "x"), ("a",), ("a", 1),
                       ("ü", "ü"), ("a", "1", "a", "2")])]).map(lambda row: row[:2] if not row[2] else row), max_size=6)


@settings(max_examples=tries(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TOLD, max_size=6))
def test_both_ways_lead_to_the_same(live, sets):
    for said in sets:
        live.revise(api=msgpack.packb(said), app=msgpack.packb(said[:2]))


@settings(max_examples=tries(1000), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TOLD, st.data())
def test_bytes_that_are_no_set_or_no_snapshot(live, said, data):
    """Nothing but an answer, whatever it is: in a build with a sanitizer nothing is read beside them."""
    live.revise(app=[["10.0.0.1:80", 1], ["[::1]:80", 3, ["a", "b"]]])
    request = {"version": 9, "reserve": (pack_reserve({"app 10.0.0.9:80": 7, "api x": 8}), 9)}
    for part in (0, 1, 2):
        pieces = [live.snapshot, msgpack.packb(said), request["reserve"][0]]
        whole = bytearray(pieces[part])
        for _ in range(data.draw(st.integers(1, 3))):
            if whole:
                whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        pieces[part] = bytes(whole[:data.draw(st.integers(0, len(whole)))])
        splice(pieces[0], {**request, "reserve": (pieces[2], 9), "sets": {"app": (pieces[1], False)}})


def test_when_all_numbers_are_given_out(live):
    """Then the one that has been gone longest gets another owner, and what does not fit shares the last row."""
    def numbered(said: list[list[Any]], gone: dict[str, int]) -> tuple[dict[str, int], dict[str, int], list[int]]:
        request = {"version": 2, "reserve": (pack_reserve(gone), 131_071),
                   "sets": {"app": (msgpack.packb(said), False)}}
        found = splice(live.snapshot, request)
        assert found == exchange_all(live.snapshot, request)
        rows = msgpack.unpackb(found["snapshot"])[CLUSTERS][1][CLUSTER_ENDPOINTS]
        return {row[5]: row[0] for row in rows}, unpack_reserve(found["reserve"][0]), found["reused"]["endpoints"]

    live.revise(app=[["10.0.0.9:80", 1]])
    first = live.rows(1)["10.0.0.9:80"]
    gone = {"app 10.0.0.3:80": 70, "api 10.0.0.1:80": 71, "app 10.0.0.1:80": 72}
    assert numbered([["10.0.0.1:80", 1], ["10.0.0.2:80", 1], ["10.0.0.4:80", 1], ["10.0.0.5:80", 1],
                     ["10.0.0.6:80", 1]], gone) == (
        {"10.0.0.1:80": 72, "10.0.0.2:80": 70, "10.0.0.4:80": 71, "10.0.0.5:80": first, "10.0.0.6:80": 131_071},
        {}, [70, 71, first])
    assert numbered([["10.0.0.9:80", 1], ["10.0.0.3:80", 1]], gone)[1:] == (
        {"api 10.0.0.1:80": 71, "app 10.0.0.1:80": 72}, [])
