"""Rate limits in a snapshot: each once, with its number, for whoever has it; and the same policy as the filter's."""

from typing import Any

import msgpack
import pytest
from filtering import make

from fastmesh import RateLimitKey, Request
from fastmesh.config.load import load_text
from fastmesh.snapshot.compiler import compile, describe
from fastmesh.snapshot.limits import policy
from fastmesh.snapshot.registry import Registry
from fastmesh.units import parse_rate
from probes.snapshot_probe import Snapshot
from probes.wire import registry

S = 1_000_000_000
TEXT = """\
rate_limits:
- {name: unused, rate: 1/s}
- {name: client, rate: 600000/s, burst: 20, key: [client_address, header X-A, cookie B, query C], keys: 5,
   missing: skip, headers: true}
- {name: dry, rate: 5/m, match: {prefix: /api, methods: [POST], share: 10%}, dry_run: true, headers: true}
listeners:
- name: web
  address: 127.0.0.1:80
  rate_limits: [dry]
  routes:
  - {match: {}, response: {status: 200}}
  - {match: {prefix: /a}, response: {status: 200}, rate_limits: [{name: own, rate: 1/h, status: 503}, client]}
  - {match: {prefix: /b}, response: {status: 200}, rate_limits: [client]}
access_log: {path: /dev/stdout}
"""


def compiled(text: str = TEXT, numbers: Registry | None = None) -> tuple[Any, Registry]:
    packed, numbers = compile(load_text(text, "f", {}).config, 1, numbers or Registry())
    with registry() as r:
        Snapshot(packed, r).close()
    return msgpack.unpackb(packed), numbers


def test_every_place() -> None:
    snapshot, _ = compiled()
    limits, uses = snapshot[7]
    assert limits == [
        ["client", 0, 0, 1666, 33320, 5, [[0, ""], [6, "x-a"], [7, "B"], [8, "C"]], None, 1_000_000, 429, False, True,
         True, '"client";q=20;w=1', "local_rate_limited{client}",
         "the rate limit client allows 600000/s, and 20 requests at once"],
        ["dry", 1, 0, 12 * S, 60 * S, 1, [],
         ["", 0, b"/api", [], ["POST"], [], -1, 200, b"", "", 0, None, None, None, -1, 0, False, 0], 100_000, 429, True,
         False, False, '"dry";q=5;w=60', "local_rate_limited{dry}",
         "the rate limit dry allows 5/m, and 5 requests at once"],
        ["own", 2, 0, 3600 * S, 3600 * S, 1, [], None, 1_000_000, 503, False, False, False, '"own";q=1;w=3600',
         "local_rate_limited{own}", "the rate limit own allows 1/h, and 1 request at once"]]
    assert uses == [[0, -1, [1]], [0, 1, [2, 0]], [0, 2, [0]]]


def test_a_match_may_have_patterns() -> None:
    text = TEXT.replace("prefix: /api, methods: [POST]", "regex: '/a+', headers: {x-plan: {regex: 'f.*'}}")
    snapshot, _ = compiled(text)
    assert len(snapshot[3][2]) == 2
    match = snapshot[7][0][1][7]
    assert match[1:3] == [3, b"/"] and match[5] == [["x-plan", "", 6, False, 0, 0]]
    assert match[11] == [1, [], [], [], 1_000_000]


def test_the_log_tells_of_them_where_there_are_some() -> None:
    def keys(snapshot: Any) -> str:
        return "".join(op[2] for op in snapshot[3][1])

    assert '"rate_limited_by":' in keys(compiled()[0])
    assert "rate_limited_by" not in keys(compiled("access_log: {path: /dev/stdout}\nlisteners: []\n")[0])


def test_numbers_are_kept_by_name() -> None:
    _, numbers = compiled()
    later = TEXT.replace("name: dry", "name: wet").replace("[dry]", "[wet]")
    snapshot, numbers = compiled(later, Registry.from_dict(numbers.to_dict()))
    assert [limit[:2] for limit in snapshot[7][0]] == [["client", 0], ["wet", 3], ["own", 2]]
    names = describe(load_text(later, "f", {}).config, numbers)["names"]
    assert names["rate_limits"] == {0: "client", 3: "wet", 2: "own"}


class OneForAll(RateLimitKey):
    def key(self, request: Request) -> str:
        return "k"


@pytest.mark.parametrize(("rate", "burst"), [("100/s", 200), ("5/m", 5), ("1/s", 1), ("1000/h", 10), ("7/m", 3)])
def test_the_policy_is_that_of_the_filter(rate: str, burst: int) -> None:
    nanoseconds = parse_rate(rate).nanoseconds
    made = make(OneForAll, name="l", rate=1e9 / nanoseconds, burst=burst)
    assert made.policy == policy("l", burst, nanoseconds)
