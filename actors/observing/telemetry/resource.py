"""The resource of OpenTelemetry that a node is: which service, and which instance of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["resource_attributes"]


def resource_attributes(node: Node) -> dict[str, str]:
    """The attributes that tell a node from other services, for the resource of an SDK's providers:
    `Resource.create(resource_attributes(node))`. Not a checkpoint.

    Args:
        node: the node.

    Returns:
        `service.name` (its name; left out where the environment says it, by `OTEL_SERVICE_NAME` or
        `OTEL_RESOURCE_ATTRIBUTES`), `service.namespace` (its zone) and `service.instance.id` (which start of
        that name it is).
    """
    attributes = {
        "service.name": node.name,
        "service.namespace": node.zone,
        "service.instance.id": f"{node.incarnation:016x}",
    }
    listed = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    given = {item.partition("=")[0].strip() for item in listed if "=" in item}
    if os.environ.get("OTEL_SERVICE_NAME"):
        given.add("service.name")
    return {name: value for name, value in attributes.items() if name not in given}
