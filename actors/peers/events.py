"""Events of node links: a node was connected, a node was lost."""

from __future__ import annotations

import attrs

__all__ = ["NodeDown", "NodeUp"]


@attrs.frozen
class NodeUp:
    """A node link to the node `name` is up."""

    name: str


@attrs.frozen
class NodeDown:
    """The node link to the node `name` is over, for the `reason` given in words."""

    name: str
    reason: str
