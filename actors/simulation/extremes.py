"""Extremes: settings that no one would choose, which show what ordinary ones hide.

Windows that hold a frame or two, batches of one frame, turns of one message: what runs through such a node
link or dispatcher waits in the middle of what else is never interrupted.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from enfilade.actors.node.config import NodeConfig
from enfilade.actors.simulation.machine.entropy import Stream
from enfilade.transport.settings import Settings

__all__ = ["draw_options"]

SETTINGS: Final[dict[str, tuple[Any, ...]]] = {
    "period": (0.5, 2.0, 15.0, 60.0),
    "window": (4096, 65_536, 1_048_576),
    "batch": (1, 1024, 65_536),
    "handles": (1, 200),
    "high_water": (1, 524_288),
}
"""What is drawn of `Settings`."""

CONFIG: Final[dict[str, tuple[Any, ...]]] = {"turn": (1, 2, 64), "slice": (1, 16, 4096)}
"""What is drawn of `NodeConfig`."""


def draw_options(draws: Stream, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Draw settings for a host.

    Args:
        draws: from these.
        options: as of `enfilade.open_node`: what the host has been given. Its other settings stay.

    Returns:
        the options with what was drawn; and that in words.
    """
    links = {name: draws.choice(values) for name, values in SETTINGS.items()}
    turns = {name: draws.choice(values) for name, values in CONFIG.items()}
    drawn = {
        "settings": attrs.evolve(options.get("settings") or Settings(), **links),
        "config": attrs.evolve(options.get("config") or NodeConfig(), **turns),
    }
    return {**options, **drawn}, ", ".join(f"{name} {value:g}" for name, value in {**links, **turns}.items())
