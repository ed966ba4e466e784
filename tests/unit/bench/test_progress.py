"""What is said while the benchmark runs, and what it says it can do."""

import io

import pytest

from bench.__main__ import main
from bench.peers import PEERS
from bench.progress import Progress, bar, clock
from bench.scenarios import SCENARIOS, Options


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("share", "full"), [(-0.1, 0), (0, 0), (0.5, 5), (0.999, 9), (1, 10), (1.3, 10)])
def test_a_bar_never_leaves_its_frame(share: float, full: int) -> None:
    assert bar(share, 10) == "█" * full + "░" * (10 - full)


def test_time_left_is_never_negative() -> None:
    assert (clock(-3), clock(59.6), clock(3600)) == ("0:00", "1:00", "60:00")


def test_without_a_terminal_there_are_only_whole_lines() -> None:
    out = io.StringIO()
    progress = Progress(4.0, 2, out)
    progress.begin("nginx")
    progress.done(2.0, "nginx: 1 ms")
    assert out.getvalue().startswith("[  1/2 0:00 left] nginx: 1 ms\n")
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_the_bar_gives_way_to_the_line() -> None:
    out = Terminal()
    progress = Progress(4.0, 2, out)
    progress.begin("nginx")
    assert out.getvalue().endswith("left  nginx")
    progress.done(2.0, "nginx: 1 ms")
    assert "\r\x1b[K[  1/2" in out.getvalue() and out.getvalue().endswith("nginx: 1 ms\n")


def test_the_list_names_every_scenario_and_peer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    said = capsys.readouterr().out
    assert all(one.name in said for one in (*SCENARIOS, *PEERS))


def test_a_quick_run_is_planned_for_less_than_two_minutes() -> None:
    options = Options(rounds=2, seconds=1, connections=(1, 128), quick=True)
    seconds = sum(
        len(one.points(options)) * one.rounds(options) * one.sample_seconds(options)
        for one in SCENARIOS
        if one.quick
        for peer in PEERS
        if one.protocol in peer.protocols and one.takes(peer)
    )
    assert 30 < seconds < 110


def test_a_name_that_is_not_there_is_answered_by_those_that_are() -> None:
    with pytest.raises(SystemExit, match="no scenario 'h9'; there are h1-keepalive"):
        main(["--scenario", "h9"])
