"""Whom this proxy speaks for."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import Label, Section


class Node(Section):
    """The workload this proxy stands beside: the names in metrics and logs."""

    service: Annotated[Label, Field(
        description="Name of the service. In metrics it is `source_canonical_service` or "
                    "`destination_canonical_service`, depending on who reports.",
        examples=["shop"])] = "unknown"
    version: Annotated[Label, Field(
        description="Version of the service, for comparing one with the next in metrics.",
        examples=["v1"])] = "unknown"
    namespace: Annotated[Label, Field(description="Namespace of the workload.")] = "default"
    workload: Annotated[Label, Field(
        description="Name of the deployment or unit that runs the service; the service's name when left out.",
        examples=["shop-v1"])] = ""
    zone: Annotated[Label, Field(
        description="The zone that this proxy is in, for `prefer_zone` of clusters.", examples=["eu-1a"])] = ""
    instance: Annotated[Label, Field(
        description="Name of this instance of the workload, unlike that of all others: `subset` of clusters follows "
                    "from it. The name of the machine when left out.", examples=["shop-v1-5d9f"])] = ""
    cluster: Annotated[Label, Field(
        description="Name of the cluster of machines, where there are several.")] = ""
