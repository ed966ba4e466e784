"""What a scenario is.  To add one: a file beside this one, a line in `__init__.py`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.peers import Peer, Protocol
from bench.stage import Stage


@dataclass(frozen=True)
class Figure:
    """One number that a scenario yields."""

    key: str
    title: str
    unit: str
    digits: int = 1
    less_is_better: bool = True
    # Shown as ratio to the better of nginx and HAProxy.
    ratio: bool = False
    # Shown as difference to the cheaper bare loop.
    above_floor: bool = False
    # Whether one value of it is better than another.
    judged: bool = True


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    rounds: int = 5
    seconds: int = 2
    warm_seconds: int = 1
    connections: tuple[int, ...] = (1, 32, 128, 512)
    quick: bool = False
    # In which memory shall not grow.
    requests: int = 1_000_000


@dataclass
class Measured:
    """One peer, one point, one round."""

    figures: dict[str, float]
    failed: int = 0  # requests, connections or messages; any voids the run
    noise: dict[str, float] = field(default_factory=dict)


class Scenario(ABC):
    name: str
    title: str
    protocol: Protocol
    figures: tuple[Figure, ...]
    # What the numbers in the points are: "connections", "" when there is only one point.
    point_unit: str = ""
    # Whether the bare loops take part.
    floors: bool = False
    # Whether it belongs to the first look of a quick run.
    quick: bool = False
    # All points of a peer are played in each round, one after the other, so that one can be held against another; else
    # each is played in all rounds before the next.
    points_together: bool = False

    def points(self, options: Options) -> Sequence[int]:
        """The sizes to measure at."""
        return (0,)

    def label(self, point: int) -> str:
        """How a point is called; empty when there is only one."""
        unit = self.point_unit.removesuffix("s") if point == 1 else self.point_unit
        return f"{point:,} {unit}" if unit else ""

    def takes(self, peer: Peer) -> bool:
        """Whether the peer can play it; that it speaks the protocol is known."""
        return (self.floors or not peer.floor) and not peer.guest

    def has(self, peer: Peer, point: int) -> bool:
        """Whether a peer that takes part can play this point."""
        return True

    def rounds(self, options: Options) -> int:
        return options.rounds

    @abstractmethod
    def sample_seconds(self, options: Options) -> float:
        """How long one measurement takes, for the progress line."""

    @abstractmethod
    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        """Play it once."""
