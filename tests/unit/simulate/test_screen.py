"""What a simulation shows while it runs, and on a narrow screen."""

from fastmesh.cli.simulate import Progress
from fastmesh.config.source import Source
from fastmesh.simulate.scenario import read
from fastmesh.simulate.simulation import Simulation


def test_it_says_how_far_it_is(monkeypatch, capsys):
    heard: list[float] = []
    text = "duration: 20s\nrate: 1000\nendpoints: [{time: {mean: 1ms}}]\n"
    silent = Simulation(read(Source("s", text), {})).run()
    assert Simulation(read(Source("s", text), {})).run(heard.append).table() == silent.table()
    assert len(heard) >= 4 and heard == sorted(heard) and 0 < heard[0] < heard[-1] < 1

    clock = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    progress = Progress("simulating random")
    for share in (0.25, 0.5):
        progress(share)
    progress.end()
    assert capsys.readouterr().err == (
        "\r\x1b[Ksimulating random: 25%, about 3 s left\r\x1b[Ksimulating random: 50%, about 2 s left\r\x1b[K")
    monkeypatch.setenv("TERM", "dumb")
    progress = Progress("simulating random")
    progress(0.5)
    progress.end()
    assert capsys.readouterr().err == ""


def test_it_fits_a_screen_of_80_columns():
    result = Simulation(read(Source("s", "duration: 5s\nrate: 100\nendpoints: [{time: {mean: 1ms}}]\n"), {})).run()
    wide, narrow = result.table(), result.table(80)
    assert max(map(len, wide.splitlines())) > 80 >= max(map(len, narrow.splitlines()))
    assert sorted(wide.split()) == sorted(narrow.split()) and result.table(120) == wide
