import pytest

from probes.feed import WAYS, Feed


@pytest.fixture(params=list(WAYS))
def feed(request: pytest.FixtureRequest) -> Feed:
    """Gives a message to the codec whole, split at each offset, and byte by byte."""
    return WAYS[request.param]
