"""Three ways to give one message to the codec; a test that takes `feed` runs with each of them."""

from collections.abc import Callable
from typing import Any

from probes.http_probe import parse

AGAIN, EBAD, EURI, EHEAD, EFIELDS, EVERSION, ECODING = -2, -20, -21, -22, -23, -24, -25

Result = tuple[int, dict[str, Any] | None, str | None]
Feed = Callable[..., Result]


def whole(kind: str, message: bytes, **options: Any) -> Result:
    result = parse(kind, message, **options)
    # The other end of the guarded page: scanners look back from the end of short input.
    assert parse(kind, message, front=True, **options) == result
    return result


def split(kind: str, message: bytes, **options: Any) -> Result:
    """Two pieces, cut at every offset: all of them end alike."""
    result = parse(kind, message, **options)
    for cut in range(len(message)):
        first = parse(kind, message[:cut], **options)
        if first[0] == AGAIN:
            assert parse(kind, message, scanned=cut, **options) == result, f"cut at {cut}"
        else:
            assert 0 < first[0] == result[0] or (first[0] < 0 and result[0] < 0), f"cut at {cut}: {first} {result}"
    return result


def trickle(kind: str, message: bytes, **options: Any) -> Result:
    """One byte at a time, each time saying how many were there before."""
    result: Result = (AGAIN, None, None)
    for n in range(1, len(message) + 1):
        result = parse(kind, message[:n], scanned=n - 1, **options)
        if result[0] != AGAIN:
            break
    return result


WAYS: dict[str, Feed] = {"whole": whole, "split": split, "bytes": trickle}
