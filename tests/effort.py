"""How much the tests that try at random try: a quarter in `make test`, all of it in `make test-long`."""

import os

IS_LONG = bool(os.environ.get("TEST_LONG"))


def tries(whole: int) -> int:
    """Of so many, how many now."""
    return whole if IS_LONG else max(15, whole // 4)
