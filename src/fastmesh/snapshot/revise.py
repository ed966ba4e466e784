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
from fastmesh.snapshot.registry import Numbers, endpoint_key, pack_reserve, unpack_reserve
from fastmesh.snapshot.wire import (
    CLUSTER_ENDPOINTS,
    CLUSTER_NAME,
    CLUSTERS,
    ENDPOINT_NOTE,
    ENDPOINT_ROWS,
    ENDPOINT_TEXT,
    ENDPOINT_WEIGHT,
    VERSION,
)

_ADDRESS = itemgetter(1, 3, 2)      # family, address and port: what a set is sorted by


def revise(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a `ReviseRequest`; see wire. What it raises is a bug, or OutOfTime."""
    fd, size = request["snapshot"]
    packed = os.pread(fd, size, 0)
    return splice(packed, request) or exchange_all(packed, request)


def splice(packed: bytes, request: dict[str, Any]) -> dict[str, Any] | None:
    """The same, of the bytes of a snapshot, for sets in which nothing must be looked at closely: those that are wrong
    are not among them. Then nothing but the clusters concerned is read, and that without a value of Python's. None for
    all others."""
    # Without found endpoints control loads nothing of it.
    from fastmesh._core.snapshot.turnover import places, turn_over
    gone, next_row = request["reserve"]
    sets: dict[str, tuple[bytes, bool]] = request["sets"]
    found = places(packed, sets.keys())
    if found is None:
        return None
    version, clusters = found
    changed: dict[str, list[int]] = {}
    edits = [(version, msgpack.packb(request["version"]))]
    reused: list[int] = []
    for name, (told, allow_empty) in sets.items():
        turned = turn_over(packed, clusters[name], name, told, gone, next_row)
        if turned is None:
            return None
        endpoints, total, more, fewer, gone, next_row, reused_here = turned
        if not total and not allow_empty:
            return None
        first, last = clusters[name]
        if endpoints == packed[first:last]:
            continue
        reused += reused_here
        changed[name] = [total, more, fewer]
        edits.append((clusters[name], endpoints))
    parts: list[bytes] = []
    at = 0
    for (first, last), written in sorted(edits) if changed else ():
        parts += packed[at:first], written
        at = last
    return {"ok": True, "version": request["version"], "changed": changed, "refused": {},
            "snapshot": b"".join([*parts, packed[at:]]) if changed else b"", "reserve": (gone, next_row),
            "reused": {"endpoints": reused}}


def exchange_all(packed: bytes, request: dict[str, Any]) -> dict[str, Any]:
    """The same, whatever the sets are."""
    snapshot = msgpack.unpackb(packed)
    indexes = {cluster[CLUSTER_NAME]: i for i, cluster in enumerate(snapshot[CLUSTERS])}
    gone, next_row = request["reserve"]
    numbers = Numbers(ENDPOINT_ROWS, {}, unpack_reserve(gone), next_row)
    refused: dict[str, list[str]] = {}
    changed: dict[str, list[int]] = {}
    for name, (told, allow_empty) in request["sets"].items():
        cluster = snapshot[CLUSTERS][indexes[name]]
        before = cluster[CLUSTER_ENDPOINTS]
        try:
            kept, found = compare(before, unpack_set(told))
        except WrongSet as wrong:
            refused[name] = ["refused", str(wrong)]
            continue
        if not kept and not found and not allow_empty:
            refused[name] = ["empty", EMPTY]
            continue
        numbers.live = {endpoint_key(name, row[ENDPOINT_TEXT]): row[0] for row in before}
        rows, more, fewer = exchange(numbers, name, before, kept, [_written(member) for member in found])
        if rows == before:
            continue
        changed[name] = [len(rows), more, fewer]
        cluster[CLUSTER_ENDPOINTS] = rows
    if changed:
        snapshot[VERSION] = request["version"]
    return {"ok": True, "version": request["version"], "changed": changed, "refused": refused,
            "snapshot": msgpack.packb(snapshot) if changed else b"",
            "reserve": (pack_reserve(numbers.gone), numbers.next_free), "reused": {"endpoints": numbers.reused}}


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


def exchange(reserve: Numbers, cluster: str, before: list[list[Any]], kept: list[list[Any]],
             found: list[list[Any]]) -> tuple[list[list[Any]], int, int]:
    """The endpoints as a snapshot has them, those that stay with the numbers that they had; how many came and went.
    `kept` are rows of `before`, `found` are without numbers."""
    same = set(map(id, kept))
    rows = {row[ENDPOINT_TEXT]: row[0] for row in before if id(row) not in same}
    there = {row[TEXT] for row in found}
    gone = [text for text in rows if text not in there]
    new = [row[TEXT] for row in found if row[TEXT] not in rows]
    numbers = reserve.exchange([endpoint_key(cluster, text) for text in gone],
                                          [endpoint_key(cluster, text) for text in new])
    rows |= {text: numbers[endpoint_key(cluster, text)] for text in new}
    after = kept + [[rows[row[TEXT]], *row] for row in found]
    after.sort(key=_ADDRESS)
    return after, len(new), len(gone)


def numbers_of(snapshot: bytes) -> dict[str, int]:
    """The numbers that the endpoints of a snapshot have, by their keys in the registry."""
    return {endpoint_key(cluster[CLUSTER_NAME], row[ENDPOINT_TEXT]): row[0]
            for cluster in msgpack.unpackb(snapshot)[CLUSTERS] for row in cluster[CLUSTER_ENDPOINTS]}


def endpoints_of(snapshot: bytes) -> dict[str, list[list[Any]]]:
    """What the clusters of a snapshot have, by their names, without numbers."""
    return {cluster[CLUSTER_NAME]: [row[1:] for row in cluster[CLUSTER_ENDPOINTS]]
            for cluster in msgpack.unpackb(snapshot)[CLUSTERS]}


def _written(member: Member) -> list[Any]:
    address = member.address
    return [address.family, address.port, address.packed, member.weight, str(address),
            note_of(member.metadata, member.priority, member.zone)]
