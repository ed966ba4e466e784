"""How near each worker is to the end of what it may use, as control reads it, and what it has refused for that."""

from dataclasses import dataclass

from fastmesh._core.mem.counter import LAYOUT
from fastmesh._core.resil.pressure import LEVELS, PRESSURES, PRIORITIES
from fastmesh.observe.stats import StatsFile

_EACH = 4           # places for each pressure in stats_header_t.shed
_MILLION = 1e6


@dataclass(slots=True, frozen=True)
class Pressures:
    """Of one worker, or the highest of several."""

    level: str
    reason: str                     # the highest pressure
    parts: dict[str, float]         # of PRESSURES, 0 to 1


def pressures_of(file: StatsFile) -> Pressures:
    level, reason = (file.words(LAYOUT[f"header_{name}"], 1)[0] for name in ("level", "level_reason"))
    parts = file.words(LAYOUT["header_pressures"], len(PRESSURES))
    return Pressures(LEVELS[min(level, len(LEVELS) - 1)], PRESSURES[min(reason, len(PRESSURES) - 1)],
                     {name: part / _MILLION for name, part in zip(PRESSURES, parts, strict=True)})


def highest(workers: list[StatsFile]) -> Pressures:
    """Of all workers; the level is the highest there is."""
    found = [pressures_of(file) for file in workers]
    if not found:
        return Pressures(LEVELS[0], PRESSURES[0], dict.fromkeys(PRESSURES, 0.0))
    worst = max(found, key=lambda one: (LEVELS.index(one.level), one.parts[one.reason]))
    return Pressures(worst.level, worst.reason, {name: max(one.parts[name] for one in found) for name in PRESSURES})


def shed(files: list[StatsFile]) -> dict[tuple[str, str], int]:
    """(pressure, priority) → requests refused, of all workers there ever were."""
    total: dict[tuple[str, str], int] = {}
    for file in files:
        words = file.words(LAYOUT["header_shed"], _EACH * len(PRESSURES))
        for i, pressure in enumerate(PRESSURES):
            for j, priority in enumerate(PRIORITIES):
                total[pressure, priority] = total.get((pressure, priority), 0) + words[i * _EACH + j]
    return total
