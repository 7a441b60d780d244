"""A guard for code that the runtime calls while a process ends, and that is not its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

__all__ = ["log_errors"]

logger = logging.getLogger("enfilade.actors")


def log_errors(fn: Callable[..., Any], *args: Any) -> None:
    """Run `fn(*args)`; what it raises is logged and goes no further.

    The way to another node, say, may find that it cannot encode a reason: no cause to leave the others
    untold of the end.
    """
    try:
        fn(*args)
    except Exception:
        logger.exception("%r failed for %r", fn, args)
