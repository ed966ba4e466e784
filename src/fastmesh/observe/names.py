"""What the numbers of a series stand for, also when the configuration names it no more.

A series counts on for the life of the control process. If its cluster or its listener lost their names with the
reload that removes them, its counts would move to other labels, and move back with one that brings them again.
"""

from collections.abc import Iterable, Mapping


class SeriesNames:
    """Clusters and inbound listeners by number: those there are and those there were."""

    def __init__(self) -> None:
        self.clusters: dict[int, str] = {}
        self.inbound: set[int] = set()

    def learn(self, clusters: Mapping[int, str], listeners: Iterable[tuple[int, str]]) -> None:
        """`listeners`: number and direction. A number that has a new owner stands for that one from now on."""
        self.clusters.update(clusters)
        for number, direction in listeners:
            if direction == "inbound":
                self.inbound.add(number)
            else:
                self.inbound.discard(number)
