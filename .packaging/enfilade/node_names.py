"""The names that nodes and zones can have: one rule, so that no node has a name that its peers refuse.

They stand in logs and on terminals, beside paths and in addresses. These stand beside the packages, because
each of them asks, and none imports another for it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LONGEST", "RULE", "check_node_names", "is_full_name"]

LONGEST: Final = 128
"""Characters of a full name, `name@zone`."""

RULE: Final = (
    "names of nodes and zones must have characters that can be printed, without '@', ':', '/' and blanks at "
    "the ends"
)


def check_node_names(name: str, zone: str) -> None:
    """Check the name of a node and that of its zone.

    Raises:
        ValueError: a node can have no such name.
    """
    for part in (name, zone):
        if not is_full_name(part) or "@" in part:
            raise ValueError(f"{RULE}, got {part[:LONGEST]!a}")
    if len(name) + 1 + len(zone) > LONGEST:
        raise ValueError(
            f"the names of a node and of its zone must have {LONGEST - 1} characters at most, both together, "
            f"got {len(name) + len(zone)}"
        )


def is_full_name(text: str) -> bool:
    """Tell whether a text, of a peer perhaps, can be the full name of a node or the name of a zone."""
    is_short = 0 < len(text) <= LONGEST
    return is_short and text.isprintable() and text == text.strip() and not set(text) & set("/:")
