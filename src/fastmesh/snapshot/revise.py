"""Other endpoints in a snapshot that there is already: for what discovery policies have found.

The file is not read: it may have been changed since, and nobody has asked for a reload.
"""

import os
from typing import Any

import msgpack

from fastmesh.filters.endpoint_set import Member, WrongSet, read_set
from fastmesh.snapshot.endpoint import TEXT, described, note_of
from fastmesh.snapshot.registry import Registry, endpoint_key
from fastmesh.snapshot.wire import CLUSTER_ENDPOINTS, CLUSTER_NAME, CLUSTERS, ENDPOINT_TEXT, VERSION, EndpointRecord


def revise(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a `ReviseRequest`; see wire. What it raises is a bug, or OutOfTime."""
    fd, size = request["snapshot"]
    snapshot = msgpack.unpackb(os.pread(fd, size, 0))
    described = msgpack.unpackb(request["clusters"])
    registry = Registry.from_dict(msgpack.unpackb(request["registry"], strict_map_key=False))
    places = {cluster[CLUSTER_NAME]: i for i, cluster in enumerate(snapshot[CLUSTERS])}
    refused: dict[str, list[str]] = {}
    changed: dict[str, list[int]] = {}
    for name, (packed, allow_empty) in request["sets"].items():
        try:
            members = read_set(msgpack.unpackb(packed))
        except (ValueError, TypeError, msgpack.UnpackException) as wrong:
            # What is no msgpack at all was not packed by the host of ours.
            refused[name] = ["refused", str(wrong) if isinstance(wrong, WrongSet) else
                             f"what came is no set: {type(wrong).__name__}"]
            continue
        if not members and not allow_empty:
            refused[name] = ["empty", EMPTY]
            continue
        cluster = snapshot[CLUSTERS][places[name]]
        before = cluster[CLUSTER_ENDPOINTS]
        found = [_written(member) for member in members]
        if [row[1:] for row in before] == found:
            continue
        rows, more, fewer = exchange(registry, name, before, found)
        changed[name] = [len(members), more, fewer]
        cluster[CLUSTER_ENDPOINTS] = rows
        described[places[name]]["endpoints"] = describe(rows)
    if changed:
        snapshot[VERSION] = request["version"]
    return {"ok": True, "version": request["version"], "changed": changed, "refused": refused,
            "snapshot": msgpack.packb(snapshot) if changed else b"", "registry": registry.to_dict(),
            "reused": registry.reused(), "clusters": described}


EMPTY = ("the set is empty: the endpoints that were there stay; write allow_empty: true where a cluster may have none")


def exchange(registry: Registry, cluster: str, before: list[list[Any]],
             found: list[list[Any]]) -> tuple[list[list[Any]], int, int]:
    """The endpoints as a snapshot has them, those that stay with the numbers that they had; how many came and went."""
    rows = {row[ENDPOINT_TEXT]: row[0] for row in before}
    there = {row[TEXT] for row in found}
    gone = [text for text in rows if text not in there]
    new = [row[TEXT] for row in found if row[TEXT] not in rows]
    numbers = registry.endpoints.exchange([endpoint_key(cluster, text) for text in gone],
                                          [endpoint_key(cluster, text) for text in new])
    rows |= {text: numbers[endpoint_key(cluster, text)] for text in new}
    return [[rows[row[TEXT]], *row] for row in found], len(new), len(gone)


def describe(rows: list[list[Any]]) -> list[EndpointRecord]:
    """As control keeps them."""
    return [described(row[0], row[1:]) for row in rows]


def endpoints_of(snapshot: bytes) -> dict[str, list[list[Any]]]:
    """What the clusters of a snapshot have, by their names, without numbers."""
    return {cluster[CLUSTER_NAME]: [row[1:] for row in cluster[CLUSTER_ENDPOINTS]]
            for cluster in msgpack.unpackb(snapshot)[CLUSTERS]}


def _written(member: Member) -> list[Any]:
    address = member.address
    return [address.family, address.port, address.packed, member.weight, str(address), note_of(member.metadata)]
