"""Messages between guests and actors: bytes, and resources that travel with them."""

from __future__ import annotations

from typing import Any

import attrs

from enfilade.hostcalls.resources.registry import Registry, Resource


class Held:
    """A resource outside of all guests: it is in a message, or a Python process holds it.

    The hold is given up when the object goes, so a message that nobody takes leaves nothing behind.
    """

    __slots__ = ("_registry", "_resource")

    def __init__(self, registry: Registry, resource: Resource) -> None:
        self._registry = registry
        self._resource: Resource | None = resource
        registry.hold(resource)

    @property
    def resource(self) -> Resource:
        """The entry in the registry. Raises `ValueError` after `release`."""
        if self._resource is None:
            raise ValueError("the resource was sent away or released")
        return self._resource

    @property
    def payload(self) -> Any:
        """The thing itself: an `enfilade.hostcalls.Channel`, `Reader` or `Writer`, for instance."""
        return self.resource.payload

    def release(self) -> None:
        """Give up the hold; what takes the resource over must hold it by now. Once is enough."""
        resource, self._resource = self._resource, None
        if resource is not None:
            self._registry.unhold(resource)

    def __del__(self) -> None:
        if getattr(self, "_resource", None) is not None:
            self.release()


@attrs.frozen
class Message:
    """A message of guests; a Python process that sends plain bytes sends `Message(data)`.

    Attributes:
        data: the content.
        tag: a number from 0 to 2^64 - 1 by which the receiver can select.
        resources: what travels with it; sending them gives them away.
    """

    data: bytes
    tag: int = 0
    resources: tuple[Held, ...] = attrs.field(default=(), eq=False)


def message_of(value: Any) -> Message | None:
    """`value` as a message: itself, or bytes without tag and resources; None for anything else.

    That it is a `Message` says nothing of what is in it: it may have come from another node.
    """
    if isinstance(value, Message):
        return value if _is_sound(value) else None
    if isinstance(value, bytes | bytearray | memoryview):
        return Message(bytes(value))
    return None


def _is_sound(message: Message) -> bool:
    return (
        isinstance(message.data, bytes)
        and isinstance(message.tag, int)
        and 0 <= message.tag < 1 << 64
        and (not message.resources or all(isinstance(held, Held) for held in message.resources))
    )
