"""Other endpoints in a snapshot that there is already: for what discovery policies have found.

The file is not read: it may have been changed since, and nobody has asked for a reload.
"""

import os
from operator import itemgetter
from typing import Any

import msgpack

from fastmesh.config.balancing import MAX_ENDPOINTS
from fastmesh.filters.endpoint_set import Member, WrongSet, read_told, unpack_set
from fastmesh.snapshot.endpoint import TEXT, note_of
from fastmesh.snapshot.registry import Registry, endpoint_key
from fastmesh.snapshot.wire import (
    CLUSTER_ENDPOINTS,
    CLUSTER_NAME,
    CLUSTERS,
    ENDPOINT_NOTE,
    ENDPOINT_TEXT,
    ENDPOINT_WEIGHT,
    VERSION,
)

_ADDRESS = itemgetter(1, 3, 2)      # family, address and port: what a set is sorted by


def revise(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a `ReviseRequest`; see wire. What it raises is a bug, or OutOfTime."""
    fd, size = request["snapshot"]
    snapshot = msgpack.unpackb(os.pread(fd, size, 0))
    registry = Registry.from_dict(msgpack.unpackb(request["registry"], strict_map_key=False))
    places = {cluster[CLUSTER_NAME]: i for i, cluster in enumerate(snapshot[CLUSTERS])}
    refused: dict[str, list[str]] = {}
    changed: dict[str, list[int]] = {}
    for name, (packed, allow_empty) in request["sets"].items():
        cluster = snapshot[CLUSTERS][places[name]]
        before = cluster[CLUSTER_ENDPOINTS]
        try:
            kept, found = compare(before, unpack_set(packed))
        except WrongSet as wrong:
            refused[name] = ["refused", str(wrong)]
            continue
        if not kept and not found and not allow_empty:
            refused[name] = ["empty", EMPTY]
            continue
        rows, more, fewer = exchange(registry, name, before, kept, [_written(member) for member in found])
        if rows == before:
            continue
        changed[name] = [len(rows), more, fewer]
        cluster[CLUSTER_ENDPOINTS] = rows
    if changed:
        snapshot[VERSION] = request["version"]
    return {"ok": True, "version": request["version"], "changed": changed, "refused": refused,
            "snapshot": msgpack.packb(snapshot) if changed else b"", "registry": registry.to_dict(),
            "reused": registry.reused()}


EMPTY = ("the set is empty: the endpoints that were there stay; write allow_empty: true where a cluster may have none")


def compare(before: list[list[Any]], rows: tuple[Any, ...]) -> tuple[list[list[Any]], list[Member]]:
    """The rows of the snapshot that a set has as they are, and its other endpoints. What the snapshot says was read
    when it came there: only the others are read now. Raises WrongSet."""
    # As `Member.told` has them.
    known: dict[tuple[Any, ...], list[Any]] = {
        (row[ENDPOINT_TEXT], row[ENDPOINT_WEIGHT]): row for row in before if row[ENDPOINT_NOTE] is None}
    known |= {(row[ENDPOINT_TEXT], row[ENDPOINT_WEIGHT], tuple(row[ENDPOINT_NOTE][2])): row for row in before
              if row[ENDPOINT_NOTE] is not None and row[ENDPOINT_NOTE][:2] == [0, ""]}
    known |= {(row[ENDPOINT_TEXT], row[ENDPOINT_WEIGHT], tuple(row[ENDPOINT_NOTE][2]), *row[ENDPOINT_NOTE][:2]): row
              for row in before if row[ENDPOINT_NOTE] is not None and row[ENDPOINT_NOTE][:2] != [0, ""]}
    try:
        there = [known.get(row) for row in rows]
    except TypeError:       # what cannot be a key is no endpoint either
        return [], read_told(rows)
    kept = [row for row in there if row is not None]
    try:
        found = read_told([row for row, old in zip(rows, there, strict=True) if old is None])
    except WrongSet:        # it says which one of the whole set
        return [], read_told(rows)
    texts = {row[ENDPOINT_TEXT] for row in kept}
    texts.update(str(member.address) for member in found)
    if len(texts) < len(rows) or len(rows) > MAX_ENDPOINTS:
        return [], read_told(rows)
    return kept, found


def exchange(registry: Registry, cluster: str, before: list[list[Any]], kept: list[list[Any]],
             found: list[list[Any]]) -> tuple[list[list[Any]], int, int]:
    """The endpoints as a snapshot has them, those that stay with the numbers that they had; how many came and went.
    `kept` are rows of `before`, `found` are without numbers."""
    same = set(map(id, kept))
    rows = {row[ENDPOINT_TEXT]: row[0] for row in before if id(row) not in same}
    there = {row[TEXT] for row in found}
    gone = [text for text in rows if text not in there]
    new = [row[TEXT] for row in found if row[TEXT] not in rows]
    numbers = registry.endpoints.exchange([endpoint_key(cluster, text) for text in gone],
                                          [endpoint_key(cluster, text) for text in new])
    rows |= {text: numbers[endpoint_key(cluster, text)] for text in new}
    after = kept + [[rows[row[TEXT]], *row] for row in found]
    after.sort(key=_ADDRESS)
    return after, len(new), len(gone)


def endpoints_of(snapshot: bytes) -> dict[str, list[list[Any]]]:
    """What the clusters of a snapshot have, by their names, without numbers."""
    return {cluster[CLUSTER_NAME]: [row[1:] for row in cluster[CLUSTER_ENDPOINTS]]
            for cluster in msgpack.unpackb(snapshot)[CLUSTERS]}


def _written(member: Member) -> list[Any]:
    address = member.address
    return [address.family, address.port, address.packed, member.weight, str(address),
            note_of(member.metadata, member.priority, member.zone)]
