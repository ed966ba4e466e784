"""fastmesh: a service-mesh sidecar whose data plane is compiled and whose policies are plain Python.

Importing this package starts nothing and imports nothing: workers import it.
"""

__version__ = "0.1.0"
