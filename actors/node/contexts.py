"""The contexts that the processes of a node run in: copies of the one that the node was opened in.

The decimal context is a context variable, too, but one whose value is changed in place, so that copies of a
context would share it. Where the opener has not changed it, it is left out: decimal makes a new one for
whoever asks. Otherwise each process gets a copy.
"""

from __future__ import annotations

import contextvars
import sys
from typing import Any

__all__ = ["Contexts"]

SETTINGS = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")


class Contexts:
    """Makes contexts for processes.

    Attributes:
        base: the context of the opener, which nobody runs in.
    """

    def __init__(self) -> None:
        self.base = contextvars.Context()
        self._decimal_context: Any = None
        decimal = sys.modules.get("decimal")
        for variable, value in contextvars.copy_context().items():
            if decimal is None or type(value) is not decimal.Context:
                self.base.run(variable.set, value)
            elif any(getattr(value, name) != getattr(decimal.DefaultContext, name) for name in SETTINGS):
                self._decimal_context = value.copy()
                self._decimal_context.clear_flags()

    def new(self) -> contextvars.Context:
        """Make a context for one process."""
        made = self.base.copy()
        if self._decimal_context is not None:
            made.run(sys.modules["decimal"].setcontext, self._decimal_context.copy())
        return made
