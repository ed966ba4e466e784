"""How much of each cluster is in use, and which of its limits are reached."""

from collections.abc import Iterator
from dataclasses import dataclass

from fastmesh.observe.health import HealthFile

# What a limit is compared with, in tally.USED. A limit of each endpoint has nothing here: it is many.
COUNTED = {"max_requests": "requests", "max_pending": "pending", "max_cluster_connections": "connections",
           "max_retries": "retries"}


@dataclass(slots=True, frozen=True)
class Breaker:
    """One limit of one cluster, over all workers."""

    limit: str          # its key in the configuration
    used: int
    most: int
    highest: int        # that was in use at the same time, as the present workers have seen it

    @property
    def is_open(self) -> bool:
        """The next one is refused."""
        return self.used >= self.most


def breakers(health: HealthFile, row: int, limits: dict[str, int]) -> Iterator[Breaker]:
    """Those limits of a cluster that are compared with a sum. `limits`: as the snapshot has them."""
    used, highest = health.used(row), health.highest(row)
    for limit, counted in COUNTED.items():
        if limit in limits:
            yield Breaker(limit, used[counted], limits[limit], max(used[counted], highest[counted]))
