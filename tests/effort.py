"""How much is tried: in `make test` what five minutes hold, in `make test-long` all of it.

What tries at random tries a quarter, and a quarter of the long simulations is made; TEST_LONG=20 tries twenty times as
much as `make test-long`. Of tests that are there once for each engine (or for each of the two ways in which the
playbook's engine works), and are about what stands above the engines, every one runs once: its name decides on which.
"""

import os
import re
from zlib import crc32

IS_LONG = bool(os.environ.get("TEST_LONG"))
TIMES = int(os.environ.get("TEST_LONG") or 1)

# What no engine has a part in: filters and their hosts, and all that the control process does.
ABOVE_ENGINES = re.compile(r"tests/(?:playbook/test_(?:isolated_filters|filters|filter_\w+|steering|retry_after)"
                           r"|integration/test_(?:admin|balancing_metrics|breakers|builtin_filters|cors|demo"
                           r"|discovery(?:_order)?|explain_next|filter_\w+|flapping|found_groups|healers|healing"
                           r"|health_checks|isolated|label_metrics|lifecycle|load_balancers|overload|rate_limits"
                           r"|reload|route_metrics|start|steering|subsets|workers)"
                           r"|adversity/test_bad_filters)\.py::")
# Minutes of a made-up world: nothing in them changes but with the balancers and what the documents say.
SIMULATED = re.compile(r"tests/unit/(?:simulate/test_(?:overload|simulation)\.py::"
                       r"|docs/test_(?:hedging|load_balancing|simulation)\.py::\w*(?:simulat|drawn|default))")
_ENGINES = {"io_uring": 0, "epoll": 1, "completion": 0, "ready": 1}
_ENGINE = re.compile(r"(?<=[\[-])(?:io_uring|epoll|completion|ready)(?=[]-])")


def tries(whole: int) -> int:
    """Of so many, how many now."""
    return whole * TIMES if IS_LONG else max(15, whole // 4)


def is_left_to_the_long_run(test: str) -> bool:
    """Of a test's id: its twin on the other engine runs now, or others of its kind do."""
    if IS_LONG:
        return False
    if SIMULATED.match(test):
        return crc32(test.encode()) % 4 != 0
    found = _ENGINE.search(test)
    if found is None or not ABOVE_ENGINES.match(test):
        return False
    return crc32(_ENGINE.sub("", test).encode()) % 2 != _ENGINES[found[0]]
