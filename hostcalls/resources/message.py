"""Messages between guests and actors: bytes, and resources that travel with them."""

from __future__ import annotations

from typing import Any

import attrs

from enfilade.hostcalls.resources.registry import Registry, Resource


class Held:
    """A resource outside of all guests: it is in a message, or a Python process holds it. Made by `hold`.

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


def message_of(value: Any) -> bytes | Message | None:
    """Return `value` as a message: bytes, or a `Message`; None for anything else.

    That it is a `Message` says nothing of what is in it: it may have come from another node. No method of the
    value is called, and what is returned is made of nothing but Python's own types.
    """
    kind = type(value)
    if kind is bytes:
        return value  # type: ignore[no-any-return]
    return _sound(value) if issubclass(kind, Message) else _plain_bytes(value)


def _plain_bytes(value: Any) -> bytes | None:
    """The content of bytes, a byte array or a memory view, whatever methods a subclass has; None if it has
    none, because the view is released.
    """
    kind = type(value)
    if issubclass(kind, bytes):
        return bytes.__getitem__(value, slice(None))
    if issubclass(kind, bytearray):
        return bytes(bytearray.__getitem__(value, slice(None)))
    if issubclass(kind, memoryview):
        try:
            return bytes(value)
        except ValueError:
            return None
    return None


def _sound(message: Message) -> Message | None:
    """`message`, or an equal one of Python's own types; None if it has another content than it may have."""
    try:
        data, tag, resources = (field.__get__(message) for field in _FIELDS)
    except AttributeError:  # nothing was ever put into it
        return None
    if not (
        issubclass(type(data), bytes) and issubclass(type(tag), int) and type(resources) in (tuple, list)
    ):
        return None
    number = int.__add__(tag, 0)
    if not (0 <= number < 1 << 64 and all(issubclass(type(held), Held) for held in resources)):
        return None
    if type(message) is Message and (type(data), type(tag), type(resources)) == (bytes, int, tuple):
        return message
    return Message(bytes.__getitem__(data, slice(None)), number, tuple(resources))


_FIELDS: tuple[Any, ...] = (Message.data, Message.tag, Message.resources)  # past what a subclass puts there
