"""Capabilities: what a process may ask of the host.

A capability is a number from 0 to 255 that is granted to a process when it starts and never changes after.
Numbers 0 to 19 are fixed by the guest ABI, 64 to 68 belong to Enfilade's own hostcalls, and 128 to 255 are
for hostcalls that an application adds: `Capability(130)` exists without being declared.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from enfilade.fields import shown
from enfilade.hostcalls.abi.nearest import hint

_FIRST_APPLICATION = 128


class Capability(enum.IntEnum):
    """One right to call a group of hostcalls; the value is its number in the guest ABI."""

    SESSION_LIFECYCLE = 0
    CHANNEL_LIFECYCLE = 1
    CHANNEL_READER = 2
    CHANNEL_WRITER = 3
    PROCESS_LIFECYCLE = 4
    NET_QUIC_BIND = 5
    NET_QUIC_ACCEPT = 6
    NET_QUIC_CONNECT = 7
    NET_QUIC_READ = 8
    NET_QUIC_WRITE = 9
    NET_HTTP_BIND = 10
    NET_HTTP_ACCEPT = 11
    NET_HTTP_CONNECT = 12
    NET_HTTP_READ = 13
    NET_HTTP_WRITE = 14
    NET_TLS_SERVER_CONFIG = 15
    NET_TLS_CLIENT_CONFIG = 16
    SINGLETON_REGISTRY = 17
    SINGLETON_LOOKUP = 18
    TIME_READ = 19
    ACTOR_MESSAGE = 64
    ACTOR_SPAWN = 65
    ACTOR_LINK = 66
    ACTOR_REGISTRY = 67
    TRACE_READ = 68

    @classmethod
    def _missing_(cls, value: object) -> Capability | None:
        if not isinstance(value, int) or not _FIRST_APPLICATION <= value <= 255:
            return None
        member = int.__new__(cls, value)
        member._name_ = f"APPLICATION_{value}"
        member._value_ = value
        # Two lookups of one number give one object, as for declared members.
        found = cls._value2member_map_.setdefault(value, member)
        assert isinstance(found, Capability)
        return found

    @property
    def title(self) -> str:
        """The name in CamelCase, as the guest ABI writes it: `TimeRead`."""
        return "".join(word.capitalize() for word in self._name_.split("_"))

    @classmethod
    def parse(cls, text: str) -> Capability:
        """Find the capability called `text`, in CamelCase, snake_case or kebab-case, in any case.

        Raises `ValueError` when there is none of that name.
        """
        squeezed = _squeeze(text)
        found = _BY_NAME.get(squeezed)
        if found is not None:
            return found
        number = squeezed.removeprefix("application")
        if number != squeezed and number.isdecimal() and len(number) == 3:
            try:
                return cls(int(number))
            except ValueError:
                pass
        known = sorted(member.title for member in cls)
        raise ValueError(f"expected a capability ({', '.join(known)}), got {text!r}{hint(text, known)}")


def _squeeze(text: str) -> str:
    return text.strip().replace("_", "").replace("-", "").lower()


_BY_NAME = {_squeeze(member.name): member for member in Capability}


def capabilities(names: Iterable[Capability | str]) -> frozenset[Capability]:
    """The set that `names` describe, members and their names mixed at will.

    Raises `ValueError` for unknown names, `TypeError` for a single text, whose letters would be taken for
    names, for what has no members, and for members that are neither.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"capabilities are a set of names, such as {{'time_read'}}, got {shown(names)}")
    return frozenset(
        name if isinstance(name, Capability) else Capability.parse(_text(name)) for name in names
    )


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"expected a capability or its name, got {shown(name)}; numbers are Capability(...)")
    return name
