"""The subset of a cluster that a filter sends a request to: `request.subset`."""

from typing import Any

import pytest
from playbook.play import Play
from playbook.test_steering import Steer, at_once, who

from fastmesh import Filter, Outcome, Request, Response

V1, V2 = {"version": "v1"}, {"version": "v2"}
BETA = {"version": "v2", "stage": "beta"}


def apart(play: Play) -> Play:
    return play.endpoints("a", "b", "c").splits(a=V1, b=V2, c=BETA)


def to(subset: Any) -> Steer:
    return Steer(lambda request: setattr(request, "subset", subset))


@pytest.mark.parametrize(("subset", "found"), [
    (V1, "a"), (V2, "bc"), (BETA, "c"), ({"stage": "beta", "version": "v2"}, "c")])
def test_the_request_goes_to_an_endpoint_of_it(play: Play, subset: dict[str, str], found: str) -> None:
    parted = apart(play)
    parted.filter(to(subset))
    assert {who(parted) for _ in range(4)} == set(found) and parted.reports == []


@pytest.mark.parametrize("subset", [None, {}])
def test_all_endpoints_may_be_asked_for(play: Play, subset: Any) -> None:
    parted = apart(play)
    parted.filter(to(V1)).filter(to(subset))
    assert {who(parted) for _ in range(6)} == {"a", "b", "c"} and parted.reports == []


def test_one_that_nobody_is_in_goes_by_the_fallback(play: Play) -> None:
    parted = apart(play)
    parted.filter(to({"version": "v3"}))
    assert {who(parted) for _ in range(6)} == {"a", "b", "c"}
    parted.splits(fallback="none", a=V1, b=V2, c=BETA).apply()
    parted.first.sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    parted.first.expect_answer(503)
    assert parted.ended()[-1] == (503, "UH") and parted.reports == []


def test_it_is_read_before_and_after(play: Play) -> None:
    parted = apart(play)
    seen: list[Any] = []

    class Looks(Filter):
        def on_request(self, request: Request) -> None:
            seen.append(request.subset)
            request.subset = {"version": "v7"}
            seen.append(request.subset)

        def on_route(self, request: Request) -> None:
            seen.append(request.subset)
            request.subset = BETA

        def on_response(self, request: Request, response: Response) -> None:
            seen.append(request.subset)

        def on_complete(self, request: Request, outcome: Outcome) -> None:
            seen.append(request.subset)

    parted.filter(Looks())
    assert who(parted) == "c"
    assert seen == [None, {"version": "v7"}, {"version": "v7"}, BETA, BETA] and parted.reports == []


def test_after_a_fallback_it_is_where_the_request_went(play: Play) -> None:
    parted = apart(play)
    seen: list[Any] = []

    class Looks(Filter):
        def on_response(self, request: Request, response: Response) -> None:
            seen.append(request.subset)

    parted.filter(to({"version": "v3"})).filter(Looks())
    who(parted)
    assert seen == [None]


def test_it_is_of_the_cluster_that_there_is_by_then(play: Play) -> None:
    """Another cluster has other subsets: what was said of the first one is not asked of it."""
    parted = apart(play)
    parted.cluster("next").endpoints("d", "e", cluster="next").splits("next", d=V1, e=V2)

    def say(request: Request) -> None:
        request.subset = V2
        request.cluster = "next"
        assert request.subset is None
        if request.headers.get("x-user"):
            request.subset = V2

    parted.filter(Steer(say))
    assert {who(parted) for _ in range(4)} == {"d", "e"}
    assert [who(parted, "x-user: ada\r\n") for _ in range(4)] == ["e"] * 4 and parted.reports == []


def test_further_attempts_stay_in_it(play: Play) -> None:
    parted = apart(play)
    def say(request: Request) -> None:
        request.subset = V1
        request.retry = at_once(3, {503})

    parted.filter(Steer(say))
    parted.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    for status in (503, 503, 200):
        parted.connect("a").answers(status)
    parted.first.expect_answer(200)
    assert parted.reports == []


def test_it_is_kept_as_long_as_its_request(play: Play) -> None:
    """Nobody else holds it, and the client takes its time."""
    parted = apart(play)
    parted.filter(Steer(lambda request: setattr(request, "subset", {"version": "v" + "2"})))
    parted.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbo")
    up = parted.connect("b")
    parted.first.sends(b"dy")
    up.answers(200)
    parted.first.expect_answer(200)


def test_a_shadow_sends_it_nowhere(play: Play) -> None:
    parted = apart(play)
    parted.filter(to(V2), shadow=True)
    assert {who(parted) for _ in range(3)} == {"a", "b", "c"}


@pytest.mark.parametrize(("subset", "says"), [
    ("v2", "names and values are allowed, as {'version': 'v2'}, or None for all endpoints"),
    (["version"], "names and values are allowed"),
    ({"version": 2}, "names and values of a subset are str: 'version': 2"),
    ({1: "v2"}, "names and values of a subset are str")])
def test_what_is_no_subset(play: Play, subset: Any, says: str) -> None:
    parted = apart(play)
    def say(request: Request) -> None:
        with pytest.raises(TypeError) as caught:
            request.subset = subset
        assert says in str(caught.value)

    parted.filter(Steer(say))
    who(parted)
    assert parted.reports == []


def refused(play: Play, subset: Any, says: str) -> None:
    """It is the filter's error: in a worker at once, of a host when the worker carries it out."""
    play.filter(to(subset))
    assert who(play) in "abc"       # it fails open
    assert [what for what, _, _ in play.reports] == ["error"] and says in play.reports[0][2]


@pytest.mark.parametrize(("subset", "says"), [
    ({"colour": "red"}, "no selector of the cluster 'x' has colour: there are version; stage and version"),
    ({"stage": "beta"}, "no selector of the cluster 'x' has stage"),
    ({f"n{i}": "v" for i in range(9)}, "no selector of the cluster 'x' has n0 and n1")])
def test_names_that_no_selector_has(play: Play, subset: dict[str, str], says: str) -> None:
    parted = apart(play)
    refused(parted, subset, says)


def test_a_cluster_without_subsets(play: Play) -> None:
    refused(play.endpoints("a"), V1, "the cluster 'x' has no subsets: give it some in the configuration, as subsets: "
                                     "{selectors: [{keys: [version]}]}")


def test_before_there_is_a_route_and_once_it_is_sent(play: Play) -> None:
    parted = apart(play)
    class Early(Filter):
        def on_request(self, request: Request) -> None:
            assert request.subset is None
            with pytest.raises(RuntimeError, match="no route is chosen yet: set the subset in on_route"):
                request.subset = V1

        def on_response(self, request: Request, response: Response) -> None:
            with pytest.raises(RuntimeError, match="on its way already: the subset can be changed in on_request"):
                request.subset = V1

    parted.filter(Early(), at="listener")
    who(parted)
    assert parted.reports == []


def test_filters_of_the_cluster_may_choose(play: Play) -> None:
    parted = apart(play)
    class Here(Filter):
        def on_request(self, request: Request) -> None:
            request.subset = V2

    parted.filter(Here(), at="cluster")
    assert who(parted) in "bc" and parted.reports == []


