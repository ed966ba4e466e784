"""How much is tried: in `make test` what five minutes hold, in `make test-long` all of it.

What tries at random tries a quarter. Of tests that are there once for each engine (or for each of the two ways in
which the playbook's engine works), and are about what stands above the engines, every one runs once: its name decides
on which.
"""

import os
import re
from zlib import crc32

IS_LONG = bool(os.environ.get("TEST_LONG"))

# What no engine has a part in: filters and their hosts, and all that the control process does.
ABOVE_ENGINES = re.compile(r"tests/(?:playbook/test_(?:isolated_filters|filters|filter_\w+|steering|retry_after)"
                           r"|integration/test_(?:admin|builtin_filters|discovery|explain_next|filter_memory|healing"
                           r"|isolated|lifecycle|load_balancers|rate_limits|reload|start|steering|workers)"
                           r"|adversity/test_bad_filters)\.py::")
_ENGINES = {"io_uring": 0, "epoll": 1, "completion": 0, "ready": 1}
_ENGINE = re.compile(r"(?<=[\[-])(?:io_uring|epoll|completion|ready)(?=[]-])")


def tries(whole: int) -> int:
    """Of so many, how many now."""
    return whole if IS_LONG else max(15, whole // 4)


def is_left_to_the_long_run(test: str) -> bool:
    """Of a test's id: its twin on the other engine runs now."""
    found = _ENGINE.search(test)
    if IS_LONG or found is None or not ABOVE_ENGINES.match(test):
        return False
    return crc32(_ENGINE.sub("", test).encode()) % 2 != _ENGINES[found[0]]
