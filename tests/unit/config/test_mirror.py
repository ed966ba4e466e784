"""Mirrors of routes: what may be written, and what is said when it may not."""

import pytest

from fastmesh.config.load import load_text
from fastmesh.errors import ConfigError

TEXT = """listeners:
  - name: in
    address: 127.0.0.1:1
    routes:
      - match: {{prefix: /}}
        {where}
        mirrors: {mirrors}
clusters:
  - name: app
    endpoints: [127.0.0.1:2]
"""


@pytest.mark.parametrize(("mirrors", "where", "why"), [
    ("[{}]", "cluster: app", "f:7:19: listeners[0].routes[0].mirrors[0]: the key 'cluster' is missing"),
    ("[{cluster: nil}]", "cluster: app", "f:7:29: listeners[0].routes[0].mirrors[0].cluster: "),
    ("[{cluster: app, host_suffix: 'a b'}]", "cluster: app",
     "f:7:47: listeners[0].routes[0].mirrors[0].host_suffix: found 'a b', allowed: at most 64 letters"),
    ("[{cluster: app, match: {prefix: /a, path: /b}}]", "cluster: app",
     "f:7:54: listeners[0].routes[0].mirrors[0].match.path: the match has both a prefix and a path"),
    ("[{cluster: app}]", "response: {status: 204}",
     "f:7:9: listeners[0].routes[0].mirrors: the route has a response, so nobody gets the request"),
])
def test_what_may_not_be_written(mirrors: str, where: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(TEXT.format(mirrors=mirrors, where=where), "f", {})
    (found,) = map(str, caught.value.problems)
    assert found.startswith(why)


def test_the_suffix_is_in_lower_case() -> None:
    (mirror,) = load_text(TEXT.format(mirrors="[{cluster: app, host_suffix: .Next}]", where="cluster: app"), "f",
                          {}).config.listeners[0].routes[0].mirrors
    assert mirror.host_suffix == ".next"
