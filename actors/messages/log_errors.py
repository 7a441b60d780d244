"""Calls that must not fail: code that is not the runtime's own, called while a process ends, for example."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

__all__ = ["log_errors"]

logger = logging.getLogger("enfilade.actors")


def log_errors(fn: Callable[..., Any], *args: Any) -> None:
    """Run `fn(*args)`, and log what it raises instead of raising it.

    A link to another node may be unable to encode an exit reason, for example; the other links and monitors
    must be notified nevertheless.
    """
    try:
        fn(*args)
    except Exception:
        logger.exception("%r failed for %r", fn, args)
