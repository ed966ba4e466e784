"""The door for operators."""

from typing import Annotated

from pydantic import Field

from fastmesh.config import fields
from fastmesh.config.address import parse_address
from fastmesh.config.fields import Section


class Admin(Section):
    """The admin API: readiness, metrics, state, drain and reload."""

    address: Annotated[fields.Address, Field(
        description="Where the admin API listens. It has no authentication: whoever reaches it can drain this "
                    "proxy, so keep it on loopback or on a Unix-domain socket with permissions.")
    ] = parse_address("127.0.0.1:15000")
