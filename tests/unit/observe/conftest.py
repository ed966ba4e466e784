"""What two workers count in."""

from collections.abc import Iterator

import pytest

from fastmesh.observe.stats import StatsShelf


@pytest.fixture
def shelf() -> Iterator[StatsShelf]:
    made = StatsShelf()
    made.take(0)
    made.take(1)
    yield made
    for file in made.files:
        file.close()
