"""Subsets in a snapshot: what is taken, and what is refused at which place."""

import copy

import pytest

from probes.snapshot_probe import Snapshot
from probes.wire import cluster, endpoints, listener, pack, registry, route, snapshot

SPLIT = [0, [["version"], ["stage", "version"]], 2, ["version", "v1"], 9]
USES = [[0, 0, -1, [["stage", "x-s", False, ""], ["version", "", True, "v2"]]],
        [0, 1, 1, [["version", "", True, "v1"]]]]
ANSWER = [3, 127, [], [200, "text/plain", 0, [], []]]
TO_ANOTHER = [1, 5, [503], [0, True, 0, "", "", "", "", []]]
COPIES = [[0, 0, 1, [["version", "x-v", False, ""]]]]
STEPS = [[0, 1, [["version", "", True, "v1"]]]]


def packed(*steps, to=None) -> bytes:
    routes = [route(cluster=0), route(split=[[[1, 1], [0, 9]], "", ""]), route(status=200), route(cluster=1)]
    value = snapshot([listener(routes)], [cluster(endpoints(2)), cluster([], number=1, name="d")],
                     mirrors=[[0, 0, [[None, 1_000_000, 1, ""], [None, 1_000_000, 0, ""]]]],
                     fallbacks=[[[ANSWER, TO_ANOTHER]], [[0, 0, 0]]],
                     subsets=copy.deepcopy([[SPLIT], USES, COPIES, STEPS]))
    at = value[13]
    for step in steps[:-1]:
        at = at[step]
    if steps:
        at[steps[-1]] = to
    return pack(value)


def test_all_of_it_is_taken():
    with registry() as r:
        s = Snapshot(packed(), r)
        assert s.subsets() == (0, 0) and s.subsets(1) is None
        s.close()


@pytest.mark.parametrize(("steps", "to", "why"), [
    ((0,), None, "subsets.clusters: found nil, must be an array"),
    ((0, 0, 0), 2, "clusters[0].cluster: found 2, but there are 2 clusters"),
    ((0,), [SPLIT] * 2, "clusters[1].cluster: this cluster has its subsets already"),
    ((0, 0, 1), [["x"]] * 9, "clusters[0].selectors: found an array of 9, must be of at most 8"),
    ((0, 0, 1, 0), [], "clusters[0].selectors[0]: must have a name"),
    ((0, 0, 1, 0), [""], "clusters[0].selectors[0]: found 0 bytes, must be at least 1"),
    ((0, 0, 1, 1), ["version", "stage"], "clusters[0].selectors[1]: names must be in ascending order"),
    ((0, 0, 1, 1), ["stage", "stage"], "clusters[0].selectors[1]: names must be in ascending order"),
    ((0, 0, 1, 1), list("abcdefghi"), "clusters[0].selectors[1]: found an array of 9, must be of at most 8"),
    ((0, 0, 2), 3, "clusters[0].fallback: found 3, must be at most 2"),
    ((0, 0, 2), 0, "clusters[0].default: must be there when that is the fallback, and only then"),
    ((0, 0, 3), [], "clusters[0].default: must be there when that is the fallback, and only then"),
    ((0, 0, 3), ["version"], "clusters[0].default: a name without a value"),
    ((0, 0, 3), ["stage", "v1"], "clusters[0].default: must have the names of one of the selectors"),
    ((0, 0, 4), 0, "clusters[0].max: found 0, must be at least 1"),
    ((0, 0, 4), 4097, "clusters[0].max: found 4097, must be at most 4096"),
    ((1, 0, 0), 1, "uses[0].listener: found 1, but there are 1 listeners"),
    ((1, 0, 1), 4, "uses[0].route: found 4, but there are 4 routes"),
    ((1, 0, 1), 2, "uses[0].part: must be there, as the route has no cluster"),
    ((1, 0, 1), 3, "uses[0]: its cluster has no subsets"),
    ((1, 0, 2), 0, "uses[0].part: must be a place in the split of the route"),
    ((1, 1, 2), 2, "uses[1].part: must be a place in the split of the route"),
    ((1, 1, 2), 0, "uses[1]: its cluster has no subsets"),
    ((1,), [USES[0], USES[0]], "uses[1]: this route has its subset already"),
    ((1, 0, 3), [["x", "", True, "y"]] * 9, "uses[0].words: found an array of 9, must be of at most 8"),
    ((1, 0, 3), USES[0][3][::-1], "uses[0].words[1]: names must be in ascending order"),
    ((1, 0, 3, 1, 2), False, "uses[0].words[1].value: must be there, as there is no header"),
    ((2, 0, 0), 1, "copies[0].listener: found 1, but there are 1 listeners"),
    ((2, 0, 1), 1, "copies[0].route: it has no mirrors"),
    ((2, 0, 2), 2, "copies[0].mirror: found 2, but there are 2 mirrors"),
    ((2, 0, 2), 0, "copies[0]: its cluster has no subsets"),
    ((2,), [COPIES[0], COPIES[0]], "copies[1]: this mirror has its subset already"),
    ((2, 0, 3, 0, 1), "", "copies[0].words[0].value: must be there, as there is no header"),
    ((3, 0, 0), 1, "steps[0].chain: found 1, but there are 1 chains"),
    ((3, 0, 1), 2, "steps[0].step: found 2, but there are 2 steps"),
    ((3, 0, 1), 0, "steps[0].step: it leads to no cluster"),
    ((3,), [STEPS[0], STEPS[0]], "steps[1]: this step has its subset already"),
    ((3, 0, 2), None, "steps[0].words: found nil, must be an array"),
])
def test_what_is_refused(steps, to, why):
    with registry() as r, pytest.raises(ValueError) as caught:
        Snapshot(packed(*steps, to=to), r)
    assert str(caught.value).removeprefix("subsets.") == why.removeprefix("subsets.")


def test_a_cluster_whose_weights_a_policy_gives_has_none():
    value = snapshot(clusters=[cluster(endpoints(2), balancer=[0, 10**9])], rules=[[None, 1_000_000]],
                     subsets=[[SPLIT], [], [], []])
    with registry() as r, pytest.raises(ValueError, match="a policy gives its weights: it has no subsets"):
        Snapshot(pack(value), r)


def test_a_route_that_leads_to_no_cluster_there_is():
    value = snapshot([listener([route(cluster=7)])], [cluster(endpoints(2))],
                     subsets=[[SPLIT], [[0, 0, -1, [["version", "", True, "v2"]]]], [], []])
    with registry() as r, pytest.raises(ValueError, match="found 7, but there are 1 clusters"):
        Snapshot(pack(value), r)
