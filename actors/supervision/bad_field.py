"""The error of a description with a field that has a bad value."""

from __future__ import annotations

from typing import ClassVar

from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.safe_text import safe_repr

__all__ = ["BadField"]


class BadField(RuntimeFault, ValueError):
    """A field of a description has a bad value; `field` and `value` say which and what."""

    what: ClassVar[str]  # the kind of field, as the text of the error names it

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(f"{self.what} {safe_repr(field)} is {safe_repr(value)}; it must be {expected}")
        self.field = field
        self.value = value
