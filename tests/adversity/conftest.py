"""The same fixtures as the integration tests have."""

from integration.conftest import origin, reactor, sidecar  # noqa: F401
from integration.mesh import _shared, engine, mesh, own_mesh  # noqa: F401
