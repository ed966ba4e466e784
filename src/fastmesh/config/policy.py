"""What listeners, routes or clusters have in common, named once: `policies: [patient]` takes it over."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model

from fastmesh.config.cluster import Cluster
from fastmesh.config.fields import Name, Section
from fastmesh.config.listener import Listener
from fastmesh.config.route import Route

MAX_POLICIES = 1_024
# What tells one from another, and so is never shared.
OWN: dict[str, frozenset[str]] = {
    "listeners": frozenset(("name", "address", "protocol", "direction", "cluster", "routes", "policies")),
    "routes": frozenset(("name", "match", "cluster", "clusters", "sticky", "response", "redirect", "policies")),
    "clusters": frozenset(("name", "endpoints", "policies")),
}


def _shared(name: str, whole: type[Section], part: str) -> type[Section]:
    """The keys of `whole` that may be shared, each of them left out if it likes."""
    fields: dict[str, Any] = {key: (field.annotation, field) for key, field in whole.model_fields.items()
                              if key not in OWN[part]}
    return create_model(name, __base__=Section, __module__=__name__, **fields,
                        __doc__=f"What {part} have in common. The keys mean what they mean there.")


if TYPE_CHECKING:
    class SharedByListeners(Section): ...

    class SharedByRoutes(Section): ...

    class SharedByClusters(Section): ...
else:
    SharedByListeners = _shared("SharedByListeners", Listener, "listeners")
    SharedByRoutes = _shared("SharedByRoutes", Route, "routes")
    SharedByClusters = _shared("SharedByClusters", Cluster, "clusters")


class Policy(Section):
    """What listeners, routes or clusters have in common, under one name. Each that names it takes over the keys that it
    has not itself, as a whole: a `retry` of its own takes the place of the policy's. Of several policies the first that
    has a key counts."""

    name: Annotated[Name, Field(
        description="What `policies` of listeners, routes and clusters call it.", examples=["patient"])]
    listeners: Annotated[SharedByListeners | None, Field(
        description="For listeners.", examples=[{"timeouts": {"header": "5s"}}])] = None
    routes: Annotated[SharedByRoutes | None, Field(
        description="For routes.", examples=[{"timeout": "2s"}])] = None
    clusters: Annotated[SharedByClusters | None, Field(
        description="For clusters.", examples=[{"connect_timeout": "250ms"}])] = None
