"""Events of node links and of the mesh: a node was connected, a node was lost, a name was lost."""

from __future__ import annotations

import attrs

from enfilade.actors.messages.signals import undroppable

__all__ = ["NameLost", "NodeDown", "NodeUp", "SiteFound"]


@undroppable
@attrs.frozen
class NodeUp:
    """A node link to the node `name` is up."""

    name: str


@undroppable
@attrs.frozen
class NodeDown:
    """The node link to the node `name` is over, for the `reason` given in words."""

    name: str
    reason: str


@undroppable
@attrs.frozen
class SiteFound:
    """A node has come to the mesh, or says something else of itself: it may be of use to whoever waits."""

    name: str


@undroppable
@attrs.frozen
class NameLost:
    """The process that is told no longer holds the global name `name`: its node has lost its lease."""

    name: str
