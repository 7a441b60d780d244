"""The log of the program that a node runs in, for those who may inspect: lines are kept while somebody looks.

A handler of the root logger takes them, so it sees what the levels of the loggers let through, and no more.
It is called in whatever thread logs.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Final

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.plain import LARGEST
from enfilade.actors.messages.safe_text import safe_str

__all__ = ["KEPT", "LogLines"]

KEPT: Final = 200
"""How many lines are kept for views that open later."""

WAITING: Final = 5_000
"""How many lines are kept for those that look already."""

LARGEST_LINE: Final = 2_000
LARGEST_NAME: Final = 200
"""Characters of a line, and of the names of a logger and a level."""


class LogLines(logging.Handler):
    """The last lines of the log, numbered.

    Args:
        node_name: the node whose lines, and those of no node, are taken.

    Attributes:
        number: the number of the last line.
        lines: those that are kept, oldest first.
    """

    def __init__(self, node_name: str) -> None:
        super().__init__()
        self._node_name = node_name
        self._users = 0
        self.number = 0
        self.lines: deque[dict[str, Any]] = deque(maxlen=WAITING)

    def begin(self) -> None:
        """Keep lines, for one view more. Not a checkpoint."""
        self._users += 1
        if self._users == 1:
            logging.root.addHandler(self)

    def end(self) -> None:
        """One view less; after the last one nothing is kept. Not a checkpoint."""
        self._users -= 1
        if not self._users:
            logging.root.removeHandler(self)
            self.lines.clear()

    @attempt(None)
    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line. Called with the handler's lock held."""
        fields = record.__dict__
        if fields.get("node", self._node_name) != self._node_name:
            return
        self.number += 1
        serial, event = fields.get("serial"), fields.get("event")  # the program's own records have any
        self.lines.append(
            {
                "number": self.number,
                "at": record.created,
                "level": safe_str(record.levelname, LARGEST_NAME),
                "levelno": record.levelno,
                "logger": safe_str(record.name, LARGEST_NAME),
                "message": safe_str(record.getMessage(), LARGEST_LINE),
                "process": serial if type(serial) is int and 0 <= serial <= LARGEST else None,
                "event": safe_str(event) if type(event) is str else None,
            }
        )
