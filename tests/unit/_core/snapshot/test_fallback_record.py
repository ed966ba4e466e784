"""Fallbacks in a snapshot: what is taken, and what is refused at which place."""

import copy

import msgpack
import pytest

from fastmesh.config.load import load_text
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from probes.snapshot_probe import Snapshot
from probes.wire import registry

EDITS = [[1, "x-a", [[0, "b"], [12, "x-c"]]]]
TO_CLUSTER = [1, 5, [503], [1, True, 7, "host", "", "/api", "/v2/", EDITS]]
COPIES = [2, 511, [], ["web", 1, 2, 3, 4, ["accept"], 31]]
POLICY = [4, 127, [], [1, "FromTheCatalogue@web", True]]
ANSWER = [3, 127, list(range(400, 600)), [200, "text/plain", 2, EDITS, [[0, b"a\nb"], [2, ""]]]]
TEXT = """
listeners: [{name: web, address: '127.0.0.1:1', routes: [{match: {prefix: /api}, cluster: a}]}]
clusters: [{name: a, endpoints: ['127.0.0.1:2']}, {name: b, endpoints: ['127.0.0.1:3']}]
"""


def packed(*steps, to=None):
    """A snapshot with a chain of each kind of step; what stands at these places of it is replaced."""
    value = msgpack.unpackb(compile(load_text(TEXT, "x", {}).config, 1, Registry(), 1024)[0], strict_map_key=False)
    value[6] = [[[None, 1_000_000]] * 2, []]
    value[11] = copy.deepcopy([[[TO_CLUSTER, COPIES, ANSWER, POLICY]], [[0, 0, 0]]])
    at = value[11]
    for step in steps[:-1]:
        at = at[step]
    if steps:
        at[steps[-1]] = to
    return msgpack.packb(value)


def test_all_of_it_is_taken():
    with registry() as r:
        Snapshot(packed(), r).close()


@pytest.mark.parametrize(("steps", "to", "why"), [
    ((0,), None, "chains: found nil, must be an array"), ((0, 0), [], "chains[0]: must have a step"),
    ((0, 0), [TO_CLUSTER] * 9, "chains[0]: found an array of 9, must be of at most 8"),
    ((0, 0, 1, 0), 0, "chains[0].steps[1].kind: must be at least 1"),
    ((0, 0, 1, 0), 5, "chains[0].steps[1].kind: found 5, must be at most 4"),
    ((0, 0, 0, 1), 512, "chains[0].steps[0].reasons: found 512, must be at most 511"),
    ((0, 0, 0, 2, 0), 399, "chains[0].steps[0].statuses[0]: found 399, must be at least 400"),
    ((0, 0, 0, 3, 0), 2, "chains[0].steps[0].cluster: found 2, but there are 2 clusters"),
    ((0, 0, 0, 3, 4), "x", 'chains[0].steps[0].path: must begin with "/"'),
    ((0, 0, 0, 3, 5), "/x/", 'chains[0].steps[0].cut: must not end with "/"'),
    ((0, 0, 0, 3, 6), "x", 'chains[0].steps[0].prefix: must begin with "/"'),
    ((0, 0, 2), COPIES, "chains[0].steps[2].kind: there is a step with copies already"),
    ((0, 0, 1, 3, 3), 0, "chains[0].steps[1].max_bytes: found 0, must be at least 1"),
    ((0, 0, 1, 3, 4), 0, "chains[0].steps[1].max_entries: found 0, must be at least 1"),
    ((0, 0, 1, 3, 5), ["x"] * 9, "chains[0].steps[1].keys: found an array of 9, must be of at most 8"),
    ((0, 0, 1, 3, 5, 0), "X", "chains[0].steps[1].keys[0]: must be a token in lower case"),
    ((0, 0, 1, 3, 6), 32, "chains[0].steps[1].ignores: found 32, must be at most 31"),
    ((0, 0, 2, 3, 0), 199, "chains[0].steps[2].status: found 199, must be at least 200"),
    ((0, 0, 2, 3, 2), 3, "chains[0].steps[2].escape: found 3, must be at most 2"),
    ((0, 0, 2, 3, 4, 0, 0), 30, "chains[0].steps[2].body[0].field: found 30, must be at most 29"),
    ((0, 0, 3, 3, 0), 2, "chains[0].steps[3].slot: found 2, but there are 2 rules"),
    ((0, 0, 3, 3, 1), "", "chains[0].steps[3].name: found 0 bytes, must be at least 1"),
    ((0, 0, 3, 3, 2), 1, "chains[0].steps[3].before_filters: found a number, must be a boolean"),
    ((1, 0, 1), 1, "uses[0].route: found 1, but there are 1 routes"),
    ((1, 0, 2), 1, "uses[0].chain: found 1, but there are 1 chains"),
    ((1,), [[0, 0, 0], [0, 0, 0]], "uses[1]: this route has its fallback already")])
def test_what_is_refused(steps, to, why):
    with registry() as r, pytest.raises(ValueError) as caught:
        Snapshot(packed(*steps, to=to), r)
    assert str(caught.value) == f"fallbacks.{why}"
