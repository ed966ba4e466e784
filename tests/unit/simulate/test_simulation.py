"""The simulation itself, against what theory says; then balancers, at sizes that no test machine has."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastmesh._core.play.balancer import ANSWERED, Balancer
from fastmesh.config.source import Source
from fastmesh.errors import ConfigError
from fastmesh.simulate.result import Result
from fastmesh.simulate.scenario import Scenario, read
from fastmesh.simulate.simulation import Simulation
from probes.wire import cluster, endpoints, pack, snapshot

MS = 1_000_000
ROOT = Path(__file__).parents[3]


def run(*groups: dict[str, Any], balancer: str = "least_request", balancing: dict[str, Any] | None = None,
        cluster_more: dict[str, Any] | None = None, **more: Any) -> Result:
    values: dict[str, Any] = {"duration": "20s", "rate": 1000, **more}
    return Simulation(Scenario.model_validate({
        **values, "endpoints": list(groups),
        "cluster": {"load_balancer": balancer, "balancing": balancing or {}, **(cluster_more or {})}})).run()


def fixed(mean: str) -> dict[str, str]:
    return {"kind": "fixed", "mean": mean}


# --- the simulation ---

def test_one_server_is_a_queue_of_theory():
    """M/M/1 at 50 %: the time in the system is exponential with twice the mean of the work."""
    whole = run({"time": {"mean": "1ms"}, "slots": 1}, rate=500, duration="200s").whole
    assert whole.count == pytest.approx(100_000, rel=0.02)
    for percent, times in ((50, 0.6931), (90, 2.3026), (99, 4.605)):
        assert whole.percentile(percent) == pytest.approx(2 * MS * times, rel=0.08)


def test_work_that_is_always_the_same_takes_that_long():
    result = run({"count": 10, "time": fixed("7ms"), "slots": 1000})
    assert {result.whole.percentile(p) for p in (0, 50, 99.9)} == {7 * MS}
    assert (result.whole.failed, result.attempts) == (0, result.whole.count)


def test_lognormal_work_has_its_mean():
    times = run({"count": 10, "time": {"kind": "lognormal", "mean": "10ms", "spread": 10}, "slots": 1000},
                duration="100s").whole.answered
    assert sum(times) / len(times) == pytest.approx(10 * MS, rel=0.05)


def test_the_same_seed_gives_the_same_and_another_does_not():
    groups = ({"count": 5, "time": {"mean": "5ms"}},)
    first = run(*groups, callers=3).to_dict()
    assert run(*groups, callers=3).to_dict() == first
    assert run(*groups, callers=3, seed=2).to_dict() != first


def test_a_caller_that_gives_up_has_failed_and_the_endpoint_works_on():
    result = run({"time": fixed("100ms"), "slots": 1}, rate=20, timeout="150ms", duration="60s")
    # It can do 10 a second: the rest piles up, and nobody is answered in time any more.
    assert result.whole.failed_share > 0.9


def test_endpoints_that_are_down_cost_an_attempt_and_are_left_alone():
    result = run({"count": 3, "time": fixed("5ms"), "slots": 100}, {"time": fixed("5ms"), "down": {"begin": "5s"}})
    assert result.whole.failed == 0
    assert 0 < result.attempts - result.whole.count < 30
    assert result.share(result.parts[1]) == pytest.approx(0.25 * 0.25, abs=0.03)


def test_all_down_is_all_failed():
    result = run({"count": 3, "time": fixed("5ms"), "down": {}})
    assert result.whole.failed_share == 1 and result.counts == [0, 0, 0]
    assert "–" in result.table()


def test_failures_come_in_their_time():
    result = run({"count": 4, "time": fixed("5ms"), "failing": {"begin": "5s", "end": "10s", "share": "50%"}})
    assert result.whole.failed_share == pytest.approx(0.125, abs=0.01)


def test_what_is_before_the_warm_up_is_over_does_not_count():
    result = run({"time": fixed("1ms")}, warm_up="15s")
    assert result.whole.count == pytest.approx(5000, rel=0.1)
    assert result.attempts == result.whole.count


def test_keys_of_a_skewed_kind():
    even = run({"count": 10, "time": fixed("1ms")}, balancer="maglev", keys={"count": 10_000},
               balancing={"hash": {"keys": [{"source": True}]}})
    skewed = run({"count": 10, "time": fixed("1ms")}, balancer="maglev", keys={"count": 10_000, "skew": 15},
                 balancing={"hash": {"keys": [{"source": True}]}})
    assert max(even.counts) < 1.2 * 2000
    # The first key alone is 38 % of all.
    assert max(skewed.counts) > 3 * 2000


def test_a_group_that_joins_is_asked_from_then_on():
    result = run({"count": 3, "time": fixed("5ms"), "slots": 100}, {"time": fixed("5ms"), "slots": 100, "joins": "10s"},
                 balancer="round_robin")
    assert result.share(result.parts[1]) == pytest.approx(0.125, abs=0.01)


# --- balancers ---

def slow_ones(balancer: str) -> Result:
    """One in twenty of a thousand endpoints is ten times as slow."""
    return run({"name": "good", "count": 950, "time": {"mean": "10ms"}},
               {"name": "slow", "count": 50, "time": {"mean": "100ms"}},
               balancer=balancer, rate=5000, duration="15s", warm_up="5s", callers=2)


def test_response_times_find_the_slow_ones_where_load_does_not():
    least, peak, aware = (slow_ones(name) for name in ("least_request", "peak_ewma", "failure_aware_ewma"))
    # At this load each endpoint has next to nothing in flight: least request sends the slow ones their share.
    assert least.share(least.parts[1]) > 0.03
    for ewma in (peak, aware):
        assert ewma.share(ewma.parts[1]) < least.share(least.parts[1]) / 3
        assert ewma.whole.percentile(99) < 0.75 * least.whole.percentile(99)


def test_failures_that_are_quick_attract_requests_unless_they_count_as_slow():
    groups = ({"count": 18, "time": {"kind": "lognormal", "mean": "20ms", "spread": 5}},
              {"count": 2, "time": {"mean": "20ms"}, "failing": {"begin": "5s"}})
    by_name = {name: run(*groups, balancer=name, duration="30s").whole.failed_share
               for name in ("round_robin", "least_request", "peak_ewma", "failure_aware_ewma")}
    assert by_name["round_robin"] == pytest.approx(0.1 * 25 / 30, abs=0.02)
    assert by_name["peak_ewma"] > by_name["round_robin"]
    assert by_name["failure_aware_ewma"] < 0.01


def test_a_cold_endpoint_is_spared_by_slow_start():
    """It works ten times as slowly in its first 20 s, and cannot do its whole share."""
    groups = ({"name": "warm", "count": 9, "time": fixed("10ms"), "slots": 4},
              {"name": "cold", "count": 1, "time": fixed("10ms"), "slots": 4, "joins": "10s",
               "slow": {"end": "30s", "factor": 10}})
    at_once = run(*groups, balancer="round_robin", duration="30s", warm_up="10s")
    slowly = run(*groups, balancer="round_robin", duration="30s", warm_up="10s",
                 balancing={"slow_start": {"window": "60s"}})
    assert at_once.whole.percentile(95) > 1000 * MS
    assert slowly.whole.percentile(95) < 200 * MS


def test_half_of_a_priority_is_lost():
    """10,000 endpoints in two priorities, half of the first is gone: the rest keep what they can bear."""
    result = run({"name": "near", "count": 3334, "time": fixed("5ms")},
                 {"name": "gone", "count": 3333, "time": fixed("5ms"), "down": {"begin": "2s"}},
                 {"name": "far", "count": 3333, "time": fixed("5ms"), "priority": 1},
                 rate=10_000, duration="10s", warm_up="5s")
    # Those that are gone are avoided for a second and more, then tried again: now and then a request meets three.
    assert result.whole.failed_share < 0.005
    assert result.share(result.parts[2]) < 0.35
    assert result.share(result.parts[1]) == 0


def three_zones(**cluster: Any) -> Result:
    """10,000 endpoints and two workers in each of three zones; zone a is gone from the second second on."""
    return run(*({"name": zone, "zone": zone, "count": count, "time": fixed("5ms"),
                  **({"down": {"begin": "2s"}} if zone == "a" else {})}
                 for zone, count in (("a", 3334), ("b", 3333), ("c", 3333))),
               rate=6_000, duration="10s", callers=6, zones=["a", "b", "c"], cluster_more={"outlier": {}, **cluster})


def test_a_zone_of_three_is_lost():
    near = three_zones(balancing={"prefer_zone": True})
    # Until it was gone, each zone's callers asked their own; then those of a ask both others alike.
    shares = [near.share(part) for part in near.parts]
    assert shares[0] == pytest.approx(0.2 / 3, abs=0.01)
    assert shares[1] == pytest.approx(shares[2], abs=0.02)
    by_time = [each.times.failed_share for each in near.slices]
    assert max(by_time[:12]) == 0
    # Only a's own callers meet those that are gone, and soon know enough of them to go elsewhere at once.
    assert max(by_time) < 0.4 and max(by_time[36:]) < 0.01
    # Without a preference everybody meets them, for as long as it takes to know of them all.
    far = three_zones()
    assert sum(each.times.failed for each in far.slices[36:]) > 3 * sum(each.times.failed for each in near.slices[36:])


def test_callers_keep_to_their_own_zone():
    result = run({"name": "a", "zone": "a", "count": 3, "time": fixed("5ms"), "slots": 100},
                 {"name": "b", "zone": "b", "count": 3, "time": fixed("5ms"), "slots": 100},
                 callers=2, zones=["a", "a"], balancing={"prefer_zone": True})
    assert result.share(result.parts[0]) == 1


def test_a_bound_on_load_saves_the_owner_of_a_key_that_all_ask_for():
    groups = ({"count": 10, "time": fixed("10ms"), "slots": 4},)
    keys = {"count": 1000, "skew": 12}
    free, bound = (run(*groups, balancer="maglev", keys=keys, rate=1500,
                       balancing={"hash": {"keys": [{"source": True}], **more}})
                   for more in ({}, {"load_bound": "150%"}))
    assert free.whole.percentile(99) > 1000 * MS
    assert bound.whole.percentile(99) < 100 * MS


# --- the door, the file, the command ---

def test_the_door_refuses_what_makes_no_sense():
    b = Balancer(pack(snapshot(clusters=[cluster(endpoints(2))])), 2, 1)
    assert b.pick(1) in (0, 1)
    for call in (lambda: b.leave(2), lambda: b.leave(-1), lambda: b.pick(1, None, (5,)),
                 lambda: b.observe(9, 1, ANSWERED, 0, 1)):
        with pytest.raises(IndexError):
            call()
    with pytest.raises(ValueError, match="eight"):
        b.pick(1, None, (0,) * 9)
    with pytest.raises(ValueError, match="found an array of 1, must be of"):
        b.replace(pack(["nope"]))
    with pytest.raises(IndexError):
        Balancer(pack(snapshot()), 0, 1).pick(1)


@pytest.mark.parametrize(("text", "reason", "hint"), [
    ("[]", "1:1: found a list", ""),
    ("duration: 1s\nrate: 1\n", "1:1: the key 'endpoints' is missing", "add endpoints"),
    ("duration: 1s\nrate: 1\nendpoints: [{time: {mean: 1ms}, wieght: 2}]\n", "3:33: unknown key 'wieght'",
     "write weight"),
    ("duration: 1s\nrate: 1\nendpoints: [{time: {mean: 1ms, colour: red}}]\n", "3:32: unknown key 'colour'",
     "remove it"),
    ("listeners: []\nclusters: []\n", "1:1: this is a configuration of a proxy",
     "write one as fastmesh simulate --help shows; its cluster may have the keys of a cluster there"),
    ("duration: 1s\nrate: 0\nendpoints: [{time: {mean: 1ms}}]\n", "2:7: found '0'", ""),
    ("duration: 24h\nrate: 1000\nendpoints: [{time: {mean: 1ms}}]\n",
     "1:1: found 86,400,000 requests (rate x duration)", "make duration shorter, or rate lower"),
    ("duration: 1s\nrate: 1\ncluster: {load_balancer: best}\nendpoints: [{time: {mean: 1ms}}]\n",
     "1:1: found 'best' at cluster.load_balancer", ""),
    ("duration: 1s\nrate: 1\ncluster: {endpoints: []}\nendpoints: [{time: {mean: 1ms}}]\n",
     "1:1: found the key 'endpoints'", "remove endpoints"),
    ("duration: 1s\nrate: 1\nendpoints: [{count: 65536, time: {mean: 1ms}}, {time: {mean: 1ms}}]\n",
     "1:1: found 65,537 endpoints", ""),
    ("duration: 1s\nrate: 1\nzones: [a, b]\nendpoints: [{time: {mean: 1ms}}]\n",
     "1:1: found 2 zones for 1 callers", "add callers, or remove zones"),
    ("duration: 1s\nrate: 1\nrate_limit: {rate: 1/s, by_key: true}\nendpoints: [{time: {mean: 1ms}}]\n",
     "1:1: found rate_limit.by_key without keys", "add keys: {count: …}"),
    ("duration: 1s\nrate: 1\nrate_limit: {rate: lots}\nendpoints: [{time: {mean: 1ms}}]\n", "3:20: found 'lots'", "")])
def test_a_wrong_scenario_is_refused(text, reason, hint):
    with pytest.raises(ConfigError) as caught:
        read(Source("s", text), {})
    first = caught.value.problems[0]
    assert (f"{first.line}:{first.column}: {first.reason}".startswith(reason), first.hint) == (True, hint)


def fastmesh(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "fastmesh", "simulate", *arguments], cwd=ROOT, capture_output=True,
                          text=True, check=False, timeout=120)


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/simulate/*.yaml")), ids=lambda path: path.name)
def test_an_example_runs(path):
    done = fastmesh(str(path), "--load-balancer", "peak_ewma", "--load-balancer", "random")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("peak_ewma: ") and "\nrandom: " in done.stdout


def test_a_wrong_file_is_said_so(tmp_path):
    (tmp_path / "s.yaml").write_text("duration: 1s\n")
    done = fastmesh(str(tmp_path / "s.yaml"))
    assert done.returncode == 1 and "the key 'rate' is missing" in done.stderr


# --- outliers ---

def test_an_outlier_is_ejected_and_comes_back():
    """One of five fails for 20 s: without ejection a fifth of what comes then, with it a handful, over both callers."""
    failed = []
    for outlier in ({"enabled": False}, {}):
        result = Simulation(Scenario.model_validate({
            "duration": "100s", "rate": 500, "callers": 2,
            "cluster": {"load_balancer": "round_robin", "outlier": outlier},
            "endpoints": [{"count": 4, "time": fixed("10ms")},
                          {"time": fixed("10ms"), "failing": {"begin": "10s", "end": "30s"}}]})).run()
        failed.append(result.whole.failed)
        back = result.counts[4]
    assert failed[0] == pytest.approx(2000, rel=0.1)
    assert 5 <= failed[1] <= 10
    assert back > 3000


def test_no_herd_comes_when_ejections_end():
    """A hundred of a thousand endpoints fail for good, and forty callers know of each other: each is met by what it
    takes to eject it, and from then on by one request of all callers together, ever less often."""
    result = Simulation(Scenario.model_validate({
        "duration": "120s", "rate": 2000, "callers": 40,
        "cluster": {"load_balancer": "round_robin", "outlier": {}},
        "endpoints": [{"count": 900, "time": fixed("10ms")},
                      {"count": 100, "time": fixed("10ms"), "failing": {}}]})).run()
    # Five in a row, or more that are under way by then; after 30, 90 s a probe.
    assert max(result.counts[900:]) <= 12
    assert min(result.counts[900:]) >= 6


def coming_back(**outlier: Any) -> Result:
    """Six of twenty fail for ten seconds, and have cold caches when they come back: ten times as slow at first."""
    return run({"name": "well", "count": 14, "time": fixed("10ms"), "slots": 4},
               {"name": "back", "count": 6, "time": fixed("10ms"), "slots": 4,
                "failing": {"begin": "10s", "end": "20s"}, "slow": {"begin": "20s", "end": "52s", "factor": 10}},
               balancer="round_robin", rate=1500, duration="80s", callers=4, cluster_more={"outlier": outlier})


def test_those_that_come_back_are_not_run_over():
    """They come back apart, by a request each, and have their whole share only after a while."""
    by_lot, at_once = coming_back(), coming_back(ramp="0")
    assert at_once.whole.percentile(99) > 3 * by_lot.whole.percentile(99)
    assert by_lot.share(by_lot.parts[1]) < at_once.share(at_once.parts[1])
    # Nobody lost a request of it: what had failed, failed before they were ejected.
    for result in (by_lot, at_once):
        assert sum(each.times.failed for each in result.slices[16:]) == 0


# --- rate limits ---

def test_a_rate_limit_is_exact_over_all_callers():
    result = run({"count": 5, "time": fixed("5ms"), "slots": 100}, callers=3,
                 rate_limit={"rate": "600/s", "burst": 100})
    passed = result.whole.count - result.limited
    # The last token may still have been on its way back.
    assert 600 * 20 + 100 - 2 <= passed <= 600 * 20 + 100
    assert result.limited == result.whole.failed
    assert "; beyond the rate limit: " in result.table() and result.to_dict()["limited"] > 0.3


def test_keys_have_buckets_of_their_own():
    one = {"rate": "50/s", "burst": 10}
    groups = ({"count": 5, "time": fixed("5ms"), "slots": 100},)
    together, apart = (run(*groups, keys={"count": 4}, rate_limit={**one, "by_key": by_key})
                       for by_key in (False, True))
    assert apart.whole.count - apart.limited == pytest.approx(4 * (together.whole.count - together.limited), rel=0.01)


def test_a_rate_limit_keeps_the_queue_short():
    """Twice what the endpoints can do: those that pass are answered as if there were no more."""
    groups = ({"count": 2, "time": fixed("10ms"), "slots": 1},)
    free, limited = (run(*groups, rate=400, **more) for more in ({}, {"rate_limit": {"rate": "150/s", "burst": 5}}))
    assert free.whole.percentile(50) > 1000 * MS
    assert limited.whole.percentile(99) < 100 * MS


# --- further attempts ---

NO_BUDGET = {"retry_budget": {"share": "100%", "per_second": 100_000}}


def storm(**cluster: Any) -> Result:
    source = Source("storm", (ROOT / "examples" / "simulate" / "storm.yaml").read_text())
    scenario = read(source, {})
    return Simulation(scenario.model_copy(update={"cluster": {**scenario.cluster, **cluster}})).run()


def test_a_budget_ends_a_storm_that_goes_on_by_itself_without():
    """The trouble is over after 25 of 60 s."""
    without, kept = storm(**NO_BUDGET), storm()
    last = slice(50, None)
    assert all(each.times.failed_share == 1 for each in without.slices[last])
    assert all(each.times.failed_share == 0 for each in kept.slices[last])
    assert max(each.amplification for each in without.slices) > 5
    assert kept.attempts / kept.whole.count < 1.2 < 2.5 < without.attempts / without.whole.count
    assert (without.unaffordable, kept.unaffordable > 10_000) == (0, True)


def test_what_fails_now_and_then_is_tried_again_elsewhere():
    good = {"count": 3, "time": fixed("5ms"), "slots": 1000}
    result = run({**good, "failing": {"share": "10%"}}, retry={"on": [503], "attempts": 3}, duration="60s")
    assert result.whole.failed_share == pytest.approx(0.001, abs=0.0007)
    assert result.attempts / result.whole.count == pytest.approx(1.11, abs=0.01)
    # A rule that names something else is no rule for it.
    other = run({**good, "failing": {"share": "10%"}}, retry={"on": [409], "attempts": 3}, duration="60s")
    assert other.whole.failed_share == pytest.approx(0.1, rel=0.1) and other.attempts == other.whole.count


def test_attempts_have_a_time_of_their_own_and_the_request_has_one():
    slow = {"count": 2, "time": fixed("1s"), "slots": 1000}
    rule = {"on": ["timeout"], "attempts": 8, "per_try_timeout": "100ms", "backoff": {"base": "0ms", "max": "0ms"}}
    result = run(slow, retry=rule, timeout="350ms", rate=50, cluster_more=NO_BUDGET)
    assert result.whole.failed_share == 1
    assert result.attempts == 4 * result.whole.count


# --- what is drawn ---

def test_it_is_drawn_over_time():
    result = run({"count": 2, "time": fixed("10ms"), "slots": 100,
                  "failing": {"begin": "10s", "end": "15s"}, "slow": {"begin": "15s", "end": "20s", "factor": 4}},
                 duration="20s")
    lines = [line[10:] for line in result.table().splitlines() if line.startswith(("       p50", "    failed"))]
    assert lines[0] == "  " + "▃" * 30 + " " * 15 + "█" * 15 + "  10.00ms to 40.00ms"
    assert lines[1] == "  " + "▁" * 30 + "█" * 15 + "▁" * 15 + "  0.0% to 100.0%"
    over = result.to_dict()["over_time"]
    assert len(over) == 60 and sum(each["requests"] for each in over) == result.whole.count
    assert (over[0]["p50_ms"], over[35]["p50_ms"], over[35]["failed"], over[50]["p50_ms"]) == (10, None, 1, 40)


# --- attempts beside the first ---

def few_slow(**more: Any) -> Result:
    """A thousand endpoints of which one in twenty takes twenty times as long."""
    return run({"count": 950, "time": {"mean": "5ms"}, "slots": 4},
               {"name": "slow", "count": 50, "time": {"mean": "100ms"}, "slots": 4},
               rate=2000, duration="40s", warm_up="10s", **more)


def test_hedging_takes_the_slowest_away_within_its_budget():
    plain, hedged = few_slow(), few_slow(hedge={"delay": "p95"})
    assert plain.whole.percentile(99) > 100 * MS
    assert hedged.whole.percentile(99) < plain.whole.percentile(99) / 3
    assert hedged.whole.percentile(50) < plain.whole.percentile(50) * 1.05
    load = hedged.attempts / hedged.whole.count
    assert 1.02 < load < 1.06          # a twentieth, and one a second
    assert plain.attempts == plain.whole.count


def test_a_cluster_that_is_slow_as_a_whole_is_not_asked_twice():
    result = run({"count": 10, "time": {"mean": "5ms"}, "slots": 4, "slow": {"begin": "10s", "factor": 10}},
                 rate=500, duration="40s", hedge={"delay": "10ms"})
    assert result.attempts / result.whole.count < 1.06


def test_one_that_fails_leaves_it_to_the_other():
    """Who stands still is hedged by who answers; all are answered but those that fail before anybody else is asked."""
    result = run({"count": 10, "time": fixed("5ms")},
                 {"count": 1, "time": fixed("5ms"), "failing": {"after": "200ms"}}, rate=200,
                 hedge={"delay": "20ms", "budget": {"share": "20%"}}, timeout="1s")
    assert result.whole.failed == 0


def test_only_a_delay_is_simulated():
    with pytest.raises(ConfigError) as caught:
        read(Source("s", "duration: 1s\nrate: 1\nhedge: {on: per_try_timeout}\nendpoints: [{time: {mean: 1ms}}]\n"), {})
    assert "per_try_timeout at hedge.on" in str(caught.value)


def test_nobody_checks_health_in_a_simulation() -> None:
    text = ("duration: 1s\nrate: 1\nendpoints: [{count: 1, time: {mean: 1ms}}]\n"
            "cluster: {health_check: {tcp: {}}}\n")
    with pytest.raises(ConfigError, match="health_check"):
        read(Source("s.yaml", text), {})
