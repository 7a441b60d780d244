"""What travels between nodes besides what programs register and the runtime's own exit reasons.

Parts of the runtime that know nothing of nodes declare it here; who speaks to other nodes reads it.
"""

from __future__ import annotations

__all__ = ["STAYING", "TRAVELLING"]

#: Classes whose instances travel, by their name on the wire.
TRAVELLING: dict[str, type] = {}

#: Classes whose instances do not, and what to tell whoever tries.
STAYING: dict[type, str] = {}
