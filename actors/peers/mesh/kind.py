"""Kinds of keyed actors: what is started when a key is addressed, and how long it stays."""

from __future__ import annotations

import inspect
import math
from typing import Any, Final

import attrs

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.safe_text import safe_repr, safe_str, shown_name
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.messages.short_text import check_short
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.mailbox import UNBOUNDED, Mailbox
from enfilade.actors.processes.targets import check_target, is_async_function
from enfilade.fields import by_annotation, instance_of

__all__ = ["LONGEST_KEY", "LONGEST_NAME", "SHARDS", "Kind", "check_name"]

SHARDS: Final = 256
"""Shards of a kind that says no other number."""

MOST_SHARDS: Final = 65536

_IS_MAILBOX: Final = instance_of(Mailbox, "a Mailbox, such as Mailbox(capacity=100)")

LONGEST_NAME: Final = 48
LONGEST_KEY: Final = 1024
"""Bytes of the name of a kind, which a subject of at most 255 bytes is made of, and of a key."""


def _is_idle(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    check_seconds(value, attribute.name)
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0 seconds, got {safe_repr(value)}")


def _is_shards(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if type(value) is not int:
        raise TypeError(f"{attribute.name} must be an integer, got {safe_repr(value)}")
    if not 0 < value <= MOST_SHARDS:
        raise ValueError(f"{attribute.name} must be 1 to {MOST_SHARDS}, got {safe_repr(value)}")


@attempt("")
def _misfit(target: Any, *given: object) -> str:
    """Say why a target cannot be started with these arguments; empty when it can, or does not show."""
    try:
        inspect.signature(target).bind(*given)
    except TypeError as misfit:
        return safe_str(misfit)
    return ""


@attrs.frozen(kw_only=True, field_transformer=by_annotation)
class Kind:
    """A kind of actors that a mesh has one of for each key, or one of altogether.

    Attributes:
        actor: what is started: whatever `Node.spawn` takes. Its only argument is the key; a single actor gets
            none.
        idle: seconds without a message after which an actor is stopped in order; its next message starts it
            again. `math.inf`: it stays. It means nothing for a single actor.
        shards: in how many parts the keys fall. A part is on one node at a time, so this should be several
            times the number of nodes. All nodes that run the kind must say the same, for as long as the mesh
            has its registry.
        single: whether the mesh is to have one actor of the kind, without a key, and without being asked.
        rebalance: whether parts are handed over to a node that comes to run the kind.
        mailbox: of each actor.

    Raises:
        TypeError: `actor` is nothing that can be started, or does not take what it is started with; or a
            field has the wrong type.
        ValueError: `idle` is not more than 0, or `shards` is not 1 to 65536.
    """

    actor: Any = attrs.field(kw_only=False)
    idle: float = attrs.field(default=300.0, validator=_is_idle)
    shards: int = attrs.field(default=SHARDS, validator=_is_shards)
    single: bool = attrs.field(default=False)
    rebalance: bool = attrs.field(default=True)
    mailbox: Mailbox = attrs.field(default=UNBOUNDED, validator=_IS_MAILBOX)

    def __attrs_post_init__(self) -> None:
        """Check what is started: a mistake is to be seen here, and not with the first message for a key."""
        check_target(self.actor)
        is_class = isinstance(self.actor, type) and issubclass(self.actor, Actor)
        if not is_class and not is_async_function(self.actor):
            return  # what it takes is its own affair
        given = (*(() if is_class else (None,)), *(() if self.single else ("a key",)))
        misfit = _misfit(self.actor, *given)
        if misfit:
            wanted = "without an argument" if self.single else "with its key as the only argument"
            raise TypeError(
                f"an actor of a kind is started {wanted}; {shown_name(self.actor)}: {safe_str(misfit)}"
            )

    @property
    def parts(self) -> int:
        """Number of shards that are claimed: one for a single actor."""
        return 1 if self.single else self.shards

    @property
    def stays(self) -> bool:
        """True when its actors are not stopped when no messages come."""
        return self.single or self.idle == math.inf


def check_name(name: object) -> None:
    """Check the name of a kind.

    Raises:
        TypeError: it is no text.
        ValueError: it has not 1 to 48 bytes.
    """
    check_short(name, LONGEST_NAME, "the name of a kind")
