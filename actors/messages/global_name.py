"""Global names: names that one process of a whole mesh has."""

from __future__ import annotations

from typing import Any, Literal, get_args

import attrs

from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.short_text import check_short

__all__ = ["Global", "Taking"]

Taking = Literal["fail", "ignore", "wait"]

LONGEST = 60
"""Bytes of a global name, which a subject of at most 255 bytes is made of."""


def _is_name(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    check_short(value, LONGEST, attribute.name)


def _is_taking(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value not in get_args(Taking):
        raise ValueError(
            f"{attribute.name} must be one of {', '.join(get_args(Taking))}, got {safe_repr(value)}"
        )


@attrs.frozen
class Global:
    """A name in the mesh of a node, which stands where a name of the node does.

    Attributes:
        name: the name, of 1 to 60 bytes in UTF-8.
        taken: what it means for a start that another process has the name. "fail": the start fails with
            `AlreadyStarted`; "ignore": there is nothing to start; "wait": it waits until the name is free.

    Raises:
        TypeError: `name` is not a text.
        ValueError: a field has a value that makes no sense.
    """

    name: str = attrs.field(validator=_is_name)
    taken: Taking = attrs.field(default="fail", validator=_is_taking)
