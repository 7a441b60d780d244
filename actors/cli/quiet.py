"""Keeping the runtime's log off a terminal that shows the same in another way."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["ACTORS", "quietly"]

ALL: Final = logging.getLogger("enfilade")
ACTORS: Final = logging.getLogger("enfilade.actors")


@contextmanager
def quietly(logger: logging.Logger = ALL) -> Iterator[None]:
    """Log nothing below CRITICAL for the length of the block; afterwards the logger has its level back."""
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
