"""Frozen objects: those that Python's garbage collector passes over, because a node has asked for that.

Freezing is the program's decision, never the runtime's: among the objects may be circles that are to be
freed one day. Python knows one set of frozen objects, which is thawed when the last node closes that has
frozen any.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["freeze", "thaw"]

_freezers: set[Node] = set()


def freeze(node: Node) -> int:
    """Freeze all objects that there are, on behalf of `node`; how many are frozen now."""
    gc.collect()
    gc.freeze()
    _freezers.add(node)
    return gc.get_freeze_count()


def thaw(node: Node) -> None:
    """`node` has closed: what it has frozen is collected again, unless other nodes have frozen something."""
    if node in _freezers:
        _freezers.remove(node)
        if not _freezers:
            gc.unfreeze()
