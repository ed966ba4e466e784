"""What may be done with an answer."""

import random

import pytest
from effort import tries

from probes import http_probe

MOST = (1 << 31) - 1


@pytest.mark.parametrize(("value", "says", "lifetime", "if_error"), [
    (b"", set(), -1, -1), (b" , ,", set(), -1, -1), (b"max-age=60", set(), 60, -1), (b"MAX-AGE=60", set(), 60, -1),
    (b"no-store", {"no-store"}, -1, -1), (b"private, no-cache", {"private", "no-cache"}, -1, -1),
    (b'private="set-cookie, x", max-age=1', {"private"}, 1, -1), (b'no-cache="x"', {"no-cache"}, -1, -1),
    (b"public,max-age=5", {"public", "shared"}, 5, -1), (b"must-revalidate", {"revalidate", "shared"}, -1, -1),
    (b"proxy-revalidate", {"revalidate"}, -1, -1), (b"max-age=9, s-maxage=3", {"revalidate", "shared"}, 3, -1),
    (b"s-maxage=3, max-age=9", {"revalidate", "shared"}, 3, -1), (b"max-age=60, stale-if-error=600", set(), 60, 600),
    (b"stale-if-error=0", set(), -1, 0), (b'max-age="60"', set(), 60, -1), (b"max-age=60, max-age=5", set(), 5, -1),
    (b"max-age=99999999999999999999999", set(), MOST, -1), (b"max-age=-1", set(), 0, -1),
    (b"max-age=1.5", set(), 0, -1),
    (b"max-age", set(), 0, -1), (b"max-age=", set(), 0, -1), (b"max-age =60", set(), 60, -1),
    (b'x="no-store, private", max-age=1', set(), 1, -1), (b'x="\\", no-store"', set(), -1, -1),
    (b'x="', {"no-store"}, -1, -1), (b"no-storex, xprivate", set(), -1, -1),
])
def test_what_it_says(value, says, lifetime, if_error):
    assert http_probe.cache_control(value) == (says, lifetime, if_error)


def test_any_bytes():
    draw = random.Random(1)
    words = [b"no-store", b"max-age", b"=", b'"', b"\\", b",", b" ", b"1", b"\x00", b"\xff", b"stale-if-error=7"]
    for _ in range(tries(4000)):
        value = b"".join(draw.choice(words) for _ in range(draw.randrange(12)))
        says, lifetime, if_error = http_probe.cache_control(value)
        assert -1 <= lifetime <= MOST and -1 <= if_error <= MOST
        if value.split(b",")[0].strip() == b"no-store":
            assert "no-store" in says
