"""Plays the scenarios: for each point, every peer once per round, round after round, so that drift hits all alike."""

import datetime
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict

from bench import machine
from bench.build import build
from bench.peers import Peer
from bench.progress import Progress
from bench.results import FigureCard, PeerCard, Results, RoundNoise, Sample, ScenarioCard
from bench.running import NotReady, scratch_folder
from bench.scenarios import Options, Scenario
from bench.stage import Stage


def _taking_part(scenario: Scenario, peers: Sequence[Peer], skipped: list[str]) -> list[Peer]:
    part = []
    for peer in peers:
        if scenario.protocol not in peer.protocols or not scenario.takes(peer):
            continue
        why = peer.missing(scenario.protocol)
        if why:
            skipped.append(f"{peer.title}, {scenario.name}: {why}")
        else:
            part.append(peer)
    return part


def play(scenarios: Sequence[Scenario], peers: Sequence[Peer], options: Options) -> Results:
    cores = machine.choose_cores()
    os.sched_setaffinity(0, {cores.load})
    results = Results(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        machine=machine.card(),
        settings={**asdict(options), "cores": asdict(cores)},
    )
    build()
    for peer in peers:
        peer.install()
    casts = [(scenario, _taking_part(scenario, peers, results.skipped)) for scenario in scenarios]
    seen = {peer.name for _, part in casts for peer in part}
    results.peers = [
        PeerCard(peer.name, peer.title, peer.version(), peer.bar, peer.floor) for peer in peers if peer.name in seen
    ]
    progress = _progress(casts, options)
    for line in results.skipped:
        progress.say(f"skipped: {line}")
    for scenario, part in casts:
        figures = [FigureCard(**asdict(figure)) for figure in scenario.figures]
        labels = {str(point): scenario.label(point) for point in scenario.points(options)}
        results.scenarios.append(ScenarioCard(scenario.name, scenario.title, scenario.point_unit, figures, labels))
        with scratch_folder() as folder:
            stage = Stage(folder, cores)
            try:
                _play_one(scenario, part, options, stage, results, progress)
            finally:
                stage.close()
    return results


def _progress(casts: Sequence[tuple[Scenario, list[Peer]]], options: Options) -> Progress:
    steps, seconds = 0, 0.0
    for scenario, part in casts:
        count = scenario.rounds(options) * sum(
            scenario.has(peer, point) for point in scenario.points(options) for peer in part
        )
        steps += count
        seconds += count * scenario.sample_seconds(options)
    return Progress(seconds, steps)


def _play_one(
    scenario: Scenario, part: list[Peer], options: Options, stage: Stage, results: Results, progress: Progress
) -> None:
    rounds = scenario.rounds(options)
    points = scenario.points(options)
    for group in [points] if scenario.points_together else [[point] for point in points]:
        for number in range(1, rounds + 1):
            spin = machine.spin(stage.cores.proxy, stage.cores.load)
            results.rounds.append(RoundNoise(scenario.name, group[0], number, spin.cpu_ms, spin.wall_ms))
            for peer, point in ((peer, point) for peer in part for point in group if scenario.has(peer, point)):
                at = f" {scenario.label(point)}".rstrip()
                where = f"{scenario.name}{at}, round {number}/{rounds}, {peer.title}"
                progress.begin(where)
                try:
                    measured = scenario.measure(stage, peer, point, options)
                except (NotReady, OSError, ValueError, subprocess.SubprocessError) as problem:
                    results.void.append(f"{where}: {problem}")
                    progress.done(scenario.sample_seconds(options), f"{where}: FAILED: {problem}")
                    continue
                if measured.failed:
                    results.void.append(f"{where}: {measured.failed} failed")
                results.samples.append(
                    Sample(scenario.name, point, number, peer.name, measured.figures, measured.failed, measured.noise)
                )
                progress.done(scenario.sample_seconds(options), f"{where}: {_words(scenario, measured.figures)}")


def _words(scenario: Scenario, values: dict[str, float]) -> str:
    shown = [figure for figure in scenario.figures if figure.key in values]
    return ", ".join(f"{values[figure.key]:,.{figure.digits}f} {figure.unit}" for figure in shown)
