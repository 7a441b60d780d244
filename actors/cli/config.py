"""The settings of the nodes that the command runs."""

from typing import Final

from enfilade.actors.node.config import NodeConfig

__all__ = ["WATCHED"]

WATCHED: Final = NodeConfig(watchdog=0.1)
"""Whoever holds the loop for a tenth of a second is logged."""
