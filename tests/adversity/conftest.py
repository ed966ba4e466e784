"""The same fixtures as the integration tests have."""

from integration.mesh import _shared, engine, mesh, own_mesh  # noqa: F401
