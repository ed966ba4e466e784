"""Tests of filters: without sockets in a `Kit`, or through a real proxy with the fixtures of the pytest plugin.

    from fastmesh.testing import Kit

    def test_requests_without_a_tenant_are_refused() -> None:
        with Kit(RequireTenant(header="x-team")) as kit:
            assert kit.get("/").status == 400
            assert kit.get("/", headers={"x-team": "blue"}).labels == {"tenant": "blue"}

pytest finds the fixtures `filter_kit` and `filter_proxy` by itself where fastmesh is installed; see
`fastmesh.testing.plugin`.
"""

from fastmesh.testing.kit import Kit, Leftover
from fastmesh.testing.message import Fields
from fastmesh.testing.reply import LogLine, Reply, Report, Unanswered
from fastmesh.testing.upstream import Answer, Asked, Cluster

__all__ = ["Answer", "Asked", "Cluster", "Fields", "Kit", "Leftover", "LogLine", "Reply", "Report", "Unanswered"]
